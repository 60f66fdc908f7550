/** Of a source without event ids: what tells a repeat is the stamp of its record, and a copy of a dead letter its original. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test, vi } from 'vitest';
import { browsing, NOON_MS, testRepo } from '../embedded/testing/test-repo.ts';
import { positionEventId, textEventId } from '../engine/event-id.ts';
import { randomTokens } from '../engine/store/random-tokens.ts';
import { SingleView } from '../engine/testing/single-view.ts';
import { StateBuilder } from '../engine/tiles/state-builder.ts';
import { PROTOCOL } from '../engine/tiles/state-protocol.ts';
import { DEFAULT_PACING } from '../engine/tiles/state-update.ts';
import { DEFAULT_TILE_SHAPE } from '../engine/tiles/tile-shape.ts';
import { count, entity, featureView, streamSource, string, timestamp } from '../index.ts';
import { ViewWriter } from '../ingest/view-writer.ts';
import { DuckDb, text } from './duckdb.ts';
import { EventHistory } from './event-history.ts';
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
  await db.run(
    `COPY (SELECT * FROM (VALUES (${at(aheadMs)}, 'a', '/', 0, 0), (${at(aheadMs + 1)}, 'a', '/', NULL, NULL))
       t("at", card, page, _partition, _offset)) TO ${text(file)}`,
  );
  const history = await EventHistory.open(db, view.source, await tableFiles(file), dir);
  const args = { db, view, history, nowMs: NOON_MS };
  expect(await surveyStates({ ...args, cut: null })).toMatchObject({ events: 1, ahead: 1, newestMs: [] });
  await expect(surveyStates({ ...args, cut: [1] })).rejects.toThrow(
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
