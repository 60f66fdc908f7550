/**
 * What a state that was built at once leaves to the log that goes on from it. Values of random definitions, and repeats among
 * them, are in state-builder.property.test.ts; nothing is merged or near its bound there.
 */
import { expect, test } from 'vitest';
import {
  count,
  distinctCount,
  entity,
  featureView,
  integer,
  streamSource,
  string,
  timestamp,
} from '../../index.ts';
import { SeededRandom } from '../testing/random.ts';
import { SingleView } from '../testing/single-view.ts';
import { DEFAULT_TILE_SHAPE } from './tile-shape.ts';

const DAY_MS = 86_400_000;
const NOW_MS = Date.UTC(2026, 2, 2, 12);

const source = streamSource({
  name: 'visits',
  columns: { id: integer(), at: timestamp(), card: string(), page: string() },
  eventTime: 'at',
  eventId: 'id',
  dedupeHorizon: '1m',
});
const common = { name: 'visits', source, entity: entity('card'), asOfRetention: '1h' } as const;
const visits = (n: number, fromDaysAgo: number, toDaysAgo: number, random = new SeededRandom(1)) =>
  Array.from({ length: n }, (_, id) => {
    const ageMs = (fromDaysAgo - ((fromDaysAgo - toDaysAgo) * id) / n) * DAY_MS;
    return { id, at: Math.floor(NOW_MS - ageMs), card: 'c1', page: `/${random.below(1_000_000)}` };
  });

test.each([
  ['a lifetime', featureView({ ...common, features: { n: count().lifetime() } })],
  ['coarse windows', featureView({ ...common, features: { n: count().over('60d') }, resolution: '1d' })],
])(
  'with %s rows are kept that compaction would merge: a repeat in the log is told from its row',
  async (_, view) => {
    // Leaves of less than a day: what lies in them can be merged.
    const shape = { ...DEFAULT_TILE_SHAPE, leafBytesMax: 200 };
    const it = new SingleView(view, { startMs: NOW_MS, shape });
    // More than the ids of late events that a state remembers.
    const rows = visits(2_000, 40, 20);
    await it.fill(rows);
    expect(await it.values('c1', NOW_MS)).toEqual({ n: 2_000 });
    await it.apply(rows);
    expect(await it.values('c1', NOW_MS)).toEqual({ n: 2_000 });
  },
);

test('one that comes to its bound gives up rows until that is done, in as many turns as it takes: nothing is left to compaction', async () => {
  const view = featureView({
    ...common,
    features: { pages: distinctCount('page').over('60d') },
    maxStateBytes: 512 * 1024,
  });
  // Leaves so small that one turn may not read as many as have to go.
  const it = new SingleView(view, { startMs: NOW_MS, shape: { ...DEFAULT_TILE_SHAPE, leafBytesMax: 200 } });
  await it.fill(visits(10_000, 59, 0), 2_000);
  expect(await it.compact()).toBe(0);
});
