import { describe, expect, test } from 'vitest';
import { BASE } from './describe-seeds.ts';
import { huntMutation } from './mutation-hunt.ts';
import { MUTATIONS, type Mutation } from './mutations.ts';

/** A planted mistake must show within this many seeds; most do in the first few. */
const SEEDS_MAX = 1_000;
/** Of mistakes that few seeds notice: so many are left out before the first that did. */
const LEFT_OUT: Partial<Record<Mutation, number>> = {
  stale_watermark: 85,
  rebuild_gap_silent: 165,
  rebuild_letters_forgotten: 55,
};

describe('the simulator notices', () => {
  for (const mutation of Object.keys(MUTATIONS) as Mutation[]) {
    test(`${mutation}: ${MUTATIONS[mutation]}`, async () => {
      const from = BASE + (LEFT_OUT[mutation] ?? 0);
      expect(await huntMutation({ mutation, from, seedsMax: SEEDS_MAX })).not.toBeNull();
    }, 600_000);
  }
});
