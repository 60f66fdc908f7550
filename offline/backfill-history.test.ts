import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test, vi } from 'vitest';
import {
  compileRepo,
  entity,
  featureService,
  featureView,
  integer,
  streamSource,
  string,
  sum,
  timestamp,
} from '../index.ts';
import { BackfillHistory } from './backfill-history.ts';
import { DuckDb, text } from './duckdb.ts';

const NOW_MS = Date.UTC(2026, 10, 30);

test('it is left at once where DuckDB is at work, as it sorts or reads', async () => {
  let projected = 0;
  const clicks = streamSource({
    name: 'clicks',
    columns: { at: timestamp(), card: string(), n: integer() },
    eventTime: 'at',
  });
  const perCard = featureView({
    name: 'per_card',
    source: clicks,
    entity: entity('card'),
    project: {
      next: {
        type: 'integer',
        from: ({ n }) => {
          projected++;
          return n + 1;
        },
      },
    },
    features: { next_1d: sum('next').over('1d') },
  });
  const repo = compileRepo([featureService({ name: 'all', features: [perCard] })]);
  const view = repo.views.get('per_card')!;
  const dir = mkdtempSync(join(tmpdir(), 'millrace-backfill-'));
  onTestFinished(() => rmSync(dir, { recursive: true, force: true }));
  const db = await DuckDb.open({ memoryBytes: 2 ** 29, threads: 1, spillDir: dir });
  const rows = `SELECT make_timestamp(${NOW_MS}::BIGINT * 1000 - i) AS "at", 'c' || hash(i) AS card, 1::INTEGER AS n FROM range(1000000) r(i)`;
  for (const format of ['parquet', 'csv'])
    await db.run(`COPY (${rows}) TO ${text(join(dir, `clicks.${format}`))}`);
  db.close();

  const written: number[] = [];
  const sink = {
    write: async (states: readonly unknown[]) => written.push(states.length),
    complete: async () => {
      throw new Error('it is not complete');
    },
  };
  const sorting = new AbortController();
  const onProgress = (): void => {
    projected = 0;
    // The next thing is the sorting.
    setImmediate(() => sorting.abort());
  };
  const args = { sink, cut: null, nowMs: NOW_MS, load: 1, onProgress };
  const path = join(dir, 'clicks.parquet');
  expect(
    await BackfillHistory.use({ view, path, signal: sorting.signal }, (history) =>
      history.fill(args, sorting.signal),
    ),
  ).toBeNull();
  expect([projected, written]).toEqual([0, []]);

  const reading = new AbortController();
  let isRead = false;
  const run = vi.spyOn(DuckDb.prototype, 'run').mockImplementation(function (this: DuckDb, sql) {
    run.mockRestore();
    // Behind this one: the query is under way.
    setImmediate(() => reading.abort());
    return this.run(sql).then(() => {
      isRead = true;
    });
  });
  const csv = { view, path: join(dir, 'clicks.csv'), signal: reading.signal };
  expect(await BackfillHistory.use(csv, async () => 'used')).toBeNull();
  expect(isRead).toBe(false);
}, 60_000);
