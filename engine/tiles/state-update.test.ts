/** Cases that the property tests found, told one by one. */
import { describe, expect, test, vi } from 'vitest';
import { count, entity, featureView, integer, streamSource, string, sum, timestamp } from '../../index.ts';
import { ByteReader } from '../bytes.ts';
import { compileRepo } from '../definitions/compile.ts';
import type { EventRow } from '../definitions/types.ts';
import { positionEventId, textEventId } from '../event-id.ts';
import type { FieldName } from '../store/tile-store.ts';
import { SingleView } from '../testing/single-view.ts';
import { IDS_FIELD, ROOT_FIELD } from './grid.ts';
import { RecentIds } from './recent-ids.ts';
import { type IngestCounts, PROTOCOL } from './state-protocol.ts';
import { type IncomingRow, planIngest } from './state-update.ts';
import { DEFAULT_TILE_SHAPE } from './tile-shape.ts';

const MINUTE_MS = 60_000;
const SHAPE = { leafBytesMax: 60, tailRowsMax: 1 };
/** On the grid's level of 2²⁰ ms, 17.5 minutes. */
const BUCKET_MS = 2 ** 20;
const BUCKET_START_MS = 1_600_000 * BUCKET_MS;

const columns = { id: integer(), at: timestamp(), card: string() };
const source = streamSource({ name: 'events', columns, eventTime: 'at', eventId: 'id', lateness: 0 });
const card = entity('card');

/** Events of a card, the ids counting up from `firstId`. */
const eventsAt = (firstId: number, ...times: number[]): EventRow[] =>
  times.map((timeMs, i) => ({ id: firstId + i, at: timeMs, card: 'c' }));

describe('a repeat of a late event is told', () => {
  const features = { n: count().over('1d'), ids: sum('id').over('1d') };
  const nowMs = BUCKET_START_MS + 2 * BUCKET_MS;
  const lateMs = nowMs - 45 * MINUTE_MS;

  test.each([
    [
      'coarsened',
      featureView({ name: 'v', source, entity: card, features, resolution: BUCKET_MS, asOfRetention: 0 }),
    ],
    [
      'merged into the prefix',
      featureView({
        name: 'v',
        source,
        entity: card,
        features: { n: count().lifetime(), ids: sum('id').lifetime() },
        asOfRetention: 0,
      }),
    ],
  ])('where old rows are %s: not before a repeat is no longer due', async (_, view) => {
    const state = new SingleView(view, { startMs: nowMs, shape: SHAPE, foldAfterMs: 1 });
    await state.apply(eventsAt(1, lateMs, lateMs + 1, lateMs + 2, lateMs + 3, nowMs));
    // Newer events push the late ids out of the horizon; the rows are old enough to be merged.
    state.clock.advanceTo(nowMs + 25 * MINUTE_MS);
    await state.apply(eventsAt(6, state.clock.nowMs(), state.clock.nowMs() + 1));
    state.clock.advanceTo(state.clock.nowMs() + 2);
    await state.compact();
    await state.apply(eventsAt(1, lateMs, lateMs + 1, lateMs + 2));
    expect(await state.values('c', state.clock.nowMs())).toEqual({ n: 7, ids: 28 });
  });
});

