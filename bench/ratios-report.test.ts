import { expect, test } from 'vitest';
import { formatRatios, type RatiosReport } from './ratios-report.ts';

test('every ratio that has a target is in the table, and is judged by its median', () => {
  const ratioOf = (median: number) => ({ median, min: median / 2, max: median * 2 });
  const row = (figure: string, ratio: number | null, met: boolean | null) => ({
    figure,
    ratio: ratio === null ? null : ratioOf(ratio),
    target: met === null ? null : { text: '≥ 0.6', met },
  });
  const byHand = (events: number, ratio: number) => ({ features: 'sums', events, ratio: ratioOf(ratio) });
  const report = {
    roles: {
      rows: [
        row('engine', null, null),
        row('p99 alone', null, true),
        row('bare reads', 0.7, true),
        row('bare writes', 0.59, false),
        row('no target', 0.3, null),
      ],
    },
    aggregations: {
      byHand: [byHand(100, 0.99), byHand(100, 1), byHand(1_000_000, 49), byHand(1_000_000, 50)],
    },
  } as unknown as RatiosReport;
  const lines = formatRatios(report).split('\n').slice(1);
  expect(lines.map((line) => line.replace(/\s{2,}/g, ' | ').trim())).toEqual([
    'millrace | bare reads | 0.700 (0.350 – 1.400) | ≥ 0.6: met',
    'millrace | bare writes | 0.590 (0.295 – 1.180) | ≥ 0.6: MISSED',
    'read of sums | sorted set of 100 events | 0.990 (0.495 – 1.980) | ≥ 1: MISSED',
    'read of sums | sorted set of 100 events | 1.000 (0.500 – 2.000) | ≥ 1: met',
    'read of sums | sorted set of 1,000,000 events | 49.000 (24.500 – 98.000) | ≥ 50: MISSED',
    'read of sums | sorted set of 1,000,000 events | 50.000 (25.000 – 100.000) | ≥ 50: met',
  ]);
});
