import { expect, test } from 'vitest';
import { ManualClock } from '../engine/clock.ts';
import type { EventTimes } from '../ingest/consumer-observer.ts';
import { Metrics } from '../serve/metrics.ts';
import { Freshness } from './freshness.ts';

const NOW_MS = 1_700_000_000_000;

function setup(clock = new ManualClock(NOW_MS)) {
  const metrics = new Metrics();
  const wallClock = new ManualClock(NOW_MS);
  const source = 's';
  const freshness = new Freshness({ source, latenessMs: 60_000, clock, wallClock, metrics });
  const append = metrics.histogram('millrace_append_to_applied_seconds', { source });
  const event = metrics.histogram('millrace_event_to_applied_seconds', { source });
  const late = async () =>
    Number(/late_events_total\{source="s"\} (\d+)/.exec(await metrics.text())?.[1] ?? 0);
  return { freshness, append, event, late };
}

const at = (offset: number, agoMs: number, more: Partial<EventTimes> = {}): EventTimes => ({
  ...{ offset, appendedMs: NOW_MS - agoMs, eventTimeMs: NOW_MS - agoMs, isCopy: false },
  ...more,
});

test('each event counts with its own times', () => {
  const { freshness, append, event } = setup();
  freshness.applied([at(0, 3_000), at(1, 1_000, { eventTimeMs: NOW_MS - 9_000 })], 2);
  expect([append.count, append.sum]).toEqual([2, 4]);
  expect([event.count, event.sum]).toEqual([2, 12]);
});

test('an event that is applied again, by whoever, does not count', () => {
  const { freshness, append } = setup();
  freshness.applied([at(0, 5), at(1, 5)], 2);
  // A view that was added, from the start of the log; then all views together, from the lower position.
  freshness.applied([at(0, 50_000)], 1);
  freshness.applied([at(1, 50_000), at(2, 7)], 3);
  expect(append.count).toBe(3);
  expect(append.sum).toBeCloseTo(0.017, 9);
});

test('what others have applied is no news', () => {
  const { freshness, append } = setup();
  freshness.positioned(2);
  // A view that begins, and positions that are read again after a store has fallen back.
  freshness.positioned(null);
  freshness.positioned(0);
  freshness.applied([at(0, 1_000_000), at(1, 1_000_000)], 2);
  expect(append.count).toBe(0);
  // An outage: it was appended long ago, and nobody had it.
  freshness.applied([at(2, 1_000_000)], 3);
  expect(append.count).toBe(1);
});

test('what was in the log before anybody applied any is no news; what comes meanwhile is', () => {
  const { freshness, append } = setup();
  freshness.positioned(null);
  freshness.applied([at(0, 1_000_000), at(1, 1), at(2, 0)], 3);
  expect(append.count).toBe(1);
});

test('a dead letter replayed, and a record that does not say when it was appended, spoil nothing', () => {
  const { freshness, append, event } = setup();
  freshness.applied([at(0, 86_400_000, { isCopy: true }), at(1, 0, { appendedMs: 0 })], 2);
  expect([append.count, event.count]).toEqual([0, 1]);
});

test('a clock of a producer that is ahead makes nothing negative', () => {
  const { freshness, append, event } = setup();
  freshness.applied([at(0, -500)], 1);
  expect([append.sum, event.sum]).toEqual([0, 0]);
});

test('an event is late by its append, not by an outage of ours', async () => {
  const { freshness, late } = setup();
  const appendedMs = NOW_MS - 7_200_000;
  freshness.applied(
    [
      at(0, 0, { appendedMs, eventTimeMs: appendedMs - 60_000 }),
      at(1, 0, { appendedMs, eventTimeMs: appendedMs - 60_001 }),
    ],
    2,
  );
  expect(await late()).toBe(1);
});

test('on a clock that follows the events, these are compared with it', async () => {
  const { freshness, event, late } = setup(new ManualClock(1_000_000));
  freshness.applied([at(0, 0, { eventTimeMs: 990_000 }), at(1, 0, { eventTimeMs: 900_000 })], 2);
  expect(event.sum).toBe(110);
  expect(await late()).toBe(1);
});
