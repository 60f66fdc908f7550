/**
 * The matrix: the real write path (ViewWriter, Compactor) and read path (WindowRead) against the oracle, for every
 * operation × every kind of window × exact or `resolution` × every phase of a state (`Phase`), over every store; this
 * file is the store in memory, its siblings are lmdb and Redis. A case is a random repo and random events: ties, late,
 * out of order, repeated, future and extreme ones, in random batches that are delivered again with other borders,
 * with compaction at random moments while the clock moves; sketches are held to their bounds. Each case aims at one
 * operation over one kind of window and takes it through every phase; a cell that no value was found for fails.
 *
 * A failure names its seed and how to run it alone. More cases: `npm run test:matrix -- --help`.
 *
 * What it does not catch: a store that fails or falls back (simulation/ does that), and what the oracle shares with the
 * engine: filters, projections and the order of ids.
 */
import { describe } from 'vitest';
import { testMatrix } from '../testing/matrix/describe-matrix.ts';

describe('every value equals the oracle, in memory', () => {
  testMatrix('memory', { first: 1, count: 6_000, rare: true });
});
