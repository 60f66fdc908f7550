import { expect, test } from 'vitest';
import type { CompactionCounts, Compactor } from '../compaction/compactor.ts';
import { runCompaction } from './compaction-loop.ts';

const NOTHING: CompactionCounts = {
  compacted: 0,
  ended: 0,
  conflicts: 0,
  postponed: 0,
  coarsened: new Map(),
  written: [],
};

/** Runs until `steps` are over; each is an outcome, or an error to throw. */
async function run(
  steps: readonly (CompactionCounts | Error)[],
  shards = 1,
): Promise<{ counted: number; errors: number; rounds: boolean[] }> {
  const controller = new AbortController();
  let taken = 0;
  let counted = 0;
  let errors = 0;
  const rounds: boolean[] = [];
  const compactor = {
    step: async () => {
      const outcome = steps[taken++]!;
      if (taken === steps.length) controller.abort();
      if (outcome instanceof Error) throw outcome;
      return outcome;
    },
  } as unknown as Compactor;
  await runCompaction(
    {
      compactor,
      shards,
      idleMs: 1,
      quietMs: () => Number.POSITIVE_INFINITY,
      onStep: (counts) => {
        counted += counts.compacted;
      },
      onError: () => {
        errors++;
      },
      onRound: (failed) => {
        rounds.push(failed);
      },
    },
    controller.signal,
  );
  expect(taken).toBe(steps.length);
  return { counted, errors, rounds };
}

test('goes on while there is something to do, when there is not, and stops when told', async () => {
  const busy = { ...NOTHING, compacted: 8 };
  expect(await run([busy, busy, NOTHING, busy])).toMatchObject({ counted: 24, errors: 0 });
});

test('a failed step ends nothing', async () => {
  expect(await run([new Error('store gone')])).toMatchObject({ counted: 0, errors: 1 });
});

test('a round has failed where any of its shards did', async () => {
  const busy = { ...NOTHING, compacted: 8 };
  const failingFirst = [new Error('store gone'), busy, NOTHING, NOTHING];
  expect(await run(failingFirst, 2)).toMatchObject({ errors: 1, rounds: [true, false] });
});
