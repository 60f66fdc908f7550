/**
 * An event that breaks the schema counts nowhere, whichever columns a view reads and whichever form the history has: as online,
 * where it is refused as a whole.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { TestEngine } from '../embedded/testing/test-engine.ts';
import { NOON_MS } from '../embedded/testing/test-repo.ts';
import {
  compileRepo,
  count,
  double,
  entity,
  featureService,
  featureView,
  integer,
  streamSource,
  string,
  sum,
  timestamp,
} from '../index.ts';
import { DuckDb } from './duckdb.ts';
import { EventHistory } from './event-history.ts';
import { historyStates, surveyStates } from './history-states.ts';
import { trainingSet } from './make-training-set.ts';
import { tableFiles } from './table-files.ts';
import { arrowTableOf, csvText, ndjsonText, type Rows, writeTable } from './testing/table-writers.ts';

const dir = mkdtempSync(join(tmpdir(), 'millrace-unusable-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const payments = streamSource({
  name: 'payments',
  columns: { id: string(), at: timestamp(), card: string(), amount: double(), fraud: integer() },
  eventTime: 'at',
  eventId: 'id',
});
const card = entity('card');
// Each reads only some of the columns.
const counts = featureView({
  name: 'counts',
  source: payments,
  entity: card,
  features: { payments_1d: count().over('1d') },
});
const amounts = featureView({
  name: 'amounts',
  source: payments,
  entity: card,
  features: { amount_1d: sum('amount').over('1d') },
});
const repo = compileRepo([featureService({ name: 'all', features: [counts, amounts] })]);

const history: Rows = {
  types: { id: 'string', at: 'timestamp', card: 'string', amount: 'double', fraud: 'integer' },
  rows: [
    { id: 'a', at: NOON_MS - 9, card: 'c', amount: 10, fraud: 0 },
    // Of no use for a column that no view reads.
    { id: 'b', at: NOON_MS - 8, card: 'c', amount: 200, fraud: null },
    // Of no use for one that the other view reads; and its repeat, which counts.
    { id: 'd', at: NOON_MS - 7, card: 'c', amount: null, fraud: 0 },
    { id: 'd', at: NOON_MS - 7, card: 'c', amount: 3_000, fraud: 0 },
  ],
};
const spine = arrowTableOf({
  types: { card: 'string', timestamp: 'timestamp' },
  rows: [{ card: 'c', timestamp: NOON_MS }],
});

const histories = {
  parquet: () => writeTable(join(dir, 'history.parquet'), history),
  arrow: () => writeTable(join(dir, 'history.arrow'), history),
  csv: async () => written('history.csv', csvText(history)),
  ndjson: async () => written('history.ndjson', ndjsonText(history)),
};
function written(name: string, text: string): string {
  const path = join(dir, name);
  writeFileSync(path, text);
  return path;
}

test.each(Object.keys(histories) as (keyof typeof histories)[])('%s', async (format) => {
  const path = await histories[format]();
  const table = await trainingSet({ repo, service: 'all', threads: 1, history: path, spine });
  expect([table.getChild('payments_1d')!.get(0), table.getChild('amount_1d')!.get(0)]).toEqual([2n, 3_010]);

  // What a backfill makes of it.
  const db = await DuckDb.open({ memoryBytes: 2 ** 28, threads: 1, spillDir: dir });
  try {
    const view = repo.views.get('counts')!;
    const opened = await EventHistory.open(db, view.source, await tableFiles(path), dir);
    const args = { db, view, history: opened, cut: null, nowMs: NOON_MS };
    const { use, broken, events } = await surveyStates(args);
    expect([broken, events]).toEqual([
      new Map([
        ['fraud', 1],
        ['amount', 1],
      ]),
      2,
    ]);
    let states = 0;
    for await (const found of historyStates(args, use)) states += found.states.length;
    expect(states).toBe(1);
  } finally {
    db.close();
  }
});

test('online', async () => {
  const engine = await TestEngine.open({ repo });
  try {
    await engine.push('payments', history.rows);
    const { features } = (await engine.read('all', { entities: { card: 'c' } })).body;
    expect(features).toEqual({ payments_1d: 2, amount_1d: 3_010 });
  } finally {
    await engine.close();
  }
});
