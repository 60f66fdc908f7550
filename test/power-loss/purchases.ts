/**
 * The feature repo under load, and what its features must answer. An event follows from its number, so that the log
 * alone says what was pushed, and bytes that got lost or mixed up in it are noticed.
 */
import {
  type CompiledRepo,
  compileRepo,
  count,
  distinctCount,
  entity,
  featureService,
  featureView,
  integer,
  last,
  max,
  maxGap,
  min,
  streamSource,
  string,
  sum,
  timestamp,
} from '../../index.ts';

const columns = { at: timestamp(), key: string(), amount: integer(), item: string(), note: string() };

const purchases = streamSource({
  name: 'purchases',
  columns: { id: integer(), ...columns },
  eventTime: 'at',
  eventId: 'id',
});

/** Without an event id: its repeats are told by the stamp of the push. */
const visits = streamSource({ name: 'visits', columns: { n: integer(), ...columns }, eventTime: 'at' });

const key = entity('key');

const byKey = featureView({
  name: 'purchases_by_key',
  source: purchases,
  entity: key,
  features: {
    purchases: count().over('30d'),
    amount_sum: sum('amount').over('30d'),
    amount_min: min('amount').over('30d'),
    amount_max: max('amount').over('30d'),
    items: distinctCount('item').over('30d'),
    amount_last: last('amount').over('30d'),
  },
});

/** Rows between two others are put into the tree at once, ahead of the watermark. */
const gapsByKey = featureView({
  name: 'gaps_by_key',
  source: purchases,
  entity: key,
  features: { gap_max: maxGap().over('30d') },
});

const visitsByKey = featureView({
  name: 'visits_by_key',
  source: visits,
  entity: key,
  features: {
    visits: count().over('30d'),
    visits_ever: count().lifetime(),
    visit_sum: sum('amount').over('30d'),
  },
});

export const SERVICE = 'all';
export const SOURCES = ['purchases', 'visits'] as const;
export type SourceName = (typeof SOURCES)[number];

export const repo: CompiledRepo = compileRepo([
  featureService({ name: SERVICE, features: [byKey, gapsByKey, visitsByKey] }),
]);

export const KEYS = ['a', 'b', 'c', 'd', 'e'] as const;

/** 2026-03-02T12:00:00Z: when every event's append is said to happen. */
export const NOW_MS = Date.UTC(2026, 2, 2, 12);
const SPREAD_MS = 20 * 60_000;

interface PushedEvent {
  readonly at: number;
  readonly key: string;
  readonly amount: number;
  readonly item: string;
  readonly note: string;
}

/** The event of a number, as it is pushed; numbers that follow one another are neither in order nor of one key. */
export function eventOf(source: SourceName, number: number): PushedEvent & Record<string, unknown> {
  const mixed = Math.imul(number + 1, 0x9e37_79b1) >>> 0;
  return {
    [source === 'purchases' ? 'id' : 'n']: number,
    at: NOW_MS - (mixed % SPREAD_MS),
    key: KEYS[mixed % KEYS.length]!,
    amount: (mixed >>> 7) % 1_000,
    item: `item-${(mixed >>> 5) % 40}`,
    // Some records are longer than a page of lmdb's.
    note: 'note '.repeat(mixed % 100 === 0 ? 900 : mixed % 12),
  };
}

/** What the service must answer for a key when the log holds the events of these numbers. */
export function expectedFeatures(
  key: string,
  numbers: Readonly<Record<SourceName, readonly number[]>>,
): Record<string, number | null> {
  const eventsOf = (source: SourceName) =>
    numbers[source]
      .map((number) => ({ number, ...eventOf(source, number) }))
      .filter((event) => event.key === key);
  const bought = eventsOf('purchases').sort((a, b) => a.at - b.at || a.number - b.number);
  const visited = eventsOf('visits');
  const amounts = bought.map(({ amount }) => amount);
  const gaps = bought.slice(1).map(({ at }, i) => at - bought[i]!.at);
  const sumOf = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0);
  const extreme = (choose: (...values: number[]) => number, values: readonly number[]): number | null =>
    values.length === 0 ? null : values.reduce((a, b) => choose(a, b));
  return {
    purchases: bought.length,
    amount_sum: sumOf(amounts),
    amount_min: extreme(Math.min, amounts),
    amount_max: extreme(Math.max, amounts),
    items: new Set(bought.map(({ item }) => item)).size,
    amount_last: amounts.at(-1) ?? null,
    gap_max: extreme(Math.max, gaps),
    visits: visited.length,
    visits_ever: visited.length,
    visit_sum: sumOf(visited.map(({ amount }) => amount)),
  };
}
