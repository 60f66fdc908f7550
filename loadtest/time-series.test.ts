import { expect, test } from 'vitest';
import { growthOf } from './process-usage.ts';
import { decodeSeries } from './time-series.ts';

const lines = (...events: readonly (readonly [string, unknown])[]): string =>
  events.map(([event, data]) => `${JSON.stringify({ event, data })}\n`).join('');

const PARAM = {
  aggregates: {
    counter: ['count', 'rate'],
    gauge: ['value'],
    trend: ['avg', 'max', 'med', 'min', 'p(90)', 'p(95)', 'p(99)'],
  },
};
const metrics = (...named: readonly (readonly [string, string])[]) =>
  Object.fromEntries(named.map(([name, type]) => [name, { type }]));

test('a second has the aggregates of its snapshot, by the order of the names', () => {
  const record = lines(
    ['param', PARAM],
    ['metric', metrics(['time', 'gauge'])],
    ['start', [[1_000]]],
    ['metric', metrics(['answers', 'counter'], ['admitted', 'trend'])],
    // Alphabetical: admitted, answers, time.
    ['cumulative', [[9, 9, 9, 9, 9, 9, 9], [9, 9], [2_000]]],
    ['snapshot', [[3, 8, 2, 1, 5, 6, 7], [40, 40], [2_000]]],
    // A metric that comes later takes its place in the order.
    ['metric', metrics(['shed', 'counter'], ['dropped_iterations', 'counter'])],
    ['snapshot', [[0, 0, 0, 0, 0, 0, 0], [0, 0], [4, 2], [6, 3], [4_000]]],
    ['stop', [[4_000]]],
  );
  expect(decodeSeries(record)).toEqual([
    {
      atS: 1,
      answers: 40,
      bareAnswers: 0,
      shed: 0,
      failed: 0,
      dropped: 0,
      latency: { p50Ms: 2, p95Ms: 6, p99Ms: 7, maxMs: 8 },
      bareLatency: null,
    },
    {
      atS: 3,
      answers: 0,
      bareAnswers: 0,
      shed: 3,
      failed: 0,
      dropped: 2,
      latency: null,
      bareLatency: null,
    },
  ]);
});

test('a record of another shape is refused', () => {
  const record = lines(['param', PARAM], ['start', [[0]]], ['snapshot', [[1]]]);
  expect(() => decodeSeries(record)).toThrow('k6 recorded 1 metrics where it had named 0');
});

test('memory grows from the second fifth to the last', () => {
  expect(growthOf([9, 9, 10, 10, 11, 11, 12, 12, 15, 15])).toBe(1.5);
  expect(growthOf([1, 2])).toBe(1);
});
