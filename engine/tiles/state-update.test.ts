/** Cases that the property tests found, told one by one. */
import { describe, expect, test } from 'vitest';
import { count, entity, featureView, integer, streamSource, string, sum, timestamp } from '../../index.ts';
import { compileRepo } from '../definitions/compile.ts';
import type { EventRow } from '../definitions/types.ts';
import { positionEventId, textEventId } from '../event-id.ts';
import type { FieldName } from '../store/tile-store.ts';
import { SingleView } from '../testing/single-view.ts';
import { IDS_FIELD, ROOT_FIELD } from './grid.ts';
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
