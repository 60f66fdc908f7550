import { describe, expect, test } from 'vitest';
import { BASE } from './describe-seeds.ts';
import { huntMutation } from './mutation-hunt.ts';
import { MUTATIONS, type Mutation } from './mutations.ts';

/** A planted mistake must show within this many seeds; most do in the first few. */
const SEEDS_MAX = 1_000;

describe('the simulator notices', () => {
  for (const mutation of Object.keys(MUTATIONS) as Mutation[]) {
    test(`${mutation}: ${MUTATIONS[mutation]}`, async () => {
      expect(await huntMutation({ mutation, from: BASE, seedsMax: SEEDS_MAX })).not.toBeNull();
    }, 600_000);
  }
});
