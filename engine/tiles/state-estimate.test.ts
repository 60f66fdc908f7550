/**
 * Estimates against states that were filled with events by the real write path.
 *
 * What it does not catch: keys whose events come in bursts, and values that are unlike those made up.
 */
import { describe, expect, test } from 'vitest';
import {
  approxDistinctCount,
  boolean,
  count,
  distinctCount,
  double,
  entity,
  featureView,
  integer,
  last,
  maxGap,
  mean,
  percentile,
  stddevSamp,
  streamSource,
  string,
  timestamp,
  topKFrequent,
} from '../../index.ts';
import { compileRepo } from '../definitions/compile.ts';
import { SeededRandom } from '../testing/random.ts';
import { SingleView } from '../testing/single-view.ts';
import { fieldSizeBytes } from './field-size.ts';
import { DAY_MS, estimateState, TEXT_CHARS } from './state-estimate.ts';
import { DEFAULT_TILE_SHAPE } from './tile-shape.ts';

const START_MS = Date.UTC(2024, 0, 1);
const CHUNK = 500;

/** Real states may be larger or smaller by this factor. */
const FACTOR = 1.5;

const columns = {
  id: integer(),
  at: timestamp(),
  card: integer(),
  amount: double(),
  shop: string(),
  abroad: boolean(),
};
const timing = { eventTime: 'at', eventId: 'id', dedupeHorizon: '1h' } as const;
const source = streamSource({ name: 'payments', columns, ...timing });
const sourceWithTextIds = streamSource({
  name: 'payments_by_text',
  columns: { ...columns, id: string() },
  ...timing,
});

/** Other keys have events between two of this one: on average so many. */
const OTHER_IDS = 2_500;

const card = entity('card');
const common = { source, entity: card, maxStateBytes: 2 ** 30, asOfRetention: '12h' } as const;

const VIEWS = {
  counts: featureView({ ...common, name: 'counts', features: { n: count().over('5d') } }),
  amounts: featureView({
    ...common,
    name: 'amounts',
    features: {
      mean_1d: mean('amount').over('1d'),
      stddev_5d: stddevSamp('amount').over('5d'),
      shop: last('shop').over('5d'),
      abroad: count().where('abroad').over('5d'),
    },
  }),
  shops: featureView({
    ...common,
    name: 'shops',
    features: { shops: distinctCount('shop', { exactUpTo: 20 }).over('5d') },
  }),
  sketches: featureView({
    ...common,
    name: 'sketches',
    features: {
      p95: percentile('amount', 95).over('5d'),
      shops: approxDistinctCount('shop').over('5d'),
      favourites: topKFrequent('shop', 5).over('2d'),
    },
  }),
  amounts_apart: featureView({
    ...common,
    name: 'amounts_apart',
    features: { different: distinctCount('amount').over('5d'), mean: mean('amount').over('1d') },
  }),
  sketches_ever: featureView({
    ...common,
    name: 'sketches_ever',
    features: { p95: percentile('amount', 95).lifetime(), n: count().over('2d') },
  }),
  sketches_hour: featureView({
    ...common,
    name: 'sketches_hour',
    resolution: '1h',
    features: { p95: percentile('amount', 95).over('5d'), shops: approxDistinctCount('shop').over('5d') },
  }),
  text_ids: featureView({
    ...common,
    name: 'text_ids',
    source: sourceWithTextIds,
    features: { mean: mean('amount').over('5d') },
  }),
  gaps: featureView({ ...common, name: 'gaps', features: { gap: maxGap().over('5d') } }),
  ever: featureView({ ...common, name: 'ever', features: { n: count().lifetime(), n5: count().over('2d') } }),
  newest: featureView({
    ...common,
    name: 'newest',
    features: { mean_50: mean('amount').lastEvents(50, { within: '5d' }), n: count().over('1h') },
  }),
  coarse_hour: featureView({
    ...common,
    name: 'coarse_hour',
    resolution: '1h',
    features: { mean: mean('amount').over('5d'), n: count().over('1d') },
  }),
  coarse_minute: featureView({
    ...common,
    name: 'coarse_minute',
    resolution: '1m',
    features: { mean: mean('amount').over('5d') },
  }),
};

/** Bytes of a state filled at this rate for long enough, averaged over its last day. */
async function measure(view: (typeof VIEWS)[keyof typeof VIEWS], perDay: number): Promise<number> {
  const it = new SingleView(view, { startMs: START_MS });
  const random = new SeededRandom(1);
  const days = 8;
  const times = Array.from({ length: perDay * days }, () =>
    Math.floor(START_MS + (random.uint32() / 2 ** 32) * days * DAY_MS),
  ).sort((a, b) => a - b);
  const ids = times.map(() => 0);
  for (let i = 1; i < ids.length; i++) ids[i] = ids[i - 1]! + 1 + random.below(2 * OTHER_IDS);
  const hasTextIds = view.source === sourceWithTextIds;
  const sizes: number[] = [];
  const chunk = Math.min(CHUNK, Math.ceil(perDay / 4));
  for (let from = 0; from < times.length; from += chunk) {
    const rows = times.slice(from, from + chunk).map((at, i) => ({
      id: hasTextIds ? `payment ${ids[from + i]}` : ids[from + i]!,
      at,
      card: 1,
      amount: random.below(10_000) / 100,
      shop: String(random.below(100)).padEnd(TEXT_CHARS, '-'),
      abroad: random.chance(0.5),
    }));
    it.clock.advanceTo(rows.at(-1)!.at);
    await it.apply(rows);
    await it.compact();
    if (it.clock.nowMs() < START_MS + (days - 1) * DAY_MS) continue;
    const address = { namespace: it.view.namespace, key: '1', shard: 0 };
    const [state] = await it.tracker.read([{ address, fields: [] }]);
    const fields = it.tracker.fieldsOf(address);
    sizes.push([state!.head, ...fields.values()].reduce((sum, bytes) => sum + fieldSizeBytes(bytes), 0));
  }
  return sizes.reduce((a, b) => a + b, 0) / sizes.length;
}

/** Slow to fill, and like others: only with fewer events. */
const NOT_DENSE = new Set<string>(['sketches_ever', 'sketches_hour', 'text_ids']);

describe.each([20, 40, 300, 4_000, 30_000])('%i events per key and day', (perDay) => {
  test.each(Object.entries(VIEWS).filter(([name]) => perDay <= 4_000 || !NOT_DENSE.has(name)))(
    '%s',
    async (_, view) => {
      const compiled = [...compileRepo([view]).views.values()][0]!;
      const { bytes } = estimateState(compiled, DEFAULT_TILE_SHAPE, perDay);
      const real = await measure(view, perDay);
      expect(real / bytes).toBeLessThan(FACTOR);
      expect(real / bytes).toBeGreaterThan(1 / FACTOR);
    },
    120_000,
  );
});

test('a rate that is none is refused', () => {
  const compiled = [...compileRepo([VIEWS.counts]).views.values()][0]!;
  for (const rate of [0, -1, Number.NaN, Number.POSITIVE_INFINITY]) {
    expect(() => estimateState(compiled, DEFAULT_TILE_SHAPE, rate)).toThrow(RangeError);
  }
});
