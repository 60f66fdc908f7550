import { setImmediate as immediate } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { NOON_MS, testRepo } from '../embedded/testing/test-repo.ts';
import { ManualClock } from '../engine/clock.ts';
import { EventClock } from './event-clock.ts';
import { IngestProgress } from './ingest-progress.ts';

const source = testRepo.sources.get('payments')!;
const [spend, ...others] = source.views;
const never = new AbortController().signal;

function tracked(endOffset: number, nextOffset: number) {
  const clock = new ManualClock(NOON_MS);
  const progress = new IngestProgress({ clock, lagBoundMs: 10_000 });
  progress.track(source, 0, endOffset, new Map(source.views.map((view) => [view, nextOffset])));
  return { clock, progress };
}

const applyAll = (progress: IngestProgress, nextOffset: number, appendedMs = NOON_MS): void => {
  for (const view of source.views) progress.applied(view, 0, nextOffset, appendedMs);
};

describe('catching up', () => {
  test('lasts until the end the log had at the start is reached', () => {
    const { progress } = tracked(100, 0);
    expect(progress.isCatchingUp(spend!)).toBe(true);
    progress.appended('payments', 0, 150);
    applyAll(progress, 99);
    expect(progress.isCatchingUp(spend!)).toBe(true);
    applyAll(progress, 100);
    expect(progress.isCatchingUp(spend!)).toBe(false);
  });

  test('starts again when a view is behind for longer than the bound, and only then', () => {
    const { clock, progress } = tracked(10, 10);
    clock.advanceTo(NOON_MS + 3_600_000);
    // A quiet hour is no lag: it begins with the first record that is not applied.
    progress.appended('payments', 0, 20);
    expect(progress.isCatchingUp(spend!)).toBe(false);
    clock.advanceTo(clock.nowMs() + 10_000);
    expect(progress.isCatchingUp(spend!)).toBe(false);
    clock.advanceTo(clock.nowMs() + 1);
    expect(progress.isCatchingUp(spend!)).toBe(true);
    expect(progress.lags()).toEqual([{ source: 'payments', partition: 0, records: 10, seconds: 10.001 }]);
    // Half of it, appended a moment ago.
    progress.applied(spend!, 0, 15, clock.nowMs() - 5_000);
    expect(progress.isCatchingUp(spend!)).toBe(false);
    expect(progress.isCatchingUp(others[0]!)).toBe(true);
    applyAll(progress, 20);
    expect(progress.lags()).toEqual([{ source: 'payments', partition: 0, records: 0, seconds: 0 }]);
  });

  test('begins where others append when the end was seen last, not when it is seen to have moved', () => {
    const { clock, progress } = tracked(10, 10);
    progress.endSeen('payments', 0, 10, NOON_MS);
    // Nobody could look for an hour: what is new may have been there for as long.
    clock.advanceTo(NOON_MS + 3_600_000);
    progress.endSeen('payments', 0, 20, clock.nowMs());
    expect(progress.isCatchingUp(spend!)).toBe(true);
    expect(progress.lags()).toEqual([{ source: 'payments', partition: 0, records: 10, seconds: 3_600 }]);
    applyAll(progress, 20);
    expect(progress.isCatchingUp(spend!)).toBe(false);
    // A push of this process, 10 s after the look, behind what others have pushed meanwhile.
    clock.advanceTo(clock.nowMs() + 10_000);
    progress.appended('payments', 0, 30);
    expect(progress.isCatchingUp(spend!)).toBe(false);
    clock.advanceTo(clock.nowMs() + 1);
    expect(progress.isCatchingUp(spend!)).toBe(true);
    // Applied up to there; what came behind it may be as old as the look.
    applyAll(progress, 30);
    progress.endSeen('payments', 0, 31, clock.nowMs());
    expect(progress.isCatchingUp(spend!)).toBe(true);
  });

  test('starts again when the store has lost its newest writes', () => {
    const { progress } = tracked(10, 10);
    progress.positioned(spend!, 0, 4);
    expect(progress.isCatchingUp(spend!)).toBe(true);
    expect(progress.isCatchingUp(others[0]!)).toBe(false);
    progress.applied(spend!, 0, 10, NOON_MS);
    expect(progress.isCatchingUp(spend!)).toBe(false);
  });
});

