/** So many rows that they are joined piece by piece: in the order of the spine, each with its own values. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as arrow from 'apache-arrow';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { DuckDb, text } from './duckdb.ts';
import { trainingSetFile } from './make-training-set.ts';
import { repo } from './testing/clicks.ts';

const dir = mkdtempSync(join(tmpdir(), 'millrace-order-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));
const file = (name: string): string => join(dir, name);

/** Three pieces, of several row groups each, the last one short. */
const ROWS = 600_001;
const BASE_MS = 1_700_000_000_000;

let db: DuckDb;
beforeAll(async () => {
  db = await DuckDb.open({ memoryBytes: 2 ** 29, threads: 2, spillDir: dir });
  // Keys in another order than the rows. Of key k there are k events.
  await db.run(
    `COPY (SELECT 'k' || k AS key, CAST(${BASE_MS} AS BIGINT) AS at, CAST(i AS BIGINT) AS v FROM range(50) a(k), range(50) b(i) WHERE i < k)
     TO ${text(file('history.parquet'))} (FORMAT parquet)`,
  );
  await db.run(
    `COPY (SELECT 'k' || ((i * 7919) % 50) AS key, CAST(${BASE_MS} + 1 AS BIGINT) AS timestamp, CAST(i AS INTEGER) AS c1, 'of ' || i AS "c0"
       FROM range(${ROWS}) r(i)) TO ${text(file('spine.parquet'))} (FORMAT parquet)`,
  );
});
afterAll(() => db.close());

async function make(out: string): Promise<void> {
  const { rows } = await trainingSetFile({
    ...{ repo, service: 'all', spine: file('spine.parquet'), history: file('history.parquet'), out },
    threads: 2,
  });
  expect(rows).toBe(ROWS);
}

test('as Parquet', async () => {
  const out = file('out.parquet');
  await make(out);
  const found = await db.row(
    `SELECT count(*) AS rows, count(*) FILTER (c1 = file_row_number) AS in_order, count(*) FILTER ("c0" = 'of ' || c1) AS carried,
       count(*) FILTER (n = (c1::BIGINT * 7919) % 50 AND key = 'k' || n) AS with_values,
       count(*) FILTER (coalesce(len(newest), 0) = least(n, 3)) AS with_lists
     FROM read_parquet(${text(out)}, file_row_number = true)`,
  );
  const all = BigInt(ROWS);
  expect(found).toEqual({ rows: all, in_order: all, carried: all, with_values: all, with_lists: all });
}, 240_000);

test('as Arrow', async () => {
  const out = file('out.arrow');
  await make(out);
  const table = arrow.tableFromIPC(readFileSync(out));
  const [labels, counts] = ['c1', 'n'].map((name) => table.getChild(name)!.toArray() as BigInt64Array);
  expect(labels).toHaveLength(ROWS);
  let wrong = 0;
  for (let i = 0; i < ROWS; i++) {
    if (labels![i] !== BigInt(i) || counts![i] !== BigInt((i * 7919) % 50)) wrong++;
  }
  expect(wrong).toBe(0);
}, 240_000);
