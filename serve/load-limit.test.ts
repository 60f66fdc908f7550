import { describe, expect, it } from 'vitest';
import { LoadLimit } from './load-limit.ts';

const TARGET_MS = 5;
const LATE_MS = 20;

const limitsOf = (limit: LoadLimit): [serving: number, ingest: number] => [
  limit.of('serving'),
  limit.of('ingest'),
];

describe('the limit of requests in flight', () => {
  it('gives pushes a quarter, and one at least', () => {
    expect(limitsOf(new LoadLimit({ inFlight: 256, targetDelayMs: TARGET_MS }))).toEqual([256, 64]);
    expect(limitsOf(new LoadLimit({ inFlight: 1, targetDelayMs: TARGET_MS }))).toEqual([1, 1]);
  });

  it('cuts pushes to one, and feature requests by how late the event loop is, interval by interval', () => {
    const limit = new LoadLimit({ inFlight: 256, targetDelayMs: TARGET_MS });
    limit.observe(TARGET_MS, 100);
    expect(limitsOf(limit)).toEqual([256, 64]);
    limit.observe(LATE_MS, 100);
    expect(limitsOf(limit)).toEqual([30, 1]);
    limit.observe(TARGET_MS * 1.25, 30);
    expect(limitsOf(limit)).toEqual([24, 1]);
    limit.observe(TARGET_MS * 1.01, 20);
    expect(limitsOf(limit)).toEqual([18, 1]);
    for (let i = 0; i < 100; i++) limit.observe(LATE_MS, limit.of('serving'));
    expect(limitsOf(limit)).toEqual([8, 1]);
    expect([limit.isLowered('serving'), limit.isLowered('ingest')]).toEqual([true, true]);
  });

  it('rises when the delay is gone, feature requests first, and stays between half the target and the target', () => {
    const limit = new LoadLimit({ inFlight: 100, targetDelayMs: TARGET_MS });
    limit.observe(TARGET_MS * 2, 50);
    expect(limitsOf(limit)).toEqual([25, 1]);
    limit.observe(TARGET_MS * 0.6, 25);
    expect(limitsOf(limit)).toEqual([25, 1]);
    let intervals = 0;
    for (; limit.isLowered('serving'); intervals++) {
      expect(limit.of('ingest')).toBe(1);
      limit.observe(0, 25);
    }
    // 1.2 to the power of 8 is more than 4: 0.8 s, as an interval is 100 ms.
    expect(intervals).toBe(8);
    for (; limit.isLowered('ingest'); intervals++) limit.observe(0, 25);
    expect(intervals).toBe(13);
    expect(limitsOf(limit)).toEqual([100, 25]);
  });

  it('leaves pushes alone where nobody asks for features', () => {
    const limit = new LoadLimit({ inFlight: 100, targetDelayMs: TARGET_MS });
    for (let i = 0; i < 20; i++) limit.observe(LATE_MS, 0);
    expect(limitsOf(limit)).toEqual([100, 25]);
    // So few do not queue; they may have to wait for what is pushed.
    limit.observe(LATE_MS, 8);
    expect(limitsOf(limit)).toEqual([100, 1]);
  });
});
