/** What was written before a process was stopped is gone on with: keys that are whole stay, the last one is made again. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { DuckDb } from './duckdb.ts';
import { transportOfType } from './feature-transport.ts';
import { ValueTable } from './value-table.ts';

const dir = (): string => {
  const made = mkdtempSync(join(tmpdir(), 'millrace-values-'));
  onTestFinished(() => rmSync(made, { recursive: true, force: true }));
  return made;
};

const rowsOf = (keys: readonly number[], from: number) => ({
  keys: Float64Array.from(keys),
  places: Float64Array.from(keys, (_, i) => from + i),
  columns: [Float64Array.from(keys, (_, i) => (from + i) / 2), keys.map((_, i) => `text ${from + i}`)],
});

const TRANSPORTS = ['double', 'string'].map((type) => transportOfType(type));

test('a table that was left goes on with its last key, and with nothing once it is finished', async () => {
  const spillDir = dir();
  const open = (): Promise<DuckDb> =>
    DuckDb.open({ file: join(spillDir, 'values.duckdb'), memoryBytes: 2 ** 28, threads: 1, spillDir });
  let db = await open();
  let table = new ValueTable(db, 'values', TRANSPORTS, 2);
  expect(await table.resume()).toBe(0);
  await table.append(rowsOf([0, 0, 1], 0));
  await table.append(rowsOf([1, 4, 4], 3));
  // Of the last ones nothing is written: they are fewer than two.
  await table.append(rowsOf([4], 6));
  db.close();

  db = await open();
  table = new ValueTable(db, 'values', TRANSPORTS, 2);
  expect(await table.resume()).toBe(4);
  expect(Number((await db.row('SELECT count(*) AS n FROM "values"')).n)).toBe(4);
  await table.append(rowsOf([4, 4, 4, 7], 4));
  await table.finish();
  expect(await table.resume()).toBeNull();
  const rows = await db.rows('SELECT * FROM "values" ORDER BY place');
  expect(rows.map(({ place, k, f0, f1 }) => [place, k, f0, f1])).toEqual(
    [0, 0, 1, 1, 4, 4, 4, 7].map((key, place) => [place, key, place / 2, `text ${place}`]),
  );
  // Begun anew, it is empty.
  await table.create();
  expect(await db.rows('SELECT * FROM "values"')).toEqual([]);
  expect(await table.resume()).toBe(0);
  db.close();
});
