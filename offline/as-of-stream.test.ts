/** What is left out of a history before it is sorted, at the millisecond: nothing that a row can see. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import {
  compileRepo,
  count,
  entity,
  featureService,
  featureView,
  integer,
  lastN,
  streamSource,
  string,
  timestamp,
} from '../index.ts';
import { DuckDb } from './duckdb.ts';
import { trainingSet } from './make-training-set.ts';

const dir = mkdtempSync(join(tmpdir(), 'millrace-stream-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const source = streamSource({
  name: 'clicks',
  columns: { id: integer(), at: timestamp(), user: string() },
  eventTime: 'at',
  eventId: 'id',
});
const clicks = featureView({
  name: 'clicks_of_user',
  source,
  entity: entity('user'),
  features: {
    minute: count().over('1m'),
    delayed: count().over('1m', { offset: '1m' }),
    always: count().lifetime({ offset: '2m' }),
  },
});

/** Features of one user at each of the times, from clicks at others, all ms. */
async function counted(
  features: readonly ('minute' | 'delayed' | 'always')[],
  clicked: readonly number[],
  asked: readonly number[],
) {
  const service = featureService({ name: 'service', features: features.map((name) => clicks.feature[name]) });
  const file = (name: string, rows: readonly object[]): string => {
    const path = join(dir, name);
    writeFileSync(path, rows.map((row) => `${JSON.stringify(row)}\n`).join(''));
    return path;
  };
  const table = await trainingSet({
    ...{ repo: compileRepo([service]), service: 'service', time: 'when' },
    history: file(
      'history.ndjson',
      clicked.map((at, id) => ({ id, at, user: 'u' })),
    ),
    spine: file(
      'spine.ndjson',
      asked.map((when) => ({ when, user: 'u' })),
    ),
  });
  return asked.map((_, i) => features.map((name) => Number(table.get(i)![name])));
}

const T = 1_700_000_000_000;
const MINUTE = 60_000;

test('the first millisecond of the longest window of the oldest row, and the last of the newest', async () => {
  const clicked = [T - MINUTE, T - MINUTE + 1, T, T + 5, T + 6];
  expect(await counted(['minute'], clicked, [T])).toEqual([[2]]);
  expect(await counted(['minute'], clicked, [T, T + 5])).toEqual([[2], [2]]);
  const delayed = clicked.map((at) => at - MINUTE);
  expect(await counted(['delayed'], delayed, [T])).toEqual([[2]]);
  expect(await counted(['minute', 'delayed'], [...clicked, ...delayed], [T])).toEqual([[4, 3]]);
});

test('all of the past for a lifetime window', async () => {
  expect(await counted(['always'], [0, T - 3 * MINUTE, T - 2 * MINUTE, T - 2 * MINUTE + 1], [T])).toEqual([
    [3],
  ]);
});

test('records of a log without event ids: a stamp tells a repeat, a copy counts in the place of what it is of', async () => {
  const taps = streamSource({
    name: 'taps',
    columns: { at: timestamp(), user: string(), n: integer() },
    eventTime: 'at',
  });
  const view = featureView({
    name: 'taps_of_user',
    source: taps,
    entity: entity('user'),
    features: { taps: count().over('1d'), order: lastN('n', 9).over('1d') },
  });
  const service = featureService({ name: 'service', features: [view] });
  const db = await DuckDb.open({ memoryBytes: 2 ** 28, threads: 1, spillDir: dir });
  const history = join(dir, 'records.parquet');
  const rows = [
    // Time after T, n, offset, stamp, offset of the original.
    [0, 1, 10, 'a', null],
    [0, 2, 11, 'b', null],
    [0, 3, 12, 'a', null],
    [3_600_001, 4, 13, 'a', null],
    [0, 5, 14, 'c', 9],
    [0, 6, 15, null, 8],
    [0, 7, 16, null, 8],
    [0, 8, 17, null, null],
    [0, 9, 18, null, null],
  ].map(
    ([ms, n, offset, stamp, origin]) =>
      `(make_timestamptz(${(T + Number(ms)) * 1_000}), 'u', ${n}, 0, ${offset}, ${stamp === null ? 'NULL' : `'${stamp}'`}, ${origin ?? 'NULL'})`,
  );
  await db.run(
    `COPY (SELECT * FROM (VALUES ${rows.join(', ')}) r("at", "user", n, _partition, _offset, _stamp, _origin_offset)) TO '${history}' (FORMAT parquet)`,
  );
  db.close();
  const spine = join(dir, 'users.ndjson');
  writeFileSync(spine, `{"user":"u","when":${T + 7_200_000}}\n`);
  const table = await trainingSet({
    repo: compileRepo([service]),
    service: 'service',
    time: 'when',
    history,
    spine,
  });
  const { taps: found, order } = table.get(0)!.toJSON() as { taps: bigint; order: Iterable<bigint> };
  // 3 repeats 1 within the horizon, 4 beyond it, and 7 is a second copy of what 6 is of.
  expect([...order].map(Number)).toEqual([6, 5, 1, 2, 8, 9, 4]);
  expect(Number(found)).toBe(7);
});
