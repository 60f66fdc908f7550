import { describe, expect, it } from 'vitest';
import { LoadLimit } from './load-limit.ts';

const TARGET_MS = 5;
const LATE_MS = 20;

const limitsOf = (limit: LoadLimit): [serving: number, ingest: number] => [
  limit.of('serving'),
  limit.of('ingest'),
];

/** Beside a store that takes 1 ms. */
function waits(limit: LoadLimit, queuedMs: number, serving: number, { busy = 1, ingest = 0 } = {}): void {
  limit.observeWait({ inFlightMs: queuedMs + 1, queuedMs }, busy, { serving, ingest });
}

/** An interval in which the event loop was busy all the time, and late or not. */
function observeBusy(limit: LoadLimit, delayMs: number, served: number): void {
  waits(limit, 0, served);
  limit.observe(delayMs, served);
}

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
      observeBusy(limit, 0, limit.of('serving'));
    }
    // 1.2 to the power of 8 is more than 4: 0.8 s, as an interval is 100 ms.
    expect(intervals).toBe(8);
    for (; limit.isLowered('ingest'); intervals++) observeBusy(limit, 0, 50);
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

  it('rises the faster the more time there is to spare', () => {
    const after = (busy: number): number => {
      const limit = new LoadLimit({ inFlight: 200, targetDelayMs: TARGET_MS });
      for (let i = 0; i < 2; i++) limit.observe(LATE_MS, 160);
      waits(limit, 0, 40, { busy });
      waits(limit, 0, 40, { busy: 0 });
      limit.observe(0, 48);
      return limit.of('serving');
    };
    expect([1, 0.9, 0.75, 0.5, 0.1].map(after)).toEqual([58, 58, 64, 96, 96]);
  });
});