describe('the ids of a dense key are few', () => {
  const features = { n: count().over('1d'), ids: sum('id').over('1d') };
  const plain = featureView({ name: 'v', source, entity: card, features });
  const nowMs = BUCKET_START_MS;
  const IDS_MAX = 4;

  const idsOf = (state: SingleView): RecentIds => {
    const fields = state.tracker.fieldsOf({ namespace: state.view.namespace, key: 'c', shard: 0 });
    return RecentIds.decode(new ByteReader(fields.get(IDS_FIELD)!));
  };
  /** Times of 20 events, the newest last. */
  const TIMES = Array.from({ length: 20 }, (_, i) => nowMs - 20 + i);
  const ALL = { n: 20, ids: 210 };
  const IN_TAIL = { leafBytesMax: 4096, tailRowsMax: 1_000, recentIdsMax: IDS_MAX };
  const IN_LEAF = { leafBytesMax: 4096, tailRowsMax: 1, recentIdsMax: IDS_MAX };
  const IN_TREE = { ...SHAPE, recentIdsMax: IDS_MAX };

  describe.each([
    ['in the tail', IN_TAIL],
    ['in a leaf', IN_LEAF],
    ['in a deep tree', IN_TREE],
  ])('a repeat is told by its row %s', (_, shape) => {
    test.each([
      ['in one batch', 20, TIMES],
      ['in batches', 3, TIMES],
      ['one by one', 1, TIMES],
      ['all in one millisecond', 20, TIMES.map(() => nowMs - 1)],
      ['all in one millisecond, in batches', 3, TIMES.map(() => nowMs - 1)],
      ['newest first', 20, TIMES.toReversed()],
    ])('%s', async (_name, batch, times) => {
      const state = new SingleView(plain, { startMs: nowMs, shape });
      const events = eventsAt(1, ...times);
      for (let i = 0; i < 20; i += batch) await state.apply(events.slice(i, i + batch));
      expect(idsOf(state).length).toBeLessThanOrEqual(IDS_MAX);
      for (const event of events) {
        // Asked about, it is told to be recorded.
        expect(await state.values('c', nowMs, event)).toEqual(ALL);
      }
      for (const event of events.slice(5, 10)) await state.apply([event]);
      await state.apply([...events, ...events.toReversed()]);
      expect(await state.values('c', nowMs)).toEqual(ALL);
      expect(idsOf(state).length).toBeLessThanOrEqual(IDS_MAX);
    });
  });

  test.each([
    ['in the tail', IN_TAIL],
    ['in a deep tree', IN_TREE],
  ])('a repeat in the batch of its first, both older than the ids: rows %s', async (_, shape) => {
    const state = new SingleView(plain, { startMs: nowMs, shape });
    await state.apply(eventsAt(1, ...TIMES));
    const late = eventsAt(21, nowMs - 15, nowMs - 14);
    await state.apply([...late, ...late, ...eventsAt(23, nowMs - 1), ...late]);
    expect(await state.values('c', nowMs)).toEqual({ n: 23, ids: (23 * 24) / 2 });
    await state.apply([...late, ...eventsAt(23, nowMs - 1)]);
    expect(await state.values('c', nowMs)).toEqual({ n: 23, ids: (23 * 24) / 2 });
  });

  test('a repeat deep in the tree is told with three reads: ids, root, and the whole path', async () => {
    const state = new SingleView(plain, { startMs: nowMs, shape: IN_TREE });
    await state.apply(eventsAt(1, ...TIMES));
    await state.apply(eventsAt(21, nowMs));
    const reads = vi.spyOn(state.tracker, 'read');
    await state.apply(eventsAt(3, TIMES[2]!));
    expect(reads).toHaveBeenCalledTimes(3);
  });

  test('more events than ids in one millisecond, and then time goes on', async () => {
    const state = new SingleView(plain, { startMs: nowMs, shape: { ...IN_LEAF, recentIdsMax: 1_000 } });
    const events = eventsAt(1, ...Array.from({ length: 5_000 }, () => nowMs - 1));
    for (let i = 0; i < events.length; i += 900) await state.apply(events.slice(i, i + 900));
    expect(idsOf(state).length).toBeLessThanOrEqual(1_000);
    expect(idsOf(state).newestMs).toBe(nowMs - 1);
    await state.apply([...eventsAt(5_001, nowMs, nowMs), ...events.slice(4_500), ...eventsAt(5_001, nowMs)]);
    expect(idsOf(state).length).toBe(2);
    await state.apply([...events.slice(0, 200), ...eventsAt(5_001, nowMs, nowMs)]);
    expect(await state.values('c', nowMs)).toEqual({ n: 5_002, ids: (5_002 * 5_003) / 2 });
  });

  describe.each([
    ['coarsened', { features, resolution: BUCKET_MS }],
    ['merged into the prefix', { features: { n: count().lifetime(), ids: sum('id').lifetime() } }],
  ])('where old rows are %s', (_, options) => {
    const view = featureView({ name: 'v', source, entity: card, asOfRetention: 0, ...options } as never);

    test('a repeat is told for as long as one is due', async () => {
      const startMs = BUCKET_START_MS + 4 * BUCKET_MS;
      const state = new SingleView(view, { startMs, shape: IN_TREE, foldAfterMs: 1 });
      const times = Array.from({ length: 20 }, (_, i) => startMs - 20 + i);
      await state.apply(eventsAt(1, ...times));
      // Delivered again as late as one is promised to be told, by a partition a horizon behind.
      state.clock.advanceTo(startMs + 90 * MINUTE_MS - 30);
      await state.compact();
      await state.apply(eventsAt(1, ...times));
      expect(await state.values('c', state.clock.nowMs())).toEqual(ALL);
    });

    test('ids of late events are kept apart, not those of events that are older than a few others', async () => {
      const state = new SingleView(view, { startMs: nowMs, shape: IN_LEAF, foldAfterMs: 1 });
      const late = eventsAt(1, nowMs - 50 * MINUTE_MS);
      await state.apply(late);
      await state.apply(eventsAt(2, ...TIMES));
      const older = Array.from({ length: 1_500 }, (_, i) => nowMs - 10 * MINUTE_MS + i);
      for (let i = 0; i < 1_500; i += 500) await state.apply(eventsAt(22 + i, ...older.slice(i, i + 500)));
      state.clock.advanceTo(nowMs + 29 * MINUTE_MS);
      await state.apply(eventsAt(1_522, state.clock.nowMs()));
      // By now the late event's row is older than two horizons after a jump of the clock, and only its id tells.
      state.clock.advanceTo(nowMs + 80 * MINUTE_MS);
      await state.compact();
      await state.apply(late);
      const { n } = await state.values('c', state.clock.nowMs());
      expect(n).toBe(1_522);
    });
  });

  test('but not where rows do not tell: of stamps the whole horizon is kept', async () => {
    const stamped = streamSource({ name: 'stamped', columns, eventTime: 'at' });
    const definition = featureView({
      name: 'v',
      source: stamped,
      entity: card,
      features: { n: count().over('1d') },
    });
    const view = compileRepo([definition]).views.get('v')!;
    const incoming = TIMES.map(
      (timeMs, offset): IncomingRow => ({
        partition: 0,
        offset,
        appendedMs: nowMs,
        timeMs,
        id: positionEventId(0, offset),
        dedupeId: textEventId(`stamp ${offset}`),
        values: [],
      }),
    );
    const plan = planIngest({
      view,
      shape: IN_TAIL,
      rules: PROTOCOL,
      pacing: { foldAfterMs: 600_000 },
      state: { token: null, head: null, fields: new Map([[IDS_FIELD, null]]), watermarks: null },
      incoming,
      nowMs,
    });
    if (plan.kind !== 'write') throw new Error(`a first batch is written, not ${plan.kind}`);
    const ids = RecentIds.decode(new ByteReader(plan.changes.get(IDS_FIELD)!));
    expect(ids.length).toBe(20);
    expect(ids.fromMs).toBe(nowMs - 1 - 60 * MINUTE_MS);
  });
});

