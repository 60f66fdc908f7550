import { expect, test } from 'vitest';
import { GAPS_MAX, type LogGap, withGap } from './log-gap.ts';

const gap = (fromOffset: number, toOffset: number, times: Partial<LogGap> = {}): LogGap => ({
  fromOffset,
  toOffset,
  afterMs: fromOffset * 10,
  untilMs: toOffset * 10,
  ...times,
});

test('gaps that touch or overlap are one, others stay apart and ascend', () => {
  expect(withGap([gap(10, 12)], gap(2, 4))).toEqual([gap(2, 4), gap(10, 12)]);
  expect(withGap([gap(2, 4), gap(10, 12)], gap(4, 6))).toEqual([gap(2, 6), gap(10, 12)]);
  expect(withGap([gap(2, 4), gap(10, 12), gap(20, 21)], gap(3, 15))).toEqual([gap(2, 15), gap(20, 21)]);
});

test('a time that is not known stays unknown', () => {
  expect(withGap([gap(2, 4, { afterMs: null })], gap(4, 6))).toEqual([gap(2, 6, { afterMs: null })]);
});

test('too many become fewer by joining the nearest: nothing missing is left out', () => {
  let gaps: LogGap[] = [];
  for (let i = 0; i < GAPS_MAX; i++) gaps = withGap(gaps, gap(100 * i, 100 * i + 10));
  expect(gaps).toHaveLength(GAPS_MAX);
  gaps = withGap(gaps, gap(250, 260));
  expect(gaps).toHaveLength(GAPS_MAX);
  expect(gaps[2]).toEqual(gap(200, 260));
  expect(gaps[3]).toEqual(gap(300, 310));
});
