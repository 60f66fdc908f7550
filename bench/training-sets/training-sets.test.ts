import { beforeAll, expect, test } from 'vitest';
import { buildCheckout } from '../roles/build.ts';
import { formatTrainingSets, runTrainingSetsBench } from './run-training-sets-bench.ts';

beforeAll(() => buildCheckout({ always: false }), 120_000);

// Nothing is said of speed here: only that the benchmark runs, and that both sides compute the same.
test('the benchmark fills its table, with equal values', async () => {
  const report = await runTrainingSetsBench({
    ...{ events: 4_000, seed: 1, rounds: 1, generated: true },
    onProgress: () => {},
  });
  expect(report.rows.map(({ spine }) => spine)).toEqual(['four days', 'every event']);
  for (const { rows, equal } of report.rows) {
    expect(rows).toBeGreaterThan(100);
    expect(equal).toBe(rows);
  }
  expect(report.scaling.map(({ events }) => events)).toEqual([500, 1_000, 2_000, 4_000]);
  expect(formatTrainingSets(report)).toContain('every event');
}, 120_000);
