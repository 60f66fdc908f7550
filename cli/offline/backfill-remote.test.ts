/**
 * A backfill of an engine of this process, over HTTP, with an archive's files: what says how late it is. Values beside live
 * events, and commands that are killed, are in test/backfill.test.ts.
 */
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { mendableDefinitions } from '../../embedded/testing/mendable-repo.ts';
import { TestEngine } from '../../embedded/testing/test-engine.ts';
import { NOON_MS, payment, testRepo } from '../../embedded/testing/test-repo.ts';
import { compileRepo } from '../../engine/definitions/compile.ts';
import { BackfillHistory } from '../../offline/backfill-history.ts';
import { DuckDb, text } from '../../offline/duckdb.ts';
import { backfillRemotely } from './backfill-remote.ts';

const HOUR_MS = 3_600_000;
const CARDS = Array.from({ length: 8 }, (_, i) => `c${i}`);

test('by the event clock a history that has one event to come in one partition does not move the others', async () => {
  const engine = await TestEngine.open({ partitions: 2, clock: 'event' });
  onTestFinished(() => engine.close());
  const view = testRepo.views.get('spend')!;
  // Some of each partition: all are behind the cut.
  const pushed = CARDS.map((card) => payment({ card, at: NOON_MS - HOUR_MS / 2 }));
  expect((await engine.push('payments', pushed)).status).toBe(200);
  expect(engine.engine.clock.nowMs()).toBe(NOON_MS - HOUR_MS / 2);
  const url = await engine.engine.app.listen({ host: '127.0.0.1', port: 0 });

  const db = await DuckDb.open({ memoryBytes: 2 ** 28, threads: 1, spillDir: engine.dataDir });
  onTestFinished(() => db.close());
  const path = join(engine.dataDir, 'payments.parquet');
  const row = (id: string, atMs: number, partition: number, offset: number): string =>
    `('${id}', make_timestamp(${atMs}::BIGINT * 1000), 'h${partition}', 5.0, ${partition}, ${offset})`;
  await db.run(
    `COPY (SELECT * FROM (VALUES ${row('x', NOON_MS + 48 * HOUR_MS, 0, 0)}, ${row('y', NOON_MS, 1, 0)})
       t(id, "at", card, amount, _partition, _offset)) TO ${text(path)}`,
  );
  const position = { nextOffset: 1, logIdentity: null, gaps: [] };
  const state = await backfillRemotely(
    {
      ...{ url, view, positions: [position, position], history: '', acceptGap: false },
      fill: async ({ cut, nowMs, ...sink }, signal) => {
        expect([cut, nowMs]).toEqual([[1, 1], NOON_MS - HOUR_MS / 2]);
        await BackfillHistory.use({ view, path, signal }, (history) =>
          history.fill({ sink, cut, nowMs, load: 1 }, signal),
        );
      },
      ...{ onBegun: () => {}, onLook: () => {} },
      onTrouble: (error) => {
        throw error;
      },
    },
    new AbortController().signal,
  );
  expect(state).toBe('switched');

  await engine.restart();
  expect(engine.engine.clock.nowMs()).toBe(NOON_MS);
  const read = async (card: string) => (await engine.read('card', { entities: { card } })).body.features;
  expect(await read('h1')).toMatchObject({ payments_1h: 1, payments_ever: 1 });
  // Of what is read it is yet to come.
  expect(await read('h0')).toMatchObject({ payments_1h: 0 });
  const counts = await Promise.all(CARDS.map(async (card) => (await read(card)).payments_1h));
  // Of each partition the first record lies below the cut, and the archive has others there.
  expect(counts.reduce((sum, count) => sum + count, 0)).toBe(CARDS.length - 2);
});

test('what the history does not count below the cut is told as well: a dead letter of there, replayed later, counts once', async () => {
  const swipe = (amount: number) => ({ at: NOON_MS, card: 'c1', amount });
  const engine = await TestEngine.open({ partitions: 1, repo: compileRepo(mendableDefinitions(true)) });
  onTestFinished(() => engine.close());
  await engine.push('swipes', [swipe(1), swipe(13), swipe(13), swipe(13)]);
  const repo = compileRepo(mendableDefinitions(false));
  await engine.restart({ repo });
  const view = repo.views.get('careful')!;
  const url = await engine.engine.app.listen({ host: '127.0.0.1', port: 0 });

  const db = await DuckDb.open({ memoryBytes: 2 ** 28, threads: 1, spillDir: engine.dataDir });
  onTestFinished(() => db.close());
  const path = join(engine.dataDir, 'swipes.parquet');
  // Two records below the cut are not in it.
  const at = `make_timestamp(${NOON_MS}::BIGINT * 1000)`;
  await db.run(
    `COPY (SELECT * FROM (VALUES (${at}, 'c1', 1, 0, 0), (${at}, 'c1', 13, 0, 2))
       t("at", card, amount, _partition, _offset)) TO ${text(path)}`,
  );
  const state = await backfillRemotely(
    {
      ...{
        url,
        view,
        positions: [{ nextOffset: 4, logIdentity: null, gaps: [] }],
        history: '',
        acceptGap: false,
      },
      fill: async ({ cut, nowMs, ...sink }, signal) => {
        await BackfillHistory.use({ view, path, signal }, (history) =>
          history.fill({ sink, cut, nowMs, load: 1 }, signal),
        );
      },
      ...{ onBegun: () => {}, onLook: () => {} },
      onTrouble: (error) => {
        throw error;
      },
    },
    new AbortController().signal,
  );
  expect(state).toBe('switched');
  const ever = async () =>
    (await engine.read('swipes_of_card', { entities: { card: 'c1' } })).body.features.careful_ever;
  expect(await ever()).toBe(2);
  const { body } = await engine.post('/v1/sources/swipes/dead-letters/replay', {});
  expect(body).toMatchObject({ replayed: 3 });
  await engine.push('swipes', [swipe(1)]);
  expect(await ever()).toBe(5);
});
