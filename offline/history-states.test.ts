/** Of a source without event ids: what tells a repeat is the stamp of its record, and a copy of a dead letter its original. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test, vi } from 'vitest';
import { browsing, NOON_MS, testRepo } from '../embedded/testing/test-repo.ts';
import { ByteReader } from '../engine/bytes.ts';
import { positionEventId, textEventId } from '../engine/event-id.ts';
import { randomTokens } from '../engine/store/random-tokens.ts';
import { SingleView } from '../engine/testing/single-view.ts';
import { decodeHead, tailStorages } from '../engine/tiles/head.ts';
import { StateBuilder } from '../engine/tiles/state-builder.ts';
import { PROTOCOL } from '../engine/tiles/state-protocol.ts';
import { DEFAULT_PACING } from '../engine/tiles/state-update.ts';
import { DEFAULT_TILE_SHAPE } from '../engine/tiles/tile-shape.ts';
import { count, entity, featureView, integer, streamSource, string, sum, timestamp } from '../index.ts';
import { ViewWriter } from '../ingest/view-writer.ts';
import { DuckDb, text } from './duckdb.ts';
import { EventHistory } from './event-history.ts';
import { fillFromHistory } from './fill-from-history.ts';
import { BACKFILL_LIMITS, type HistoryStates, historyStates, surveyStates } from './history-states.ts';
import { tableFiles } from './table-files.ts';

test('a repeated stamp counts once, a copy in the place of its original, and a copy of what is there not at all', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'millrace-states-'));
  onTestFinished(() => rm(dir, { recursive: true, force: true }));
  const db = await DuckDb.open({ memoryBytes: 2 ** 28, threads: 1, spillDir: dir });
  onTestFinished(() => db.close());
  const file = join(dir, 'clicks.parquet');
  const rows: [card: string, page: string, offset: number, stamp: string | null, origin: number | null][] = [
    ['a', 'first', 0, 's1', null],
    ['a', 'first', 1, 's1', null],
    ['a', 'second', 2, 's2', null],
    // Offset 3 was a dead letter.
    ['a', 'fourth', 4, 's4', null],
    ['a', 'third', 5, null, 3],
    // The original is there: whoever replayed it was wrong.
    ['b', 'one', 6, null, null],
    ['b', 'one', 7, null, 6],
    // Nothing tells them apart from others.
    ['b', 'two', 8, null, null],
    ['b', 'two', 9, null, null],
  ];
  const values = rows.map(
    ([card, page, offset, stamp, origin]) =>
      `(make_timestamp(${NOON_MS}::BIGINT * 1000), '${card}', '${page}', 0, ${offset}, make_timestamp(${NOON_MS}::BIGINT * 1000), ${stamp === null ? 'NULL' : `'${stamp}'`}, ${origin})`,
  );
  await db.run(
    `COPY (SELECT * FROM (VALUES ${values.join(', ')}) t("at", card, page, _partition, _offset, _appended_at, _stamp, _origin_offset)) TO ${text(file)}`,
  );
  const view = testRepo.views.get('browsing')!;
  const history = await EventHistory.open(db, view.source, await tableFiles(file), dir);
  const online = new SingleView(browsing, { startMs: NOON_MS });
  const args = { db, view, history, cut: [10], nowMs: NOON_MS };
  const { use, ...survey } = await surveyStates(args);
  expect(survey).toEqual({ events: rows.length, newestMs: [NOON_MS], broken: new Map(), ahead: 0 });
  for await (const { states } of historyStates(args, use)) {
    for (const state of states) await online.write(state);
  }
  // All of one millisecond: the place in the log decides which is the last.
  expect(await online.values('a', NOON_MS)).toEqual({ clicks_1h: 4, page_last_1h: 'fourth' });
  expect(await online.values('b', NOON_MS)).toEqual({ clicks_1h: 3, page_last_1h: 'two' });
});

test('rows beyond maxFuture do not count, and rows that are no records of the log are refused beside such', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'millrace-states-'));
  onTestFinished(() => rm(dir, { recursive: true, force: true }));
  const db = await DuckDb.open({ memoryBytes: 2 ** 28, threads: 1, spillDir: dir });
  onTestFinished(() => db.close());
  const view = testRepo.views.get('browsing')!;
  const file = join(dir, 'clicks.parquet');
  const at = (ms: number): string => `make_timestamp(${ms}::BIGINT * 1000)`;
  const aheadMs = NOON_MS + view.source.maxFutureMs;
  const rows = [aheadMs, aheadMs + 1].map((ms) => `(${at(ms)}, 'a', '/')`).join(', ');
  await db.run(`COPY (SELECT * FROM (VALUES ${rows}) t("at", card, page)) TO ${text(file)}`);
  const history = await EventHistory.open(db, view.source, await tableFiles(file), dir);
  const args = { db, view, history, nowMs: NOON_MS };
  expect(await surveyStates({ ...args, cut: null })).toMatchObject({ events: 1, ahead: 1, newestMs: [] });
  await expect(surveyStates({ ...args, cut: [1] })).rejects.toThrow(
    'no row says which record of the log it is',
  );

  await db.run(
    `COPY (SELECT *, CASE WHEN "at" = ${at(aheadMs)} THEN 0 END AS _partition, 0 AS _offset FROM (VALUES ${rows}) t("at", card, page))
     TO ${text(file)}`,
  );
  await expect(EventHistory.open(db, view.source, await tableFiles(file), dir)).rejects.toThrow(
    '1 rows do not say which records of the log they are',
  );
});

test('how long a state remembers the stamp of a late event follows from its append: a repeat after the cut is told', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'millrace-states-'));
  onTestFinished(() => rm(dir, { recursive: true, force: true }));
  const db = await DuckDb.open({ memoryBytes: 2 ** 28, threads: 1, spillDir: dir });
  onTestFinished(() => db.close());
  const taps = streamSource({
    name: 'taps',
    columns: { at: timestamp(), card: string() },
    eventTime: 'at',
    dedupeHorizon: '1h',
  });
  const definition = featureView({
    ...{ name: 'taps', source: taps, entity: entity('card') },
    features: { taps_30d: count().over('30d') },
  });
  const it = new SingleView(definition, { startMs: NOON_MS });
  const lateMs = NOON_MS - 10 * 86_400_000;
  const file = join(dir, 'taps.parquet');
  const at = (ms: number): string => `make_timestamp(${ms}::BIGINT * 1000)`;
  await db.run(
    `COPY (SELECT * FROM (VALUES (${at(lateMs)}, 'a', 0, 0, ${at(NOON_MS)}, 'late'))
       t("at", card, _partition, _offset, _appended_at, _stamp)) TO ${text(file)}`,
  );
  const { view } = it;
  const history = await EventHistory.open(db, view.source, await tableFiles(file), dir);
  const args = { db, view, history, cut: [1], nowMs: NOON_MS };
  for await (const { states } of historyStates(args, (await surveyStates(args)).use)) {
    for (const state of states) await it.write(state);
  }
  const writer = new ViewWriter(view, {
    ...{ store: it.tracker, clock: it.clock, shards: 1, newToken: randomTokens() },
    ...{ shape: DEFAULT_TILE_SHAPE, pacing: DEFAULT_PACING, rules: PROTOCOL },
  });
  // The position of a repeat is another one: nothing but the stamp tells it.
  const record = async (offset: number, timeMs: number, stamp: string): Promise<void> => {
    const values = view.project({ at: timeMs, card: 'a' })!;
    const row = { partition: 0, offset, appendedMs: NOON_MS + offset, timeMs, values };
    const ids = { id: positionEventId(0, offset), dedupeId: textEventId(stamp) };
    await writer.apply(new Map([['a', [{ ...row, ...ids }]]]));
  };
  await record(1, NOON_MS, 'another');
  await record(2, lateMs, 'late');
  expect(await it.values('a', NOON_MS)).toEqual({ taps_30d: 2 });
});

test('what is in hand at once is bounded: the states of a write, their bytes, and the events of a key', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'millrace-states-'));
  onTestFinished(() => rm(dir, { recursive: true, force: true }));
  const db = await DuckDb.open({ memoryBytes: 2 ** 28, threads: 1, spillDir: dir });
  onTestFinished(() => db.close());
  const view = testRepo.views.get('browsing')!;
  let files = 0;
  const statesOf = async (rows: string): Promise<HistoryStates[]> => {
    const file = join(dir, `clicks-${files++}.parquet`);
    await db.run(
      `COPY (SELECT make_timestamp(${NOON_MS - 1}::BIGINT * 1000) AS "at", ${rows}) TO ${text(file)}`,
    );
    const history = await EventHistory.open(db, view.source, await tableFiles(file), dir);
    const args = { db, view, history, cut: null, nowMs: NOON_MS };
    const all: HistoryStates[] = [];
    for await (const states of historyStates(args, (await surveyStates(args)).use)) all.push(states);
    return all;
  };
  const sizesOf = ({ states }: HistoryStates): number[] =>
    states.map(({ head, fields }) =>
      [...fields.values()].reduce((sum, bytes) => sum + bytes.length, head.length),
    );
  const full = BACKFILL_LIMITS.states;

  const small = await statesOf(
    `'c' || i % ${3 * full + 1} AS card, '/' AS page FROM range(${6 * full + 2}) t(i)`,
  );
  expect(small.map(({ states }) => states.length)).toEqual([full, full, full, 1]);
  expect(new Set(small.flatMap(({ states }) => states.map(({ key }) => key))).size).toBe(3 * full + 1);
  expect(small.at(-1)).toMatchObject({ events: 6 * full + 2, refused: 0 });

  const large = await statesOf(
    `'c' || i % ${full} AS card, repeat('x', 1000) || i AS page FROM range(${10 * full}) t(i)`,
  );
  expect(large.length).toBeGreaterThan(3);
  expect(large.at(-1)!.events).toBe(10 * full);
  for (const states of large.slice(0, -1)) {
    const sizes = sizesOf(states);
    const bytes = sizes.reduce((sum, size) => sum + size, 0);
    expect(bytes).toBeGreaterThanOrEqual(BACKFILL_LIMITS.bytes);
    expect(bytes - sizes.at(-1)!).toBeLessThan(BACKFILL_LIMITS.bytes);
  }

  const add = vi.spyOn(StateBuilder.prototype, 'add');
  onTestFinished(() => add.mockRestore());
  const { events } = BACKFILL_LIMITS;
  await statesOf(
    `CASE WHEN i = 0 THEN 'a' ELSE 'b' END AS card, '/' AS page FROM range(${2 * events + 2}) t(i)`,
  );
  expect(add.mock.calls.map(([rows]) => rows.length)).toEqual([1, events, events, 1]);
});

test('a state is above the cut in the partitions that its rows came from: a log that is read again from before counts nothing twice', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'millrace-states-'));
  onTestFinished(() => rm(dir, { recursive: true, force: true }));
  const db = await DuckDb.open({ memoryBytes: 2 ** 28, threads: 1, spillDir: dir });
  onTestFinished(() => db.close());
  const view = testRepo.views.get('browsing')!;
  const file = join(dir, 'clicks.parquet');
  const records = ['a', 0, 0, 'b', 0, 1, 'b', 1, 0, 'c', 1, 1, 'd', 1, 6, 'd', 2, 0];
  const values = Array.from({ length: records.length / 3 }, (_, i) => {
    const [card, partition, offset] = records.slice(3 * i);
    const atMs = NOON_MS - Number(partition);
    return `(make_timestamp(${atMs}::BIGINT * 1000), '${card}', '/', ${partition}, ${offset})`;
  });
  await db.run(
    `COPY (SELECT * FROM (VALUES ${values.join(', ')}) t("at", card, page, _partition, _offset)) TO ${text(file)}`,
  );
  const history = await EventHistory.open(db, view.source, await tableFiles(file), dir);
  // Of partition 1 the last record lies behind the cut, of partition 2 the archive had nothing when that was made.
  const args = { db, view, history, cut: [5, 6], nowMs: NOON_MS };
  const { use, newestMs, events } = await surveyStates(args);
  expect([newestMs, events]).toEqual([[NOON_MS, NOON_MS - 1], 4]);
  const floors: Record<string, unknown> = {};
  for await (const { states } of historyStates(args, use)) {
    for (const { key, head } of states) {
      floors[key] = [...decodeHead(new ByteReader(head), tailStorages(view.storages)).floors];
    }
  }
  const both = [
    [0, 5],
    [1, 6],
  ];
  expect(floors).toEqual({ a: [[0, 5]], b: expect.arrayContaining(both), c: [[1, 6]] });
  expect(floors.b).toHaveLength(2);
});

test('a column that a projection asks for behind the first events is read from then on, and states are made anew', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'millrace-states-'));
  onTestFinished(() => rm(dir, { recursive: true, force: true }));
  const db = await DuckDb.open({ memoryBytes: 2 ** 28, threads: 1, spillDir: dir });
  onTestFinished(() => db.close());
  const source = streamSource({
    name: 'rides',
    columns: { id: integer(), at: timestamp(), card: string(), kind: integer(), fare: integer() },
    eventTime: 'at',
    eventId: 'id',
  });
  const definition = featureView({
    ...{ name: 'rides', source, entity: entity('card') },
    project: { paid: { type: 'integer', from: (ride) => (ride.kind === 0 ? 1 : ride.fare) } },
    features: { paid_1h: sum('paid').over('1h') },
  });
  const it = new SingleView(definition, { startMs: NOON_MS });
  const { view } = it;
  const keys = BACKFILL_LIMITS.states + 8;
  const file = join(dir, 'rides.parquet');
  // The first thousand are looked at to see what is read. The key that needs more is the last but one.
  const at = `make_timestamp(${NOON_MS}::BIGINT * 1000)`;
  await db.run(
    `COPY (SELECT i AS id, ${at} AS "at", format('c{:02d}', i % ${keys}) AS card, 0 AS kind, 7 AS fare FROM range(${40 * keys}) t(i)
       UNION ALL SELECT ${40 * keys}, ${at}, 'c${keys - 2}', 1, 500) TO ${text(file)}`,
  );
  const history = await EventHistory.open(db, view.source, await tableFiles(file), dir);
  const written = new Map<string, number>();
  const filled = await fillFromHistory(
    {
      ...{ db, view, history, cut: null, nowMs: NOON_MS, load: 1 },
      sink: {
        write: async (states) => {
          let fresh = 0;
          for (const state of states) {
            const times = written.get(state.key) ?? 0;
            written.set(state.key, times + 1);
            if (times > 0) continue;
            await it.write(state);
            fresh++;
          }
          return fresh;
        },
        complete: async (newestMs) => expect(newestMs).toEqual([]),
      },
    },
    new AbortController().signal,
  );
  expect(new Set(written.values())).toEqual(new Set([1, 2]));
  // Each counts once, however often it was made.
  expect(filled).toMatchObject({ states: keys, written: keys, events: 40 * keys + 1 });
  expect(await it.values('c00', NOON_MS)).toEqual({ paid_1h: 40 });
  expect(await it.values(`c${keys - 2}`, NOON_MS)).toEqual({ paid_1h: 540 });
});

test('what no window reaches any more is not gone through; a lifetime reaches everything', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'millrace-states-'));
  onTestFinished(() => rm(dir, { recursive: true, force: true }));
  const db = await DuckDb.open({ memoryBytes: 2 ** 28, threads: 1, spillDir: dir });
  onTestFinished(() => db.close());
  const source = streamSource({
    name: 'rides',
    columns: { id: integer(), at: timestamp(), card: string() },
    eventTime: 'at',
    eventId: 'id',
  });
  const common = { name: 'rides', source, entity: entity('card'), asOfRetention: '2h' } as const;
  const ofHour = featureView({ ...common, features: { n: count().over('1h') } });
  const ofEver = featureView({ ...common, features: { n: count().over('1h'), ever: count().lifetime() } });
  const file = join(dir, 'rides.parquet');
  const low = NOON_MS - 3 * 3_600_000;
  const rows = [low - 1, low, NOON_MS].map((ms, id) => `(${id}, make_timestamp(${ms}::BIGINT * 1000), 'a')`);
  await db.run(`COPY (SELECT * FROM (VALUES ${rows.join(', ')}) t(id, "at", card)) TO ${text(file)}`);
  const countedOf = async (definition: unknown) => {
    const it = new SingleView(definition, { startMs: NOON_MS });
    const history = await EventHistory.open(db, it.view.source, await tableFiles(file), dir);
    const args = { db, view: it.view, history, cut: null, nowMs: NOON_MS };
    const { events, use } = await surveyStates(args);
    for await (const { states } of historyStates(args, use)) {
      for (const state of states) await it.write(state);
    }
    return [events, await it.values('a', NOON_MS), await it.values('a', low)];
  };
  expect(await countedOf(ofHour)).toEqual([2, { n: 1 }, { n: 1 }]);
  expect(await countedOf(ofEver)).toEqual([3, { n: 1, ever: 3 }, { n: 2, ever: 2 }]);
});
