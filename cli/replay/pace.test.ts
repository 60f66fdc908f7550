import { describe, expect, it } from 'vitest';
import { paced } from './pace.ts';
import type { ReplayEvent, ReplayRejection } from './read-events.ts';

async function run(times: readonly (number | null)[], speed: number, stopAfter = Number.POSITIVE_INFINITY) {
  let nowMs = 1_000;
  const sentAtMs: number[] = [];
  let flushes = 0;
  async function* items(): AsyncGenerator<ReplayEvent | ReplayRejection> {
    for (const eventTimeMs of times) {
      yield eventTimeMs === null
        ? { ok: false, line: 1, code: 'c', column: null, message: 'm' }
        : { ok: true, line: 1, eventTimeMs, json: '' };
    }
  }
  const pace = {
    speed,
    nowMs: () => nowMs,
    sleep: async (durationMs: number) => {
      nowMs += durationMs;
    },
    beforeWait: () => {
      flushes++;
    },
    stopped: () => nowMs > stopAfter,
  };
  for await (const _ of paced(items(), pace)) sentAtMs.push(nowMs - 1_000);
  return { sentAtMs, flushes };
}

describe('the pace of a replay', () => {
  it('is N times real time, counted from the first event', async () => {
    expect(await run([50_000, 50_000, 51_000, 60_000], 1)).toEqual({
      sentAtMs: [0, 0, 1_000, 10_000],
      flushes: 2,
    });
    expect((await run([50_000, 51_000, 60_000], 10)).sentAtMs).toEqual([0, 100, 1_000]);
  });

  it('does not wait for late events or bad rows', async () => {
    expect((await run([50_000, null, 51_000, 50_500, null, 52_000], 1)).sentAtMs).toEqual([
      0, 0, 1_000, 1_000, 1_000, 2_000,
    ]);
  });

  it('does not wait at all at full speed', async () => {
    expect(await run([0, 1e12], Number.POSITIVE_INFINITY)).toEqual({ sentAtMs: [0, 0], flushes: 0 });
  });

  it('waits for gaps longer than a timer can', async () => {
    expect((await run([0, 3_000_000_000], 1)).sentAtMs).toEqual([0, 3_000_000_000]);
  });

  it('stops waiting when it is stopped', async () => {
    expect((await run([0, 3_000_000_000], 1, 100_000)).sentAtMs[1]).toBeLessThan(200_000);
  });
});
