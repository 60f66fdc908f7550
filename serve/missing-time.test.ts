/** Which values a gap is said to be missing in: both sides of the boundary. */
import { describe, expect, test } from 'vitest';
import { NOON_MS, testRepo } from '../embedded/testing/test-repo.ts';
import type { LogGap } from '../engine/store/log-gap.ts';
import { retentionMs } from '../engine/tiles/state-update.ts';
import { isWithinReach } from '../ingest/gap-reach.ts';
import { OpenGaps } from '../ingest/open-gaps.ts';
import { missingTime } from './missing-time.ts';

const refusals = testRepo.views.get('refusals')!;
const shops = testRepo.views.get('shops')!;
/** It has a lifetime window. */
const spend = testRepo.views.get('spend')!;
const { maxFutureMs } = refusals.source;
const gap: LogGap = { fromOffset: 3, toOffset: 5, afterMs: NOON_MS - 1_000, untilMs: NOON_MS };
/** Of the last event that can be in it. */
const latestMs = NOON_MS + maxFutureMs;

test('a window lacks it where it begins before the last event that it may hold', () => {
  // The old edge is exclusive: an event at it does not count.
  expect(missingTime(refusals, [gap], latestMs)).toBeNull();
  expect(missingTime(refusals, [gap], latestMs - 1)).toMatchObject({ untilMs: NOON_MS });
  expect(missingTime(refusals, [gap], null)).toMatchObject({ afterMs: NOON_MS - 1_000, untilMs: NOON_MS });
  expect(missingTime(refusals, [], null)).toBeNull();
});

test('of several gaps those count that the window reaches, from the first to the last', () => {
  const later: LogGap = {
    ...gap,
    fromOffset: 9,
    toOffset: 10,
    afterMs: NOON_MS + 5_000,
    untilMs: NOON_MS + 9_000,
  };
  const first = { afterMs: gap.afterMs, untilMs: later.untilMs };
  expect(missingTime(refusals, [gap, later], latestMs - 1)).toEqual(first);
  expect(missingTime(refusals, [gap, later], latestMs)).toMatchObject({
    afterMs: later.afterMs,
    untilMs: later.untilMs,
  });
  expect(missingTime(refusals, [{ ...gap, afterMs: null }, later], null)).toEqual({
    ...first,
    afterMs: null,
  });
});

describe('what is still open', () => {
  const lastMs = latestMs + retentionMs(refusals);

  test('is what some window may still be asked for that reaches back to it', () => {
    expect(isWithinReach(refusals, gap, lastMs)).toBe(true);
    expect(isWithinReach(refusals, gap, lastMs + 1)).toBe(false);
    expect(isWithinReach(spend, gap, Number.MAX_SAFE_INTEGER)).toBe(true);
  });

  test('is listed once for all views that lack it, and not for those that no longer do', () => {
    const gaps = new OpenGaps();
    const other = { ...gap, fromOffset: 1, toOffset: 2 };
    gaps.set(spend, 1, [gap]);
    gaps.set(refusals, 1, [gap]);
    gaps.set(shops, 0, [other]);
    const of = (partition: number, views: string[]) => ({ source: 'payments', partition, views });
    expect(gaps.list(lastMs)).toMatchObject([of(0, ['shops']), of(1, ['spend', 'refusals'])]);
    expect(gaps.list(lastMs + 1)).toMatchObject([of(0, ['shops']), of(1, ['spend'])]);
    gaps.set(refusals, 1, []);
    expect(gaps.of(refusals)).toEqual([]);
    expect(gaps.of(spend)).toEqual([gap]);
    gaps.forget('payments');
    expect(gaps.list(0)).toEqual([]);
    expect(gaps.of(spend)).toEqual([]);
  });
});
