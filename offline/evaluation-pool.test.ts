/** One thread or several, or none but this one: the same values, those that SQL counts; also where a key is in many batches. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { DuckDb, text } from './duckdb.ts';
import { evaluationPool, inOrder } from './evaluation-pool.ts';
import { trainingSet } from './make-training-set.ts';
import { repo } from './testing/clicks.ts';
import { trainingSetInThreads } from './testing/training-set-in-threads.ts';

const dir = mkdtempSync(join(tmpdir(), 'millrace-threads-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const history = join(dir, 'history.parquet');
const spine = join(dir, 'spine.parquet');
let expected: unknown[];

/**
 * A key with 45,000 events between keys before and behind it, 20,000 more of them in one millisecond, which is more than a
 * batch; rows of the spine on and between events.
 */
const EVENTS = `
  SELECT CASE WHEN i < 45000 THEN 'middle' WHEN i % 2 = 0 THEN 'a' || (i % 89) ELSE 'z' || (i % 97) END AS key,
    CAST(1700000000000 + (i * 7919) % 600000 AS BIGINT) AS at, CAST((i * 31) % 1000 AS BIGINT) AS v
  FROM range(90000) t(i)
  UNION ALL SELECT 'middle', 1700000300000, 1000 + i FROM range(20000) t(i)`;
const ROWS = `
  SELECT CAST(i AS INTEGER) AS label, CASE WHEN i % 3 = 0 THEN 'middle' WHEN i % 3 = 1 THEN 'a' || (2 * (i % 50)) ELSE 'z' || (i % 97) END AS key,
    CAST(1700000000000 + (i * 104729) % 660000 AS BIGINT) AS timestamp
  FROM range(3000) t(i)
  UNION ALL SELECT 3000 + i, 'middle', 1700000300000 - 1 + i FROM range(3) t(i)`;

beforeAll(async () => {
  const db = await DuckDb.open({ memoryBytes: 2 ** 29, threads: 2, spillDir: dir });
  try {
    await db.run(`COPY (${EVENTS}) TO ${text(history)} (FORMAT parquet)`);
    await db.run(`COPY (${ROWS}) TO ${text(spine)} (FORMAT parquet)`);
    expected = (
      await db.rows(
        `SELECT s.label, count(e.at) AS n, count(e.at) FILTER (e.at > s.timestamp - 1000) AS n_1s,
           coalesce(sum(e.v) FILTER (e.at > s.timestamp - 60000), 0)::BIGINT AS total_1m
         FROM ${text(spine)} s LEFT JOIN ${text(history)} e ON e.key = s.key AND e.at <= s.timestamp
         GROUP BY 1 ORDER BY 1`,
      )
    ).map((row) => Object.values(row).map(Number));
  } finally {
    db.close();
  }
});

const threadModule = {
  url: new URL('./testing/evaluation-thread.mjs', import.meta.url),
  data: new URL('./testing/clicks.ts', import.meta.url).href,
};

async function made(threads: number | 'here'): Promise<{ counts: unknown[]; newest: unknown[] }> {
  const given = { repo, service: 'all', spine, history };
  const table =
    threads === 'here'
      ? await trainingSet({ ...given, threads: 1 })
      : (await trainingSetInThreads({ ...given, threads, threadModule })).table;
  const columns = ['label', 'n', 'n_1s', 'total_1m'].map((name) => table.getChild(name)!);
  return {
    counts: Array.from({ length: table.numRows }, (_, i) => columns.map((column) => Number(column.get(i)))),
    newest: Array.from(table.getChild('newest')!, (list) =>
      list === null ? null : Array.from(list as Iterable<bigint>, Number),
    ),
  };
}

test('the values do not depend on the threads', async () => {
  const here = await made('here');
  expect(here.counts).toEqual(expected);
  // The three rows around the full millisecond: before it, at it, and behind it, by the order of arrival.
  expect(here.newest.slice(-2)).toEqual([[20_997, 20_998, 20_999], expect.anything()]);
  for (const threads of [1, 2, 3]) expect(await made(threads)).toEqual(here);
});

describe('a thread that fails', () => {
  const empty = (): Float64Array => new Float64Array(0);
  const batch = () => ({
    ...{ rows: 0, keys: empty(), times: empty(), places: empty(), positions: empty(), ids: null },
    columns: [],
  });
  const emptyRows = () => ({ places: empty(), times: empty(), request: [], keys: [], inputs: [] });

  test('to start is told', async () => {
    const nowhere = { url: threadModule.url, data: new URL('./testing/nothing.ts', import.meta.url).href };
    const pool = evaluationPool(repo, 2, nowhere);
    try {
      await expect(pool.ready).rejects.toThrow(/nothing/);
      await expect(pool.view(batch())).rejects.toThrow(/nothing/);
      await expect(pool.onDemand(emptyRows())).rejects.toThrow(/nothing/);
    } finally {
      await pool.close();
    }
  });

  test('to begin what it has in another way is told, and ends what waits for it', async () => {
    const other = { url: threadModule.url, data: new URL('./testing/payments.ts', import.meta.url).href };
    const pool = evaluationPool(repo, 2, other);
    try {
      await pool.ready;
      const { namespace } = repo.views.get('clicks_by_key')!;
      pool.begin({ kind: 'view', view: 'clicks_by_key', namespace, features: [], fetched: [] });
      // The first goes to that thread.
      await expect(pool.view(batch())).rejects.toThrow(/was changed meanwhile/);
      await expect(pool.view(batch())).rejects.toThrow(/was changed meanwhile/);
    } finally {
      await pool.close();
    }
  });
});

describe('batches in order', () => {
  const numbers = async function* (): AsyncGenerator<number> {
    yield* [0, 1, 2, 3, 4, 5];
  };

  test('are told in their order, whichever is done first', async () => {
    const told: number[] = [];
    const waiting: (() => void)[] = [];
    const evaluate = (n: number): Promise<number> =>
      new Promise((resolve) => {
        waiting.push(() => resolve(n));
        // The newest of each three is done first.
        if (waiting.length === 3 || n === 5) for (const done of waiting.splice(0).reverse()) done();
      });
    await inOrder({ inFlightMax: 3 }, numbers(), evaluate, async (n) => void told.push(n));
    expect(told).toEqual([0, 1, 2, 3, 4, 5]);
  });

  test('end at the first failure, once none is under way', async () => {
    const told: number[] = [];
    const evaluate = async (n: number): Promise<number> => {
      if (n === 2) throw new Error('at 2');
      return n;
    };
    const made = inOrder({ inFlightMax: 3 }, numbers(), evaluate, async (n) => void told.push(n));
    await expect(made).rejects.toThrow('at 2');
    expect(told).toEqual([0, 1]);
  });
});