describe('waiting for events to be applied', () => {
  test('ends when the last view has applied them', async () => {
    const { progress } = tracked(0, 0);
    progress.appended('payments', 0, 3);
    let done = false;
    const waiting = progress.waitUntilApplied('payments', progress.ends('payments'), never).then(() => {
      done = true;
    });
    for (const view of others) progress.applied(view, 0, 3, NOON_MS);
    progress.applied(spend!, 0, 2, NOON_MS);
    await Promise.resolve();
    expect([done, progress.appliedOffset('payments', 0)]).toEqual([false, 2]);
    progress.applied(spend!, 0, 3, NOON_MS);
    await waiting;
    expect(done).toBe(true);
  });

  test('waits for a partition that was added and is not tracked yet', async () => {
    const { progress } = tracked(1, 1);
    progress.appended('payments', 1, 2);
    expect([...progress.ends('payments')]).toEqual([
      [0, 1],
      [1, 2],
    ]);
    let isApplied = false;
    const waiting = progress.waitUntilApplied('payments', progress.ends('payments'), never).then(() => {
      isApplied = true;
    });
    progress.track(source, 1, 2, new Map(source.views.map((view) => [view, 0])));
    applyAll(progress, 1);
    await immediate();
    expect(isApplied).toBe(false);
    for (const view of source.views) progress.applied(view, 1, 2, NOON_MS);
    await waiting;
    expect([...progress.ends('payments')]).toHaveLength(2);
  });

  test('ends when the signal aborts, before or while waiting', async () => {
    const { progress } = tracked(5, 0);
    await progress.waitUntilApplied('payments', progress.ends('payments'), AbortSignal.abort());
    const controller = new AbortController();
    const waiting = progress.waitUntilApplied('payments', progress.ends('payments'), controller.signal);
    controller.abort();
    await waiting;
  });
});

describe('a log that ends before what was applied', () => {
  test('is behind, and nothing of it is applied, until it is there again', async () => {
    const { clock, progress } = tracked(10, 10);
    clock.advanceTo(NOON_MS + 3_600_000);
    const shortfall = { endOffset: 4, nextOffset: 10 };
    progress.setShortfall('payments', 0, shortfall);
    expect(source.views.map((view) => progress.isCatchingUp(view))).toEqual(source.views.map(() => true));
    const short = { source: 'payments', partition: 0, ...shortfall };
    expect(progress.shortLogs()).toEqual([short]);
    expect(progress.shortLog('payments')).toEqual(short);
    expect(progress.shortLog('clicks')).toBeNull();
    clock.advanceTo(clock.nowMs() + 2_000);
    progress.setShortfall('payments', 0, { endOffset: 5, nextOffset: 10 });
    expect(progress.lags()).toEqual([{ source: 'payments', partition: 0, records: 5, seconds: 2 }]);
    let isApplied = false;
    const waiting = progress.waitUntilApplied('payments', new Map([[0, 5]]), never).then(() => {
      isApplied = true;
    });
    await immediate();
    expect(isApplied).toBe(false);

    progress.setShortfall('payments', 0, null);
    await waiting;
    expect(progress.isCatchingUp(spend!)).toBe(false);
    expect(progress.lags()).toEqual([{ source: 'payments', partition: 0, records: 0, seconds: 0 }]);
  });
});

test('an end that nobody has seen for longer than the bound is no end that a view is known to be at', () => {
  const clock = new ManualClock(NOON_MS);
  const progress = new IngestProgress({ clock, lagBoundMs: 10_000 });
  progress.track(source, 0, 5, new Map(source.views.map((view) => [view, 5])), NOON_MS);
  clock.advanceTo(NOON_MS + 10_000);
  expect(progress.lags()).toMatchObject([{ records: 0, seconds: 0 }]);
  clock.advanceTo(NOON_MS + 10_001);
  expect(progress.lags()).toMatchObject([{ records: 0, seconds: 10.001 }]);
  progress.endSeen('payments', 0, 5, clock.nowMs());
  expect(progress.lags()).toMatchObject([{ records: 0, seconds: 0 }]);
});

describe('the event clock', () => {
  test('is the least of the partitions that have events, and never goes back', () => {
    const clock = new EventClock();
    expect(clock.nowMs()).toBe(0);
    clock.applied('a', 0, -1);
    expect(clock.nowMs()).toBe(0);
    clock.applied('a', 0, 100);
    expect(clock.nowMs()).toBe(100);
    clock.applied('b', 0, 40);
    expect(clock.nowMs()).toBe(100);
    clock.applied('a', 0, 300);
    clock.applied('a', 0, 200);
    clock.applied('b', 0, 250);
    expect(clock.nowMs()).toBe(250);
  });

  test('is made again from all partitions before it moves', () => {
    const clock = new EventClock();
    clock.restore('a', 0, 300);
    clock.restore('a', 1, 200);
    expect(clock.nowMs()).toBe(0);
    clock.advance();
    expect(clock.nowMs()).toBe(200);
  });
});
