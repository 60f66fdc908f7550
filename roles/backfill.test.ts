/** Backfills step by step, over a store that falls back. Values are compared where whole engines are (`distributed/`, `test/`). */
import { beforeEach, expect, test } from 'vitest';
import { NOON_MS, payment, payments, testRepo } from '../embedded/testing/test-repo.ts';
import { ManualClock } from '../engine/clock.ts';
import type { CompiledView } from '../engine/definitions/compiled.ts';
import type { EventRow } from '../engine/definitions/types.ts';
import { textEventId } from '../engine/event-id.ts';
import type { LogGap } from '../engine/store/log-gap.ts';
import { MemoryTileStore } from '../engine/store/memory-tile-store.ts';
import { randomTokens } from '../engine/store/random-tokens.ts';
import { UnappliedOffsets } from '../engine/store/unapplied-offsets.ts';
import { StateBuilder } from '../engine/tiles/state-builder.ts';
import { PROTOCOL } from '../engine/tiles/state-protocol.ts';
import { DEFAULT_PACING, retentionMs } from '../engine/tiles/state-update.ts';
import { DEFAULT_TILE_SHAPE } from '../engine/tiles/tile-shape.ts';
import { MemoryEventLog } from '../ingest/log/memory-event-log.ts';
import { PartitionConsumer } from '../ingest/partition-consumer.ts';
import { LogReplacedError } from '../ingest/partition-stopped.ts';
import { shardOf } from '../ingest/view-writer.ts';
import { Backfill, type BackfilledState, BackfillLostError, type HistoryPosition } from './backfill.ts';
import { LogTooShortError } from './log-reach.ts';
import { ViewBindings } from './view-bindings.ts';
import { abortRebuild, OtherRebuildError, ViewRebuild } from './view-rebuild.ts';

const SHARDS = 2;
const newToken = randomTokens();
const source = testRepo.sources.get(payments.name)!;
const view = testRepo.views.get('spend')!;

let clock: ManualClock;
let log: MemoryEventLog;
let store: MemoryTileStore;
let bindings: ViewBindings;

beforeEach(async () => {
  clock = new ManualClock(NOON_MS);
  log = new MemoryEventLog({ source: 'payments', partitions: 2, random: newToken, segmentRecords: 1 });
  store = new MemoryTileStore({ random: newToken });
  bindings = new ViewBindings({ views: source.views, store, clock, newToken: () => newToken() });
  for (let i = 0; i < 12; i++) {
    const value = Buffer.from(JSON.stringify(payment({ id: `e${i}` })));
    await log.append([{ partition: i % 2, appendedMs: NOON_MS, stamp: null, value, eventTimeMs: NOON_MS }]);
  }
});

const writing = () => ({
  ...{ store, clock, shards: SHARDS, newToken },
  ...{ shape: DEFAULT_TILE_SHAPE, pacing: DEFAULT_PACING, rules: PROTOCOL },
});
const rebuilding = (acceptGap = false) => ({
  ...{ source, view, bindings, writing: writing(), log, acceptGap },
  ...{ nowMs: () => clock.nowMs(), graceMs: 1_000 },
});
/** Retention takes everything below from a partition. */
const truncate = async (partition: number, beforeOffset: number): Promise<void> => {
  const all = Number.POSITIVE_INFINITY;
  const limits = { keepEventTimeMs: all, keepAppendedMs: all, maxBytes: all };
  await log.truncate({ partition, beforeOffset, ...limits });
};
const upTo = (nextOffset: number, more: Partial<HistoryPosition> = {}): HistoryPosition => ({
  ...{ nextOffset, logIdentity: null, gaps: [] },
  ...more,
});
const begin = (positions: readonly HistoryPosition[] | null, acceptGap = false): Promise<Backfill> =>
  Backfill.begin({ ...rebuilding(acceptGap), positions });
const stateOf = (key: string): BackfilledState => {
  const builder = new StateBuilder(view);
  const event = payment({ id: 'old', card: key, points: null, refused: null }) as EventRow;
  const id = textEventId('old');
  builder.add(
    [{ appendedMs: NOON_MS, timeMs: NOON_MS, id, dedupeId: id, values: view.project(event)! }],
    NOON_MS,
  );
  return { key, ...builder.finish(NOON_MS)! };
};
const KEYS = ['c1', 'c2', 'c3', 'c4', 'c5', 'c6'];
const marksOf = (bound: CompiledView, shard: number) => {
  const names = [0, 1].map((partition) => ({ namespace: bound.namespace, source: 'payments', partition }));
  return store.readWatermarks(shard, names);
};
const watermarksOf = async (bound: CompiledView, shard: number): Promise<(number | null)[]> => {
  return (await marksOf(bound, shard)).map((mark) => mark?.nextOffset ?? null);
};
const applyAll = async (bound: CompiledView): Promise<void> => {
  for (const partition of [0, 1]) {
    const consumer = new PartitionConsumer({
      ...{ source, views: [bound], partition, log, writing: writing() },
      deadLetters: { write: async () => {} },
      observer: { chunkApplied: () => {}, caughtUp: () => {}, positioned: () => {}, gap: () => {} },
    });
    while ((await consumer.step()) > 0);
  }
};

