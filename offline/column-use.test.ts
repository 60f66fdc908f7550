/** Closures that read columns in every way: the columns are fetched, whether or not they could be seen to be needed. */

import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { describeTrainingSet } from '../cli/offline/training-set.ts';
import { columnUse } from './column-use.ts';
import { DuckDb } from './duckdb.ts';
import { EventHistory } from './event-history.ts';
import { trainingSetFile } from './make-training-set.ts';
import { tableFiles } from './table-files.ts';
import { CLOSURES, events, LATE, repo, type Thing, things } from './testing/closures.ts';
import { type Rows, writeTable } from './testing/table-writers.ts';
import { trainingSetInThreads } from './testing/training-set-in-threads.ts';

const dir = mkdtempSync(join(tmpdir(), 'millrace-column-use-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const history: Rows = {
  types: { key: 'string', at: 'timestamp', n: 'integer', kind: 'string', extra: 'integer', more: 'integer' },
  rows: events as unknown as Rows['rows'],
};
const END_MS = events.at(-1)!.at;
const rowsOfSpine = ['even', 'odd', 'even'].map((key, i) => ({
  key,
  timestamp: i === 2 ? END_MS - 1_000 : END_MS,
}));

let files: { readonly spine: string; readonly history: string };

beforeAll(async () => {
  files = {
    spine: await writeTable(join(dir, 'spine.parquet'), {
      types: { key: 'string', timestamp: 'timestamp' },
      rows: rowsOfSpine,
    }),
    history: await writeTable(join(dir, 'history.parquet'), history),
  };
});

/** What the closures themselves say of an event; null: it does not count. */
function countedValue(name: string, row: Thing): number | null {
  const { filter, from = (own: Thing) => own.n } = CLOSURES[name]!;
  try {
    return filter !== undefined && filter(row) !== true ? null : from(row);
  } catch {
    return null;
  }
}

function expectedOf(name: string): [n: number, sum: number][] {
  return rowsOfSpine.map(({ key, timestamp }) => {
    const values = events
      .filter((row) => row.key === key && row.at <= timestamp)
      .map((row) => countedValue(name, row))
      .filter((value) => value !== null);
    return [values.length, values.reduce((sum, value) => sum + value, 0)];
  });
}

const threadModule = {
  url: new URL('./testing/evaluation-thread.mjs', import.meta.url),
  data: new URL('./testing/closures.ts', import.meta.url).href,
};

type Summary = Awaited<ReturnType<typeof trainingSetFile>>;

async function made(name: string): Promise<{ summary: Summary; rows: [number, number][] }> {
  const out = join(dir, `${name}.ndjson`);
  const summary = await trainingSetFile({ ...{ repo, service: `of_${name}`, ...files, out }, threads: 1 });
  const rows = readFileSync(out, 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, number>);
  return { summary, rows: rows.map((row) => [row[`${name}_n`]!, row[`${name}_sum`]!]) };
}

/** What is fetched and pushed down at first. */
async function useOf(name: string): Promise<{ fetched: readonly string[]; isPushedDown: boolean }> {
  const db = await DuckDb.open({ memoryBytes: 2 ** 28, threads: 1, spillDir: dir });
  try {
    const opened = await EventHistory.open(db, things, await tableFiles(files.history), dir);
    const { fetched, filter } = await columnUse(db, repo.views.get(name)!, opened);
    return { fetched, isPushedDown: filter !== null };
  } finally {
    db.close();
  }
}

test.each(Object.keys(CLOSURES))('%s: the values are those of the closures', async (name) => {
  expect((await made(name)).rows).toEqual(expectedOf(name));
});

describe('a column that is read late', () => {
  test.each([
    ['reads_late', ['n']],
    ['reads_two_late', ['n']],
    ['catches_late', ['n']],
    ['spreads_late', ['n']],
    ['filters_late', ['n']],
    ['filters_late_catching', ['n']],
    ['names_late', ['n']],
  ])('%s: is not seen to be needed', async (name, fetched) => {
    expect(await useOf(name)).toEqual({ fetched, isPushedDown: false });
    // Those it is needed for are there.
    expect(events.length).toBeGreaterThan(LATE);
  });

  test('takes back what was found before it', async () => {
    // Rows of a key before, more than a batch: their values are there when the column is missed.
    const before = Array.from({ length: 20_000 }, () => ({ key: 'a', timestamp: END_MS }));
    const spine = await writeTable(join(dir, 'before.parquet'), {
      types: { key: 'string', timestamp: 'timestamp' },
      rows: [...before, ...rowsOfSpine],
    });
    const out = join(dir, 'before.ndjson');
    const summary = await trainingSetFile({
      ...{ repo, service: 'of_reads_late', ...files, spine, out, threads: 1 },
    });
    expect(summary.views[0]!.rows).toBe(20_003);
    const lines = readFileSync(out, 'utf8').trimEnd().split('\n');
    expect(lines.length).toBe(20_003);
    const values = lines.slice(-3).map((line) => JSON.parse(line) as Record<string, number>);
    expect(values.map((row) => [row.reads_late_n, row.reads_late_sum])).toEqual(expectedOf('reads_late'));
  });

  test('begins the view anew in threads as well', async () => {
    const name = 'reads_two_late';
    const given = { repo, service: `of_${name}`, ...files, threads: 2, threadModule };
    const { table, summary } = await trainingSetInThreads(given);
    const [counts, sums] = ['n', 'sum'].map((of) => table.getChild(`${name}_${of}`)!);
    const rows = Array.from({ length: table.numRows }, (_, i) =>
      [counts, sums].map((of) => Number(of!.get(i))),
    );
    expect(rows).toEqual(expectedOf(name));
    expect(summary.views).toMatchObject([{ rows: 3, events: 4_000, refused: 0 }]);
  });
});

describe('who looks at what there is', () => {
  test.each(['names', 'spreads', 'asks_whether'])('%s: is given everything', async (name) => {
    expect((await useOf(name)).fetched).toEqual(Object.keys(things.columns));
  });
});

describe('a filter', () => {
  test.each([
    ['of_a_kind', 1_333],
    ['of_no_kind', 1_333],
    // Events that the filter fails on are refused where the rest is.
    ['filter_throws', 2_667],
  ])('%s: is asked once for each value, and DuckDB keeps what is left', async (name, events) => {
    expect((await useOf(name)).isPushedDown).toBe(true);
    const { summary } = await made(name);
    expect(Math.abs(summary.views[0]!.events - events)).toBeLessThanOrEqual(3);
  });

  test.each(['of_two', 'by_a_value', 'rare_reads_more', 'of_none', 'of_all'])('%s: is not', async (name) => {
    expect((await useOf(name)).isPushedDown).toBe(false);
    expect((await made(name)).summary.views[0]!.events).toBe(4_000);
  });
});

describe('events that closures fail on', () => {
  test('do not count, and are told', async () => {
    const { summary } = await made('throws');
    expect(summary.views).toMatchObject([{ events: 4_000, refused: 400 }]);
    expect(describeTrainingSet('out.csv', summary, 1_000)).toContain(
      '400 events do not count in throws: its filter or a projection failed',
    );
  });

  test('or give no answer on', async () => {
    const { summary } = await made('no_answer');
    const answered = events.filter(({ kind }) => kind === 'a').length;
    expect(summary.views).toMatchObject([{ events: 4_000, refused: 4_000 - answered }]);
  });
});