describe('a late event known by its stamp only', () => {
  const stamped = streamSource({ name: 'stamped', columns, eventTime: 'at' });
  const features = { n: count().over('1d') };
  const definition = featureView({ name: 'v', source: stamped, entity: card, features });
  const view = compileRepo([definition]).views.get('v')!;
  const nowMs = BUCKET_START_MS;
  const lateMs = nowMs - 120 * MINUTE_MS;

  const row = (offset: number, timeMs: number, stamp: string, appendedMs = nowMs): IncomingRow => ({
    partition: 0,
    offset,
    appendedMs,
    timeMs,
    id: positionEventId(0, offset),
    dedupeId: textEventId(stamp),
    values: [],
  });

  /** Plans one write after another on a state that is never folded. */
  function counts(...batches: readonly (readonly IncomingRow[])[]): IngestCounts[] {
    const fields = new Map<FieldName, Uint8Array | null>([
      [IDS_FIELD, null],
      [ROOT_FIELD, null],
    ]);
    let head: Uint8Array | null = null;
    return batches.map((incoming) => {
      const token = head === null ? null : '0'.repeat(16);
      const plan = planIngest({
        view,
        shape: { ...DEFAULT_TILE_SHAPE, tailRowsMax: 1000 },
        rules: PROTOCOL,
        pacing: { foldAfterMs: 600_000 },
        state: { token, head, fields, watermarks: null },
        incoming,
        nowMs,
      });
      if (plan.kind === 'read') throw new Error('there is nothing more to read');
      if (plan.kind === 'write') {
        head = plan.head;
        for (const [field, bytes] of plan.changes) fields.set(field, bytes);
      }
      return plan.counts;
    });
  }

  test('is told when it is delivered again at another offset', () => {
    const [, again] = counts([row(0, nowMs, 'a'), row(1, lateMs, 'late')], [row(2, lateMs, 'late')]);
    expect(again).toMatchObject({ applied: 0, duplicate: 1 });
  });

  test('is told when a chunk of many hours comes again, its repeat within', () => {
    const chunk = [
      row(0, nowMs, 'a', 0),
      row(1, lateMs, 'late', 0),
      row(2, lateMs, 'late', MINUTE_MS),
      row(3, nowMs, 'b', 300 * MINUTE_MS),
    ];
    const [first, again] = counts(chunk, chunk);
    expect(first).toMatchObject({ applied: 3, duplicate: 1, redelivered: 0 });
    expect(again).toMatchObject({ applied: 0, duplicate: 1, redelivered: 3 });
  });
});

