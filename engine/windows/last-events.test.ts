/**
 * Windows of last events where rows were given up: at every time it is told rightly whether the newest ones are all known,
 * and the bounds named are those of what was counted.
 */
import { expect, test } from 'vitest';
import { lastN } from '../definitions/aggregation.ts';
import { integer, string, timestamp } from '../definitions/column.ts';
import { entity } from '../definitions/entity.ts';
import { featureView } from '../definitions/feature-view.ts';
import { streamSource } from '../definitions/stream-source.ts';
import type { EventRow } from '../definitions/types.ts';
import { SingleView } from '../testing/single-view.ts';

const KEY = 'c';
const START_MS = 1_700_000_000_000;
const ASKED = 3;
/** What is remembered for three: see `keptRows`. */
const KEPT = 35;

const source = streamSource({
  name: 'events',
  columns: { id: integer(), at: timestamp(), card: string() },
  eventTime: 'at',
  eventId: 'id',
  lateness: 0,
});
const view = featureView({
  name: 'newest',
  source,
  entity: entity('card'),
  features: { ids: lastN('id', ASKED).lastEvents(ASKED) },
});

// Steps between events: all apart; in pairs; so many of one millisecond that it is parted where rows are given up.
test.each([
  ['apart', (_: number) => 10],
  ['in pairs', (i: number) => (i % 2) * 10],
  ['in fives', (i: number) => (i % 5 === 0 ? 10 : 0)],
  ['in forties', (i: number) => (i % 40 === 0 ? 10 : 0)],
])('events %s', async (_, stepOf) => {
  const stored = new SingleView(view, { startMs: START_MS, foldAfterMs: 1 });
  const events: EventRow[] = [];
  let timeMs = START_MS;
  for (let i = 0; i < 100; i++) {
    timeMs += stepOf(i);
    events.push({ id: i, at: timeMs, card: KEY });
  }
  await stored.apply(events);
  stored.clock.advanceTo(timeMs + 1_000);
  expect(await stored.compact()).toBeGreaterThan(0);

  const firstKnown = events.length - KEPT;
  const seen = { present: 0, coarse: 0 };
  for (const atMs of new Set(events.flatMap(({ at }) => [-1, 0, 1].map((off) => (at as number) + off)))) {
    const { values } = await stored.read(KEY, atMs);
    const { value, status, fromMs, toMs } = values[0]!;
    const upToNow = events.filter(({ at }) => (at as number) <= atMs);
    const isKnown = upToNow.length - ASKED >= firstKnown;
    const named = upToNow.filter(({ at }) => fromMs === null || (at as number) > fromMs);
    const where = `${atMs - START_MS} ms`;
    expect(toMs, where).toBe(atMs);
    expect(status, where).toBe(isKnown ? 'present' : 'coarse');
    expect(value, where).toEqual(named.length === 0 ? null : named.slice(-ASKED).map(({ id }) => id));
    if (isKnown) {
      expect(fromMs, where).toBeNull();
      seen.present++;
    } else {
      // Not of the millisecond of the oldest row that is known: others of it may have been given up.
      const oldest = Math.min(atMs, events[firstKnown]!.at as number);
      expect(fromMs, where).toBe(oldest);
      seen.coarse++;
    }
  }
  expect(seen.present).toBeGreaterThan(0);
  expect(seen.coarse).toBeGreaterThan(0);
});
