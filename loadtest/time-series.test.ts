import { expect, test } from 'vitest';
import { K6Result } from './k6-run.ts';
import { growthOf } from './process-usage.ts';
import { timeSeries } from './time-series.ts';

const trend = (count: number) => ({
  values: { count, med: 2, 'p(95)': 6, 'p(99)': 7, 'p(99.9)': 8, max: 9 },
});
const counter = (count: number) => ({ values: { count } });

test('a slice has what k6 says of its tag, per second of what it holds', () => {
  const metrics = {
    'admitted{slice:0}': trend(80),
    'shed{slice:0}': counter(4),
    // k6 leaves out what it measured nothing of.
    'bare{slice:1}': trend(10),
    'failed{slice:1}': counter(2),
  };
  const latency = { p50Ms: 2, p95Ms: 6, p99Ms: 7, maxMs: 9 };
  expect(
    timeSeries(new K6Result(JSON.stringify({ metrics })), { ms: 2_000, count: 2, totalMs: 3_000 }),
  ).toEqual([
    { atS: 2, answers: 40, bareAnswers: 0, shed: 2, failed: 0, latency, bareLatency: null },
    { atS: 3, answers: 0, bareAnswers: 10, shed: 0, failed: 2, latency: null, bareLatency: latency },
  ]);
});

test('memory grows from the second fifth to the last', () => {
  expect(growthOf([9, 9, 10, 10, 11, 11, 12, 12, 15, 15])).toBe(1.5);
  expect(growthOf([1, 2])).toBe(1);
});