test('states are written once, then the log is applied from the cut on, and the view is read from the new namespace', async () => {
  await applyAll(view);
  await truncate(0, 3);
  const backfill = await begin([upTo(4), upTo(0)]);
  expect(backfill.cut).toEqual([4, 0]);
  const { rebuild } = backfill;
  expect((await rebuild.look()).state).toBe('backfilling');
  await backfill.start();
  expect(await backfill.write(KEYS.slice(0, 4).map(stateOf))).toBe(4);
  // Who goes on must have what was begun with.
  await expect(begin([upTo(3), upTo(2)])).rejects.toThrow(
    'has partition 0 up to offset 4, and this one has it up to 3',
  );
  await expect(begin(null)).rejects.toThrow('view spend is being filled from another history');
  // One that goes on writes what is there again.
  const next = await begin([upTo(6), upTo(2)]);
  expect([next.rebuild.resumed, next.cut]).toEqual([true, [4, 0]]);
  await next.start();
  expect(await next.write(KEYS.map(stateOf))).toBe(2);
  expect((await rebuild.look()).state).toBe('backfilling');
  for (const shard of [0, 1]) expect(await watermarksOf(rebuild.building, shard)).toEqual([null, null]);
  await next.complete([NOON_MS, -1], []);
  for (const shard of [0, 1]) expect(await watermarksOf(rebuild.building, shard)).toEqual([4, 0]);
  const ofShard = [0, 1].map((partition) => {
    return { namespace: rebuild.building.namespace, source: 'payments', partition };
  });
  const marks = await store.readWatermarks(1, ofShard);
  expect(marks.map((mark) => [mark!.maxEventTimeMs, mark!.clockMs])).toEqual([
    [NOON_MS, NOON_MS],
    [-1, NOON_MS],
  ]);
  expect(marks.map((mark) => mark!.unapplied!.isApplied(0))).toEqual([null, true]);
  // Whoever was slower does no harm.
  await backfill.complete([NOON_MS, -1], []);
  for (const shard of [0, 1]) expect(await watermarksOf(rebuild.building, shard)).toEqual([4, 0]);
  expect((await rebuild.look()).state).toBe('joined');
  await applyAll(rebuild.building);
  for (const shard of [0, 1]) expect(await watermarksOf(rebuild.building, shard)).toEqual([6, 6]);
  await rebuild.look();
  expect((await rebuild.look()).state).toBe('switched');
  expect((await bindings.read([view]))[0]!.active).toBe(rebuild.building.namespace);
});

test('without offsets the history is cut where the log begins, and another one is refused', async () => {
  await truncate(1, 5);
  expect((await begin(null)).cut).toEqual([0, 5]);
  const other = Backfill.begin({ ...rebuilding(), positions: null, history: 'other files' });
  await expect(other).rejects.toThrow(OtherRebuildError);
  await expect(begin([upTo(5), upTo(5)])).rejects.toThrow(OtherRebuildError);
});

test('what neither the history nor the log has is refused, unless it is accepted', async () => {
  await truncate(0, 3);
  const short = [upTo(2), upTo(2)];
  await expect(begin(short)).rejects.toThrow(LogTooShortError);
  await expect(begin(short)).rejects.toThrow(
    'records 2 to 2 of source payments, partition 0, are not in the',
  );
  // A partition that the history has nothing of.
  await truncate(1, 1);
  await expect(begin([upTo(3)])).rejects.toThrow('records 0 to 0 of source payments, partition 1,');
  expect((await bindings.read([view]))[0]!.building).toBeNull();
  expect((await begin(short, true)).cut).toEqual([2, 2]);
});

test('what the log had lost before the archive had it is refused, or kept with the watermarks', async () => {
  const gap = { fromOffset: 1, toOffset: 3, afterMs: null, untilMs: NOON_MS };
  const lacking = [upTo(4, { gaps: [gap] }), upTo(0)];
  await expect(begin(lacking)).rejects.toThrow(
    'records 1 to 2 of source payments, partition 0, were lost before',
  );
  const backfill = await begin(lacking, true);
  await backfill.start();
  await backfill.complete([], []);
  const { namespace } = backfill.rebuild.building;
  const [mark] = await store.readWatermarks(1, [{ namespace, source: 'payments', partition: 0 }]);
  expect(mark!.gaps).toEqual([gap]);
});