describe('a coarse window counts exactly what lies in the bounds it reports', () => {
  const view = featureView({
    name: 'v',
    source: streamSource({
      name: 'events',
      columns,
      eventTime: 'at',
      eventId: 'id',
      lateness: '1d',
      dedupeHorizon: '1m',
    }),
    entity: card,
    features: { n: count().over(4 * BUCKET_MS), n_8: count().over(8 * BUCKET_MS) },
    resolution: BUCKET_MS,
    asOfRetention: 0,
  });
  const inBucket = [10, 20, 30, 40, 50, 60].map((delta) => BUCKET_START_MS + delta * 1000);

  /** The bucket's events collapsed into one tile. */
  async function collapsed(): Promise<SingleView> {
    const state = new SingleView(view, {
      startMs: BUCKET_START_MS + BUCKET_MS,
      shape: SHAPE,
      foldAfterMs: 0,
    });
    await state.apply(eventsAt(1, ...inBucket));
    // A second batch folds the first, whatever its lateness.
    await state.apply(eventsAt(7, BUCKET_START_MS + BUCKET_MS));
    state.clock.advanceTo(BUCKET_START_MS + 4 * BUCKET_MS);
    await state.compact();
    return state;
  }

  async function compare(state: SingleView, atMs: number, times: readonly number[]): Promise<string[]> {
    const { values } = await state.read('c', atMs);
    return values.map(({ value, status, fromMs, toMs }) => {
      expect(value).toBe(times.filter((timeMs) => fromMs! < timeMs && timeMs <= toMs).length);
      return status;
    });
  }

  test('also late rows that are still in the tail', async () => {
    const state = await collapsed();
    const late = BUCKET_START_MS + 15_000;
    await state.apply(eventsAt(8, late));
    const times = [...inBucket, late, BUCKET_START_MS + BUCKET_MS];
    // The old edge of the small window lies within the tile, after the late row.
    const statuses = await compare(state, BUCKET_START_MS + 4 * BUCKET_MS + 35_000, times);
    expect(statuses).toEqual(['coarse', 'present']);
  });

  test('also at the end of retention, where a late row is older than the edge but not than the tile', async () => {
    const state = await collapsed();
    state.clock.advanceTo(BUCKET_START_MS + 8 * BUCKET_MS + 35_000);
    const late = BUCKET_START_MS + 15_000;
    await state.apply(eventsAt(8, late));
    const times = [...inBucket, late, BUCKET_START_MS + BUCKET_MS];
    const statuses = await compare(state, state.clock.nowMs(), times);
    expect(statuses).toEqual(['empty', 'coarse']);
  });
});
