/** What `loaded-facts.property.test.ts` does not come by: other tables, files that are left behind, clocks that go back. */
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { parseTimestampMs } from '../engine/definitions/timestamp.ts';
import type { EventRow } from '../engine/definitions/types.ts';
import { batchSource, compileRepo, double, integer, long, string, timestamp } from '../index.ts';
import { DuckDb, text } from './duckdb.ts';
import { type BatchSource, factTable } from './fact-table.ts';
import { LoadedFacts, type TableSurvey } from './loaded-facts.ts';
import { writeTable } from './testing/table-writers.ts';

const NOW_MS = Date.parse('2026-06-01T00:00:00Z');
const DAY_MS = 86_400_000;
const root = mkdtempSync(join(tmpdir(), 'millrace-loaded-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));

const columns = { k: string(), v: string({ nullable: true }), at: timestamp() };
const source = (from: string, options: object = {}): BatchSource => {
  const made = batchSource({
    name: 'facts',
    columns,
    key: 'k',
    from,
    effectiveTime: 'at',
    ...options,
  } as never);
  compileRepo([made]);
  return made as unknown as BatchSource;
};

let folders = 0;
const folder = (): string => {
  const dir = join(root, String(folders++));
  mkdirSync(dir);
  return dir;
};

async function withDb<T>(facts: LoadedFacts, work: (db: DuckDb) => Promise<T>): Promise<T> {
  const db = await DuckDb.open({ memoryBytes: 2 ** 28, threads: 1, spillDir: facts.workDir });
  try {
    return await work(db);
  } finally {
    db.close();
  }
}

async function find(dir: string, from: BatchSource, nowMs = NOW_MS): Promise<TableSurvey> {
  const facts = new LoadedFacts(join(dir, 'state'), from);
  return withDb(facts, async (db) =>
    facts.findNew(db, await factTable(db, from, { baseDir: dir, workDir: facts.workDir }), nowMs),
  );
}

/** @returns what is pushed, and then history */
async function finish(dir: string, from: BatchSource, refused: readonly number[] = []): Promise<EventRow[]> {
  const facts = new LoadedFacts(join(dir, 'state'), from);
  return withDb(facts, async (db) => {
    const pending = await facts.pending(db);
    if (pending === null) return [];
    const rows: EventRow[] = [];
    for await (const some of facts.pendingFacts(db, pending)) rows.push(...some);
    await facts.finish(db, { ...pending, refused });
    return rows;
  });
}

async function load(dir: string, from: BatchSource, nowMs = NOW_MS): Promise<EventRow[]> {
  await find(dir, from, nowMs);
  return finish(dir, from);
}

const csv = (dir: string, name: string, ...lines: string[]): void =>
  writeFileSync(join(dir, name), `${lines.join('\n')}\n`);

const short = (rows: readonly EventRow[]): unknown[] => rows.map(({ k, v }) => [k, v]);

describe('the table', () => {
  test('a query, with what has to be done before it; its path begins at the repo', async () => {
    const dir = folder();
    const facts = new LoadedFacts(join(dir, 'state'), source('x'));
    await withDb(facts, async (db) => {
      await db.run(`ATTACH ${text(join(dir, 'w.duckdb'))} AS w`);
      await db.run(
        `CREATE TABLE w.people AS SELECT 'a' AS k, 'one' AS v, TIMESTAMP '2026-01-01 00:00:00' AS "at"`,
      );
    });
    csv(dir, 'more.csv', 'k,v', 'b,two');
    const from = source('x', {
      from: {
        setup: `ATTACH ${text(join(dir, 'w.duckdb'))} AS warehouse (READ_ONLY)`,
        sql: `SELECT k, v, "at" FROM warehouse.people UNION ALL BY NAME SELECT k, v, TIMESTAMP '2026-02-01' AS "at" FROM 'more.csv' -- all ;`,
      },
    });
    const rows = await load(dir, from);
    expect(short(rows)).toEqual([
      ['a', 'one'],
      ['b', 'two'],
    ]);
    expect(rows[0]).toMatchObject({ at: Date.parse('2026-01-01T00:00:00Z'), k: 'a' });
    expect(await load(dir, from)).toEqual([]);
  });

  test('a query that fails says why, and of no value', async () => {
    const dir = folder();
    const failing = (sql: string, setup?: string) =>
      find(dir, source('x', { from: { sql, ...(setup === undefined ? {} : { setup }) } }));
    await expect(failing('SELEC')).rejects.toThrow('the query of source facts cannot be read: syntax error');
    await expect(failing('SELECT * FROM nowhere')).rejects.toThrow(/nowhere does not exist/);
    await expect(failing('SELECT 1', 'ATTACH')).rejects.toThrow('the query of source facts cannot be read');
    const secret = failing("SELECT CAST('secret' AS INT) AS k");
    await expect(secret).rejects.toThrow(
      'the query of source facts cannot be read: Could not convert string … to INT32',
    );
    await expect(secret).rejects.not.toThrow('secret');
    await expect(failing("SELECT 1 AS k, 'x' AS v, now() AS moment")).rejects.toThrow(
      "column 'k' is INTEGER there and string in the source 'facts'",
    );
  });

  test('files are counted row by row, each from its first; the last row of a key and time counts', async () => {
    const dir = folder();
    mkdirSync(join(dir, 'parts'));
    const types = { k: 'string', v: 'string', at: 'timestamp' } as const;
    const row = (k: string, v: string, at = 1): { k: string; v: string; at: number } => ({ k, v, at });
    await writeTable(join(dir, 'parts/1.parquet'), { types, rows: [row('a', 'old'), row('b', 'one')] });
    await writeTable(join(dir, 'parts/2.parquet'), {
      types,
      rows: [row('b', 'other time', 2), row('a', 'new'), { k: 'c', v: 'x'.repeat(9_000), at: 1 }],
    });
    const from = source('parts/*.parquet');
    expect(await find(dir, from)).toEqual({
      rows: 5,
      bad: { count: 1, first: [{ row: 3, column: 'v' }] },
      tooEarly: 0,
      replaced: 1,
    });
    expect(short(await finish(dir, from))).toEqual([
      ['b', 'one'],
      ['b', 'other time'],
      ['a', 'new'],
    ]);
  });

  test('facts beyond maxFuture wait until it is their time', async () => {
    const dir = folder();
    const day = (ms: number): string => new Date(ms).toISOString();
    csv(
      dir,
      'x.csv',
      'k,v,at',
      `a,now,${day(NOW_MS)}`,
      `a,soon,${day(NOW_MS + DAY_MS)}`,
      `a,late,${day(NOW_MS + 3 * DAY_MS)}`,
    );
    const from = source('x.csv', { maxFuture: '2d' });
    expect(await find(dir, from)).toMatchObject({ rows: 3, tooEarly: 1 });
    expect(short(await finish(dir, from))).toEqual([
      ['a', 'now'],
      ['a', 'soon'],
    ]);
    // A minute of room: clocks differ.
    expect(await load(dir, from, NOW_MS + DAY_MS)).toEqual([]);
    expect(short(await load(dir, from, NOW_MS + DAY_MS + 60_000))).toEqual([['a', 'late']]);
  });

  test('64-bit integers, doubles and empty texts come as they are', async () => {
    const dir = folder();
    csv(dir, 'x.csv', 'k,big,x,note', 'a,9223372036854775807,0.1,', 'b,,-1e-9,"é, ""x"""');
    const from = source('x.csv', {
      columns: {
        k: string(),
        big: long({ nullable: true }),
        x: double(),
        note: string(),
      },
      effectiveTime: undefined,
    });
    const rows = await load(dir, from);
    expect(rows).toEqual([
      {
        k: 'a',
        big: 9_223_372_036_854_775_807n,
        x: 0.1,
        note: '',
        loaded_at: NOW_MS,
        fact_id: BigInt(NOW_MS) << 21n,
      },
      {
        k: 'b',
        big: null,
        x: -1e-9,
        note: 'é, "x"',
        loaded_at: NOW_MS,
        fact_id: (BigInt(NOW_MS) << 21n) + 1n,
      },
    ]);
    expect(await load(dir, from, NOW_MS + 1)).toEqual([]);
  });
});

describe('the history', () => {
  test('a column that is new is a change of what has a value in it', async () => {
    const dir = folder();
    csv(dir, 'x.csv', 'k,v,at', 'a,1,2026-01-01T00:00:00Z', 'b,2,2026-01-01T00:00:00Z');
    await load(dir, source('x.csv'));
    csv(dir, 'x.csv', 'k,v,at,n', 'a,1,2026-01-01T00:00:00Z,5', 'b,2,2026-01-01T00:00:00Z,');
    const more = source('x.csv', { columns: { ...columns, n: integer({ nullable: true }) } });
    expect(await load(dir, more, NOW_MS + 1)).toMatchObject([{ k: 'a', n: 5 }]);
    expect(await load(dir, more, NOW_MS + 2)).toEqual([]);
    // What was loaded before had no such column.
    const facts = new LoadedFacts(join(dir, 'state'), more);
    const all: EventRow[] = [];
    await withDb(facts, async (db) => {
      for await (const rows of facts.loadedFacts(db)) all.push(...rows);
      expect(await facts.loadedCount(db)).toBe(3);
    });
    expect(all.map(({ k, n }) => [k, n])).toEqual([
      ['a', undefined],
      ['b', undefined],
      ['a', 5],
    ]);
    const other = source('x.csv', { columns: { ...columns, v: integer({ nullable: true }) } });
    await expect(find(dir, other)).rejects.toThrow(
      "column 'v' is VARCHAR there and integer in the source 'facts'",
    );
  });

  test('ids and times of loads ascend, also where the clock goes back', async () => {
    const dir = folder();
    const from = source('x.csv', { columns: { k: string(), v: string() }, effectiveTime: undefined });
    const ids: bigint[] = [];
    const times: number[] = [];
    for (const [n, nowMs] of [NOW_MS, NOW_MS, NOW_MS - DAY_MS, NOW_MS + 10].entries()) {
      csv(dir, 'x.csv', 'k,v', `a,${n}`, `b,${n}`);
      for (const { fact_id, loaded_at } of await load(dir, from, nowMs)) {
        ids.push(fact_id as bigint);
        times.push(loaded_at as number);
      }
    }
    expect(ids).toEqual([...ids].sort((a, b) => (a < b ? -1 : 1)));
    expect(new Set(ids).size).toBe(8);
    expect(times.map((ms) => ms - NOW_MS)).toEqual([0, 0, 1, 1, 2, 2, 10, 10]);
    expect(readdirSync(join(dir, 'state/history'))).toHaveLength(4);
  });

  test('files are of the time of their load, with moments as moments', async () => {
    const dir = folder();
    csv(dir, 'x.csv', 'k,v,at', 'a,1,2026-01-01T00:00:00.123Z');
    await load(dir, source('x.csv'));
    const [name] = readdirSync(join(dir, 'state/history'));
    expect(name).toBe('2026-06-01T00-00-00-000Z.parquet');
    const facts = new LoadedFacts(join(dir, 'state'), source('x.csv'));
    await withDb(facts, async (db) => {
      const read = `read_parquet(${text(join(dir, 'state/history', name!))})`;
      expect([...(await db.columns(read))]).toEqual([
        ['k', 'VARCHAR'],
        ['v', 'VARCHAR'],
        ['at', 'TIMESTAMP WITH TIME ZONE'],
        ['fact_id', 'BIGINT'],
      ]);
      const { at_ms } = await db.row(`SELECT epoch_ms("at") AS at_ms FROM ${read}`);
      expect(Number(at_ms)).toBe(parseTimestampMs('2026-01-01T00:00:00.123Z'));
    });
  });
});

describe('what is left behind', () => {
  const three = (dir: string): void =>
    csv(dir, 'x.csv', 'k,v,at', ...['a', 'b', 'c'].map((k) => `${k},1,2026-01-01T00:00:00Z`));
  const state = (dir: string): string[] => readdirSync(join(dir, 'state')).sort();

  test('half-written files are none', async () => {
    const dir = folder();
    three(dir);
    await find(dir, source('x.csv'));
    const [pending] = state(dir).filter((name) => name.startsWith('pending-'));
    renameSync(join(dir, 'state', pending!), join(dir, 'state', `${pending}.part`));
    writeFileSync(join(dir, 'state/history/2020-01-01T00-00-00-000Z.parquet.part'), 'PAR');
    expect(await finish(dir, source('x.csv'))).toEqual([]);
    expect(short(await load(dir, source('x.csv')))).toHaveLength(3);
    expect(readdirSync(join(dir, 'state/history'))).toHaveLength(1);
  });

  test('a torn or foreign note of progress is none', async () => {
    const dir = folder();
    three(dir);
    const from = source('x.csv');
    await find(dir, from);
    const facts = new LoadedFacts(join(dir, 'state'), from);
    await withDb(facts, async (db) => {
      const pending = (await facts.pending(db))!;
      expect(pending).toMatchObject({ facts: 3, done: 0, refused: [] });
      facts.progress({ ...pending, done: 2, refused: [1] });
      expect(await facts.pending(db)).toMatchObject({ done: 2, refused: [1] });
      const left: EventRow[] = [];
      for await (const rows of facts.pendingFacts(db, { ...pending, done: 2 })) left.push(...rows);
      expect(short(left)).toEqual([['c', '1']]);
      for (const torn of ['', '{"na', '[]', '{"name":"other","done":2,"refused":[]}', 'null']) {
        writeFileSync(join(dir, 'state/progress.json'), torn);
        expect(await facts.pending(db)).toMatchObject({ done: 0, refused: [] });
      }
    });
  });

  test('what was refused is no history; a load that became history is not pushed again', async () => {
    const dir = folder();
    three(dir);
    const from = source('x.csv');
    await find(dir, from);
    const [pending] = state(dir).filter((name) => name.startsWith('pending-'));
    copyFileSync(join(dir, 'state', pending!), join(dir, 'kept'));
    expect(await finish(dir, from, [1])).toHaveLength(3);
    // As if it had been killed before it was removed.
    copyFileSync(join(dir, 'kept'), join(dir, 'state', pending!));
    expect(await finish(dir, from)).toEqual([]);
    expect(existsSync(join(dir, 'state', pending!))).toBe(false);
    expect(short(await load(dir, from, NOW_MS + 5))).toEqual([['b', '1']]);
    expect(await load(dir, from, NOW_MS + 6)).toEqual([]);
  });

  test('where all was refused there is no history at all', async () => {
    const dir = folder();
    three(dir);
    const from = source('x.csv');
    await find(dir, from);
    await finish(dir, from, [0, 1, 2]);
    expect(readdirSync(join(dir, 'state/history'))).toEqual([]);
    expect(await load(dir, from)).toHaveLength(3);
  });
});