test('a gap that no window reaches any more is no reason to refuse, and no watermark has it; of the others none has what lies behind the cut', async () => {
  const hourly = testRepo.views.get('refusals')!;
  const untilMs = NOON_MS - hourly.source.maxFutureMs - retentionMs(hourly);
  const at = (fromOffset: number, toOffset: number, ms: number) => {
    return { fromOffset, toOffset, afterMs: null, untilMs: ms };
  };
  const passed = at(0, 1, untilMs - 1);
  const reached = [at(1, 2, untilMs), at(3, 5, untilMs), at(5, 6, untilMs)];
  const of = (gaps: readonly LogGap[], nextOffset: number, acceptGap = false): Promise<Backfill> => {
    const positions = [upTo(nextOffset, { gaps }), upTo(2)];
    return Backfill.begin({ ...rebuilding(acceptGap), view: hourly, positions });
  };
  await expect(of(reached, 4)).rejects.toThrow('records 1 to 1 of source payments, partition 0, were lost');
  await expect(of([passed, ...reached.slice(1)], 4)).rejects.toThrow('records 3 to 4 of source');
  expect((await of([passed], 4)).rebuild.resumed).toBe(false);
  // Whoever goes on has more of the archive, which lacks more.
  const backfill = await of([passed, ...reached], 6, true);
  expect([backfill.rebuild.resumed, backfill.cut]).toEqual([true, [4, 2]]);
  await backfill.start();
  await backfill.complete([], []);
  for (const shard of [0, 1]) {
    const marks = await marksOf(backfill.rebuild.building, shard);
    expect(marks.map((mark) => mark!.gaps ?? [])).toEqual([[reached[0], at(3, 4, untilMs)], []]);
  }
});

test('of a partition that the history has nothing of, all is in the log', async () => {
  const backfill = await begin([upTo(4, { logIdentity: await log.identity(0) })]);
  expect(backfill.cut).toEqual([4, 0]);
  await backfill.start();
  await backfill.complete([NOON_MS], [UnappliedOffsets.of(0, [])]);
  const { building } = backfill.rebuild;
  for (const shard of [0, 1]) {
    const marks = await marksOf(building, shard);
    // Nothing of the log was applied: nobody knows when the record before was appended.
    const common = { appendedMs: -1, clockMs: NOON_MS };
    expect(marks).toMatchObject([
      { nextOffset: 4, maxEventTimeMs: NOON_MS, logIdentity: await log.identity(0), ...common },
      { nextOffset: 0, maxEventTimeMs: -1, logIdentity: await log.identity(1), ...common },
    ]);
    expect(marks.map((mark) => mark!.unapplied!.isApplied(0))).toEqual([true, true]);
  }
  await applyAll(building);
  for (const shard of [0, 1]) expect(await watermarksOf(building, shard)).toEqual([6, 6]);
});

test('a log that grows meanwhile is applied from its beginning in the partitions that are new', async () => {
  const backfill = await begin([upTo(4), upTo(2)]);
  log.addPartition();
  await backfill.start();
  // Whoever goes on finds the new one in the archive: it lies behind the cut.
  const next = await begin([upTo(6), upTo(2), upTo(0)]);
  expect([next.rebuild.resumed, next.cut]).toEqual([true, [4, 2]]);
  expect((await backfill.rebuild.look()).state).toBe('backfilling');
  await backfill.complete([NOON_MS, NOON_MS], []);
  // The history is in; of the new one nobody has applied anything yet.
  expect(await backfill.rebuild.look()).toMatchObject({ state: 'filling', nextOffsets: [4, 2, -1] });
});

test('a history that has records of a partition more than the log is of another one', async () => {
  await expect(begin([upTo(4), upTo(4), upTo(1)])).rejects.toThrow(LogReplacedError);
  await expect(begin([upTo(4), upTo(4), upTo(1)])).rejects.toThrow('source payments, partition 2');
  // Also where what it lacks is accepted.
  await expect(begin([upTo(4), upTo(4), upTo(0), upTo(1)], true)).rejects.toThrow('partition 3');
  expect((await bindings.read([view]))[0]!.building).toBeNull();
  expect((await begin([upTo(4), upTo(4), upTo(0)])).cut).toEqual([4, 4]);
});

test('a history of another log is refused', async () => {
  await expect(begin([upTo(2, { logIdentity: 'other' }), upTo(0)])).rejects.toThrow(LogReplacedError);
  // It has more than there is.
  await expect(begin([upTo(7), upTo(0)])).rejects.toThrow(LogReplacedError);
  // As far as this partition goes, not another one.
  const value = Buffer.from(JSON.stringify(payment()));
  await log.append([{ partition: 0, appendedMs: NOON_MS, stamp: null, value, eventTimeMs: NOON_MS }]);
  await expect(begin([upTo(0), upTo(7)])).rejects.toThrow('source payments, partition 1');
  const [first, second] = await Promise.all([0, 1].map((partition) => log.identity(partition)));
  const of = (...identities: (string | undefined)[]) =>
    identities.map((logIdentity) => upTo(6, { logIdentity: logIdentity! }));
  await expect(begin(of(first, first))).rejects.toThrow('source payments, partition 1');
  expect((await begin(of(first, second))).cut).toEqual([6, 6]);
});

