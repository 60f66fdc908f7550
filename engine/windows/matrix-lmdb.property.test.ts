/** The matrix over lmdb: see matrix-memory.property.test.ts. Seeds of its own, so that no case is run twice. */
import { describe } from 'vitest';
import { testMatrix } from '../testing/matrix/describe-matrix.ts';

describe('every value equals the oracle, on lmdb', () => {
  testMatrix('lmdb', { first: 2_000_001, count: 1_200, rare: false });
});