describe('requests that wait for one another', () => {
  /** Of a target of 5 ms for the event loop. */
  const WAIT_TARGET_MS = 3;
  /** Where more keep coming than are let in. */
  const FULL_TARGET_MS = 1.5;

  it('are cut to the share that would wait as long as the target, the second time that many wait longer', () => {
    const limit = new LoadLimit({ inFlight: 256, targetDelayMs: TARGET_MS });
    waits(limit, 2 * WAIT_TARGET_MS, 100);
    waits(limit, WAIT_TARGET_MS, 100);
    waits(limit, 2 * WAIT_TARGET_MS, 100);
    expect(limit.of('serving')).toBe(256);
    waits(limit, 15, 100);
    // Of 16 ms, the store's one and three more.
    expect(limitsOf(limit)).toEqual([25, 128]);
    // 100 were let in before; none is let in now, and they wait longer still.
    waits(limit, 30, 100);
    expect(limit.of('serving')).toBe(25);
    // Once they are answered, few are many.
    waits(limit, 4, 20);
    expect(limit.of('serving')).toBe(16);
  });

  it('are cut the less the more of their time is the store’s', () => {
    const limit = new LoadLimit({ inFlight: 256, targetDelayMs: TARGET_MS });
    for (let i = 0; i < 2; i++)
      limit.observeWait({ inFlightMs: 60, queuedMs: 12 }, 1, { serving: 200, ingest: 0 });
    expect(limit.of('serving')).toBe(170);
  });

  it('are left alone where there are few, unless they wait twice as long as the target three times in a row', () => {
    const limit = new LoadLimit({ inFlight: 256, targetDelayMs: TARGET_MS });
    for (let i = 0; i < 20; i++) waits(limit, 2 * WAIT_TARGET_MS, 32);
    for (let i = 0; i < 2; i++) waits(limit, 15, 32);
    expect(limit.of('serving')).toBe(256);
    waits(limit, 15, 32);
    expect(limit.of('serving')).toBe(8);
    for (let i = 0; i < 20; i++) waits(limit, 24, limit.of('serving'));
    expect(limit.of('serving')).toBe(2);
  });

  it('keep their places as long as there are pushes to be shed', () => {
    const limit = new LoadLimit({ inFlight: 256, targetDelayMs: TARGET_MS });
    const after: [number, number][] = [];
    for (let i = 0; i < 8; i++) {
      waits(limit, 15, 100, { ingest: Math.min(6, limit.of('ingest')) });
      after.push(limitsOf(limit));
    }
    const both = (ingest: number): [number, number] => [256, ingest];
    expect(after.slice(0, 5)).toEqual([128, 3, 3, 1, 1].map(both));
    expect(after.slice(5).map(([serving]) => serving)).toEqual([25, 25, 25]);
  });

  it('are let in again when none of the waits since the last look was above half the target', () => {
    const limit = new LoadLimit({ inFlight: 256, targetDelayMs: TARGET_MS });
    for (let i = 0; i < 2; i++) waits(limit, 7, 100);
    expect(limit.of('serving')).toBe(50);
    limit.observe(0, 50);
    expect(limit.waitMs).toBe(7);
    waits(limit, WAIT_TARGET_MS * 0.6, 50);
    waits(limit, 0, 50);
    limit.observe(0, 50);
    expect(limit.of('serving')).toBe(50);
    waits(limit, WAIT_TARGET_MS / 2, 50);
    limit.observe(0, 50);
    expect(limit.of('serving')).toBe(60);
  });

  it('may wait for half as long where some come up to the limit for half a second', () => {
    const after = (intervals: number): number => {
      const limit = new LoadLimit({ inFlight: 256, targetDelayMs: TARGET_MS });
      for (let i = 0; i < 2; i++) waits(limit, 7, 100);
      for (let i = 0; i < intervals; i++) {
        waits(limit, 0, 50);
        waits(limit, FULL_TARGET_MS + 0.5, 50);
        limit.observe(0, 50);
      }
      for (let i = 0; i < 2; i++) waits(limit, FULL_TARGET_MS + 0.5, 50);
      return limit.of('serving');
    };
    // Of 3 ms, the store's one and one and a half more.
    expect([4, 5].map(after)).toEqual([50, 41]);
  });

  it('may wait for half as long also where in some intervals none comes up to the limit', () => {
    const limit = new LoadLimit({ inFlight: 256, targetDelayMs: TARGET_MS });
    for (let i = 0; i < 2; i++) waits(limit, 7, 100);
    const served = [50, 50, 50, 50, 49, 100, 100];
    for (const most of served) {
      waits(limit, 0, most);
      waits(limit, FULL_TARGET_MS + 0.5, most);
      limit.observe(0, most);
    }
    expect(limit.of('serving')).toBe(100);
    for (let i = 0; i < 2; i++) waits(limit, FULL_TARGET_MS + 0.5, 100);
    expect(limit.of('serving')).toBe(83);
  });

  it('keep pushes out while they wait, also where the limit of their own is at its top', () => {
    const limit = new LoadLimit({ inFlight: 256, targetDelayMs: TARGET_MS });
    for (let i = 0; i < 8; i++) waits(limit, 7, 20, { ingest: limit.of('ingest') });
    const { ingest } = { ingest: limit.of('ingest') };
    expect(ingest).toBeLessThan(64);
    waits(limit, 0.9 * WAIT_TARGET_MS, 20);
    limit.observe(0, 20);
    expect(limit.of('ingest')).toBe(ingest);
  });

  it('are let in again at once where nobody comes up to the limit, however long they wait', () => {
    const limit = new LoadLimit({ inFlight: 256, targetDelayMs: TARGET_MS });
    for (let i = 0; i < 2; i++) waits(limit, 7, 100);
    for (const expected of [100, 200, 256]) {
      waits(limit, 0.9 * WAIT_TARGET_MS, 49);
      limit.observe(0, 49);
      expect(limit.of('serving')).toBe(expected);
    }
  });

  it('are never cut where there is no target', () => {
    const limit = new LoadLimit({ inFlight: 256, targetDelayMs: Number.POSITIVE_INFINITY });
    for (let i = 0; i < 20; i++) waits(limit, 10_000, 256);
    expect(limit.of('serving')).toBe(256);
  });
});
