import { describe, expect, it } from 'vitest';
import { LoadLimit } from './load-limit.ts';

const TARGET_MS = 5;
const LATE_MS = 20;

const limitsOf = (limit: LoadLimit): [serving: number, ingest: number] => [
  limit.of('serving'),
  limit.of('ingest'),
];

describe('the limit of requests in flight', () => {
  it('gives pushes a half, and one at least', () => {
    expect(limitsOf(new LoadLimit({ inFlight: 256, targetDelayMs: TARGET_MS }))).toEqual([256, 128]);
    expect(limitsOf(new LoadLimit({ inFlight: 1, targetDelayMs: TARGET_MS }))).toEqual([1, 1]);
  });

  it('halves pushes first, then cuts feature requests by how late the event loop is, interval by interval', () => {
    const limit = new LoadLimit({ inFlight: 256, targetDelayMs: TARGET_MS });
    limit.observe(TARGET_MS, 200);
    expect(limitsOf(limit)).toEqual([256, 128]);
    limit.observe(LATE_MS, 200);
    expect(limitsOf(limit)).toEqual([256, 64]);
    limit.observe(LATE_MS, 200);
    expect(limitsOf(limit)).toEqual([60, 32]);
    limit.observe(TARGET_MS * 1.25, 60);
    expect(limitsOf(limit)).toEqual([48, 16]);
    limit.observe(TARGET_MS * 1.01, 40);
    expect(limitsOf(limit)).toEqual([36, 8]);
    for (let i = 0; i < 100; i++) limit.observe(LATE_MS, limit.of('serving'));
    expect(limitsOf(limit)).toEqual([32, 1]);
    expect([limit.isLowered('serving'), limit.isLowered('ingest')]).toEqual([true, true]);
  });

  it('leaves feature requests alone where only now and then an interval is late', () => {
    const limit = new LoadLimit({ inFlight: 256, targetDelayMs: TARGET_MS });
    for (let i = 0; i < 20; i++) {
      limit.observe(LATE_MS, 200);
      limit.observe(0, 200);
      expect(limitsOf(limit)).toEqual([256, 128]);
    }
  });

  it('rises when the delay is gone, feature requests first, and stays between half the target and the target', () => {
    const limit = new LoadLimit({ inFlight: 200, targetDelayMs: TARGET_MS });
    for (let i = 0; i < 2; i++) limit.observe(TARGET_MS * 2, 100);
    expect(limitsOf(limit)).toEqual([50, 25]);
    for (let i = 0; i < 5; i++) limit.observe(TARGET_MS * 2, 32);
    expect(limitsOf(limit)).toEqual([50, 1]);
    limit.observe(TARGET_MS * 0.6, 50);
    expect(limitsOf(limit)).toEqual([50, 1]);
    let intervals = 0;
    for (; limit.isLowered('serving'); intervals++) {
      expect(limit.of('ingest')).toBe(1);
      limit.observe(0, 50);
    }
    // 1.2 to the power of 8 is more than 4: 0.8 s, as an interval is 100 ms.
    expect(intervals).toBe(8);
    for (; limit.isLowered('ingest'); intervals++) limit.observe(0, 50);
    expect(intervals).toBe(15);
    expect(limitsOf(limit)).toEqual([200, 100]);
  });

  it('leaves pushes alone where nobody asks for features, and few feature requests always', () => {
    const limit = new LoadLimit({ inFlight: 100, targetDelayMs: TARGET_MS });
    for (let i = 0; i < 20; i++) limit.observe(LATE_MS, 0);
    expect(limitsOf(limit)).toEqual([100, 50]);
    // So few do not queue; they may have to wait for what is pushed.
    for (let i = 0; i < 20; i++) limit.observe(LATE_MS, 32);
    expect(limitsOf(limit)).toEqual([100, 1]);
  });
});