test('a rebuild from the log that is under way is not made a backfill', async () => {
  await ViewRebuild.begin({ ...rebuilding(), check: async () => {} });
  await expect(begin(null)).rejects.toThrow(OtherRebuildError);
});

test('a watermark that is lost later makes nobody count the history again', async () => {
  const backfill = await begin([upTo(6), upTo(0)]);
  await backfill.start();
  const builder = new StateBuilder(view);
  const event = payment({ id: 'e0', points: null, refused: null }) as EventRow;
  const id = textEventId('e0');
  // Told by nothing but its offset.
  builder.add(
    [{ appendedMs: NOON_MS, timeMs: NOON_MS, id, dedupeId: null, values: view.project(event)! }],
    NOON_MS,
  );
  await backfill.write([{ key: 'c1', ...builder.finish(NOON_MS, new Map([[0, 6]]))! }]);
  await backfill.complete([NOON_MS], []);
  const bound = backfill.rebuild.building;
  const shard = shardOf('c1', SHARDS);
  await store.dropWatermarks(shard, bound.namespace);
  const applied: number[] = [];
  const consumer = new PartitionConsumer({
    ...{ source, views: [bound], partition: 0, log, writing: writing() },
    deadLetters: { write: async () => {} },
    observer: {
      chunkApplied: () => {},
      caughtUp: () => {},
      positioned: () => {},
      gap: () => {},
      rowsWritten: (counts) => void applied.push(counts.get(bound)!.applied),
    },
  });
  while ((await consumer.step()) > 0);
  expect(applied).toEqual([0]);
});

test('a store that falls back meanwhile gets no watermarks of what it has lost; begun again, all is written again', async () => {
  const backfill = await begin([upTo(2), upTo(2)]);
  await backfill.start();
  const states = KEYS.map(stateOf);
  const ofShard = (shard: number) => states.filter(({ key }) => shardOf(key, SHARDS) === shard).length;
  expect([ofShard(0), ofShard(1)].every((count) => count > 0)).toBe(true);
  await backfill.write(states);
  for (const shard of [0, 1]) store.rollback(1, { shard });
  await expect(backfill.complete([NOON_MS, -1], [])).rejects.toThrow(BackfillLostError);
  expect((await backfill.rebuild.look()).state).toBe('backfilling');
  await backfill.start();
  expect(await backfill.write(states)).toBe(2);
  await backfill.complete([NOON_MS, -1], []);
  // One watermark of four.
  store.rollback(1, { shard: 1 });
  expect((await backfill.rebuild.look()).state).toBe('backfilling');
  await expect(backfill.complete([NOON_MS, -1], [])).rejects.toThrow(BackfillLostError);
  await backfill.start();
  expect(await backfill.write(states)).toBe(0);
  await backfill.complete([NOON_MS, -1], []);
  expect((await backfill.rebuild.look()).state).not.toBe('backfilling');
});

test('one that was given up writes nothing more', async () => {
  const backfill = await begin([upTo(2), upTo(2)]);
  await backfill.start();
  await abortRebuild({ view, bindings, nowMs: () => clock.nowMs() });
  await expect(backfill.write(KEYS.map(stateOf))).rejects.toThrow(BackfillLostError);
  await expect(backfill.complete([NOON_MS, -1], [])).rejects.toThrow(BackfillLostError);
  expect((await backfill.rebuild.look()).state).toBe('given_up');
});

test('one shard that falls back is enough, and nothing is completed that was not started', async () => {
  const backfill = await begin([upTo(2), upTo(2)]);
  await expect(backfill.complete([], [])).rejects.toThrow('it was not started');
  await backfill.start();
  await backfill.write(KEYS.map(stateOf));
  store.rollback(1, { shard: 1 });
  await expect(backfill.complete([], [])).rejects.toThrow(BackfillLostError);
  // The other shard lost nothing: what was written there counts.
  expect(await watermarksOf(backfill.rebuild.building, 0)).toEqual([2, 2]);
  expect(await watermarksOf(backfill.rebuild.building, 1)).toEqual([null, null]);
  expect((await backfill.rebuild.look()).state).toBe('backfilling');
  await backfill.start();
  expect(await backfill.write(KEYS.map(stateOf))).toBe(1);
  await backfill.complete([], []);
  expect((await backfill.rebuild.look()).state).toBe('joined');
});
