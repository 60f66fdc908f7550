/** Of a source without event ids: what tells a repeat is the stamp of its record, and a copy of a dead letter its original. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { browsing, NOON_MS, testRepo } from '../embedded/testing/test-repo.ts';
import { SingleView } from '../engine/testing/single-view.ts';
import { DuckDb, text } from './duckdb.ts';
import { EventHistory } from './event-history.ts';
import { historyStates, surveyStates } from './history-states.ts';
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
