/** The tests of one share of the seeds: several files, so that workers share them. */
import { afterAll, describe, expect, test } from 'vitest';
import { ANSWERS } from './answers.ts';
import { checkSeed, SeedTotals } from './check-seed.ts';
import { FAULTS } from './faults.ts';

/** Another base runs other seeds: `SIMULATION_SEED=123456 npx vitest run simulation`. */
export const BASE = Number(process.env.SIMULATION_SEED ?? 1);
const SEEDS_PER_FILE = 1_000;
const SEEDS_PER_TEST = 100;
/** Every so many seeds one runs twice: a run that depends on more than its seed does so in all of them. */
const TWICE_EVERY = 8;

export function describeSeeds({ file }: { file: 1 | 2 }): void {
  const firstOfFile = BASE + (file - 1) * SEEDS_PER_FILE;
  const lastOfFile = firstOfFile + SEEDS_PER_FILE - 1;
  const totals = new SeedTotals();

  describe('values equal the oracle after every write, through crashes, rollbacks, wipes, zombies and lost replies', () => {
    for (let first = firstOfFile; first <= lastOfFile; first += SEEDS_PER_TEST) {
      const last = first + SEEDS_PER_TEST - 1;
      test(`seeds ${first} to ${last}, every ${TWICE_EVERY}th twice with the same state hash`, async () => {
        const comparedBefore = totals.comparisons;
        for (let seed = first; seed <= last; seed++) {
          const report = await checkSeed({ seed, once: seed % TWICE_EVERY !== 0 });
          totals.add(report);
          expect(report.failure).toBeNull();
        }
        expect(totals.comparisons - comparedBefore).toBeGreaterThan(SEEDS_PER_TEST * 1_000);
      }, 300_000);
    }

    test('every kind of fault occurs', () => {
      expect([...totals.faults.keys()].sort()).toEqual([...FAULTS].sort());
    });

    test('every kind of answer occurs', () => {
      expect([...totals.answers.keys()].sort()).toEqual([...ANSWERS].sort());
    });
  });

  afterAll(() => {
    console.log(
      `simulation: ${totals.seeds} seeds of ${firstOfFile} to ${lastOfFile}, ${totals.comparisons} values compared, ` +
        `${totals.steps} steps; faults injected:\n${totals.faultLines().join('\n')}\n` +
        `answers of readers meanwhile:\n${totals.answerLines().join('\n')}`,
    );
  });
}
