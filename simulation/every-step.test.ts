import { describe, expect, test } from 'vitest';
import { checkSeed } from './check-seed.ts';
import { BASE } from './describe-seeds.ts';

describe('a run of few events ends in the right values whatever single step is disturbed', () => {
  // One with event ids, one without.
  for (const seed of [BASE, BASE + 1]) {
    test(`seed ${seed}: killed at each step in turn, and another fault at each`, async () => {
      const { failure, runs, faults } = await checkSeed({ seed, everyStep: 'in turn' });
      expect(failure).toBeNull();
      expect(runs).toBeGreaterThan(300);
      expect(faults['consumer killed']! + faults['compactor killed']!).toBeGreaterThan(75);
      expect(faults['rebuild worker killed']!).toBeGreaterThan(75);
    }, 300_000);
  }
});
