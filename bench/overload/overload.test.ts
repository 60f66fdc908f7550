import { expect, test } from 'vitest';
import { compileRepo } from '../../engine/definitions/compile.ts';
import * as features from '../../examples/card-fraud/features.ts';
import { formatOverloadReport, runOverloadBench } from './run-overload-bench.ts';

// Nothing is said of speed here: only that the benchmark runs and measures what it says.
test('the benchmark fills its table', async () => {
  const report = await runOverloadBench({
    repo: compileRepo(Object.values(features)),
    events: 300,
    seconds: 0.05,
    seed: 1,
    onProgress: () => {},
  });
  expect(report.rows.map(({ step, shedding }) => [step, shedding])).toEqual([
    ['1×', false],
    ['3×', false],
    ['1×, behind', false],
    ['1×', true],
    ['3×', true],
    ['1×, behind', true],
  ]);
  for (const { read, shedding } of report.rows) {
    if (!shedding) expect(read.statuses).toEqual({ 200: read.sent });
    expect(Object.keys(read.statuses).every((status) => status === '200' || status === '503')).toBe(true);
  }
  expect(report.refusalsPerSecond).toBeGreaterThan(0);
  expect(formatOverloadReport(report)).toContain('sustainable');
}, 60_000);
