/** What is written has the same values in every format, with types and metadata as documented, in the order of the spine. */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import * as flechette from '@uwdata/flechette';
import * as arrow from 'apache-arrow';
import { parse } from 'csv-parse/sync';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { DuckDb, text } from './duckdb.ts';
import { trainingSetFile } from './make-training-set.ts';
import { canonicalValue, parsedJson } from './testing/canonical-value.ts';
import { expectedFeatures, FEATURE_TYPES, history, ODD, repo, spine } from './testing/payments.ts';
import { writeTable } from './testing/table-writers.ts';

const dir = mkdtempSync(join(tmpdir(), 'millrace-training-file-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

let inputs: { readonly spine: string; readonly history: string };

beforeAll(async () => {
  inputs = {
    spine: await writeTable(join(dir, 'spine.parquet'), spine),
    history: await writeTable(join(dir, 'history.parquet'), history),
  };
});

async function written(name: string): Promise<string> {
  const out = join(dir, name);
  const summary = await trainingSetFile({ repo, service: 'all', ...inputs, out, threads: 1 });
  expect(summary).toMatchObject({ rows: 6, resumed: false });
  return out;
}

async function queried(sql: string): Promise<Record<string, unknown>[]> {
  const db = await DuckDb.open({ memoryBytes: 2 ** 28, threads: 1, spillDir: '' });
  try {
    return await db.rows(sql);
  } finally {
    db.close();
  }
}

/** Rows as JSON: the bindings would take a byte order mark off. */
async function parquetRows(file: string): Promise<Record<string, unknown>[]> {
  const rows = await queried(
    `SELECT CAST(to_json(t) AS VARCHAR) AS json FROM (SELECT * FROM read_parquet(${text(file)})) t`,
  );
  return rows.map(({ json }) => parsedJson(json as string) as Record<string, unknown>);
}

const TYPES: Readonly<Record<string, readonly [string, string]>> = {
  ...Object.fromEntries(Object.entries(spine.types).map(([name, type]) => [name, [type, 'string'] as const])),
  ...FEATURE_TYPES,
};

const expected = spine.rows.map((row, i) => ({
  ...Object.fromEntries(
    Object.entries(spine.types).map(([name, type]) => [name, canonicalValue(type, 'string', row[name])]),
  ),
  ...expectedFeatures[i],
}));

function expectRows(
  rows: readonly Readonly<Record<string, unknown>>[],
  clean = (value: unknown) => value,
): void {
  expect(rows.map((row) => Object.keys(row))).toEqual(rows.map(() => Object.keys(TYPES)));
  const canonical = rows.map((row) =>
    Object.fromEntries(
      Object.entries(TYPES).map(([name, [type, column]]) => [name, canonicalValue(type, column, row[name])]),
    ),
  );
  expect(canonical).toEqual(clean(expected));
}

/** Both libraries' decoders take a byte order mark off. */
function unmarked(value: unknown): unknown {
  if (typeof value === 'string') return value.replace(/^\ufeff/, '');
  if (Array.isArray(value)) return value.map(unmarked);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, v]) => [key, unmarked(v)]));
}

const METADATA = [
  'millrace.service',
  'millrace.views',
  'millrace.features',
  'millrace.history',
  'millrace.spine',
];

function expectMetadata(metadata: Readonly<Record<string, string>>): void {
  expect(Object.keys(metadata)).toEqual(expect.arrayContaining(METADATA));
  expect(metadata['millrace.service']).toBe('all');
  expect(JSON.parse(metadata['millrace.features']!)).toEqual(
    Object.entries(FEATURE_TYPES).map(([name, [type]]) => ({ name, type })),
  );
  expect(JSON.parse(metadata['millrace.history']!)).toEqual({
    payments: {
      ...{ events: 5, refused: {} },
      ...{ first_ms: history.rows[0]!.at, last_ms: history.rows[4]!.at },
    },
  });
  expect(JSON.parse(metadata['millrace.spine']!)).toEqual({ rows: 6, time: 'timestamp', event_id: null });
  const { namespace, fingerprint } = repo.views.get('payments_by_card')!;
  expect(JSON.parse(metadata['millrace.views']!)).toEqual({ payments_by_card: { namespace, fingerprint } });
}

/** DuckDB's, as `feature-transport.ts` and the README have them. */
const SQL_TYPES = {
  ...{ card: 'VARCHAR', timestamp: 'TIMESTAMP WITH TIME ZONE', label: 'BIGINT', code: 'VARCHAR' },
  ...{ weight: 'DOUBLE', kept: 'BOOLEAN', reviewed: 'TIMESTAMP WITH TIME ZONE' },
  ...{ n: 'BIGINT', total: 'DOUBLE', amounts: 'DOUBLE[]', shop: 'VARCHAR', shops: 'VARCHAR[]' },
  shops_n: 'MAP(VARCHAR, BIGINT)',
  shops_settled: 'MAP(VARCHAR, TIMESTAMP WITH TIME ZONE)',
  shops_top: 'STRUCT("value" VARCHAR, "count" BIGINT)[]',
  ...{ online: 'BOOLEAN', onlines: 'BOOLEAN[]', pin: 'BIGINT', pins: 'BIGINT[]' },
  ...{ account: 'BIGINT', accounts: 'BIGINT[]' },
  accounts_top: 'STRUCT("value" BIGINT, "count" BIGINT)[]',
  ...{ settled: 'TIMESTAMP WITH TIME ZONE', settleds: 'TIMESTAMP WITH TIME ZONE[]' },
};

describe('Parquet', () => {
  test('has the values, the types and the metadata', async () => {
    const out = await written('set.parquet');
    expectRows(await parquetRows(out));
    const columns = await queried(`DESCRIBE SELECT * FROM read_parquet(${text(out)})`);
    expect(
      Object.fromEntries(
        columns.map(({ column_name, column_type }) => [
          column_name,
          String(column_type).replaceAll(', count ', ', "count" '),
        ]),
      ),
    ).toEqual(SQL_TYPES);
    const metadata = await queried(
      `SELECT decode(key) AS key, decode(value) AS value FROM parquet_kv_metadata(${text(out)})`,
    );
    expectMetadata(Object.fromEntries(metadata.map(({ key, value }) => [key, value as string])));
  });
});

describe('Arrow', () => {
  const ARROW_TYPES = {
    ...{ card: 'Utf8', timestamp: 'Timestamp<MICROSECOND, UTC>', label: 'Int64', code: 'Utf8' },
    ...{ weight: 'Float64', kept: 'Bool', reviewed: 'Timestamp<MICROSECOND, UTC>' },
    ...{ n: 'Int64', total: 'Float64', amounts: 'List<Float64>', shop: 'Utf8', shops: 'List<Utf8>' },
    shops_n: 'Map<{key:Utf8, value:Int64}>',
    shops_settled: 'Map<{key:Utf8, value:Timestamp<MILLISECOND, UTC>}>',
    shops_top: 'List<Struct<{value:Utf8, count:Int64}>>',
    ...{ online: 'Bool', onlines: 'List<Bool>', pin: 'Int64', pins: 'List<Int64>' },
    ...{ account: 'Int64', accounts: 'List<Int64>' },
    accounts_top: 'List<Struct<{value:Int64, count:Int64}>>',
    ...{ settled: 'Timestamp<MICROSECOND, UTC>', settleds: 'List<Timestamp<MILLISECOND, UTC>>' },
  };

  test('has the values, the types and the metadata: apache-arrow', async () => {
    const table = arrow.tableFromIPC(readFileSync(await written('set.arrow')));
    expect(Object.fromEntries(table.schema.fields.map(({ name, type }) => [name, String(type)]))).toEqual(
      ARROW_TYPES,
    );
    expectMetadata(Object.fromEntries(table.schema.metadata));
    const rows = Array.from(
      { length: table.numRows },
      (_, i) => table.get(i)!.toJSON() as Record<string, unknown>,
    );
    expectRows(rows, (value) => unmarked(value));
  });

  test('has the values and the metadata: flechette', async () => {
    const table = flechette.tableFromIPC(readFileSync(await written('set.arrow')), {
      useBigInt: true,
      useMap: true,
    });
    expectMetadata(Object.fromEntries(table.schema.metadata!));
    expectRows(table.toArray() as Record<string, unknown>[], (value) => unmarked(value));
  });

  test('has texts to the byte, also in lists, maps and pairs', async () => {
    const table = arrow.tableFromIPC(readFileSync(await written('set.arrow')));
    const exact = (data: arrow.Data, i: number): string => {
      const bytes = (data.values as Uint8Array).subarray(data.valueOffsets[i], data.valueOffsets[i + 1]);
      return Buffer.from(bytes).toString('utf8');
    };
    const dataOf = (name: string): arrow.Data => table.getChild(name)!.data[0]!;
    expect(exact(dataOf('card'), 1)).toBe(ODD);
    expect(exact(dataOf('code'), 1)).toBe(ODD);
    expect(exact(dataOf('shop'), 0)).toBe(ODD);
    expect(exact(dataOf('shops').children[0]!, 0)).toBe(ODD);
    expect(exact(dataOf('shops_n').children[0]!.children[0]!, 1)).toBe(ODD);
    expect(exact(dataOf('shops_top').children[0]!.children[0]!, 0)).toBe(ODD);
  });

  test('that is read has its keys to the byte', async () => {
    const out = join(dir, 'keys.ndjson');
    const arrows = await writeTable(join(dir, 'spine.arrow'), spine);
    await trainingSetFile({ repo, service: 'all', history: inputs.history, threads: 1, spine: arrows, out });
    const rows = readFileSync(out, 'utf8').trimEnd().split('\n');
    expect(JSON.parse(rows[1]!)).toMatchObject({ card: ODD, code: ODD, n: 1 });
  });
});

const gunzipped = (file: string): string => gunzipSync(readFileSync(file)).toString('utf8');

function expectSidecar(out: string): void {
  const { columns, ...metadata } = JSON.parse(readFileSync(`${out}.metadata.json`, 'utf8')) as Record<
    string,
    string
  > & {
    readonly columns: unknown;
  };
  expectMetadata(metadata);
  expect(columns).toEqual(
    Object.entries(SQL_TYPES).map(([name, type]) => ({
      name,
      type,
      feature: FEATURE_TYPES[name]?.[0] ?? null,
    })),
  );
}

const ISO = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}(\d{3})?Z$/;

describe('CSV', () => {
  test.each(['set.csv', 'set.csv.gz'])('%s has the values, and the metadata beside it', async (name) => {
    const out = await written(name);
    const content = name.endsWith('.gz') ? gunzipped(out) : readFileSync(out, 'utf8');
    // Without `bom` a mark at the beginning of a field is left alone.
    const rows = parse(content, {
      columns: true,
      cast: (value, { quoting }) => (value === '' && !quoting ? null : value),
    });
    expectRows(rows as Record<string, unknown>[]);
    expectSidecar(out);
    const [row] = rows as Record<string, string>[];
    for (const time of [row!.timestamp, row!.settled, ...JSON.parse(row!.settleds!)])
      expect(time).toMatch(ISO);
    expect(Object.values(JSON.parse(row!.shops_settled!) as object)).toContainEqual(
      expect.stringMatching(ISO),
    );
  });
});

describe('NDJSON', () => {
  test.each(['set.ndjson', 'set.ndjson.gz'])(
    '%s has the values, and the metadata beside it',
    async (name) => {
      const out = await written(name);
      const content = name.endsWith('.gz') ? gunzipped(out) : readFileSync(out, 'utf8');
      const rows = content
        .trimEnd()
        .split('\n')
        .map((line) => parsedJson(line) as Record<string, unknown>);
      expectRows(rows);
      expectSidecar(out);
      for (const time of [rows[0]!.timestamp, rows[0]!.settled, ...(rows[0]!.settleds as string[])])
        expect(time).toMatch(ISO);
      expect(Object.values(rows[0]!.shops_settled as object)).toContainEqual(expect.stringMatching(ISO));
    },
  );

  test('every line is JSON, also where a label is no number', async () => {
    const labels = join(dir, 'labels.parquet');
    await queried(
      `COPY (SELECT 'a' AS card, 5::BIGINT AS timestamp, unnest(['NaN', 'Infinity', '1.5'])::DOUBLE AS x) TO ${text(labels)}`,
    );
    const out = join(dir, 'labels.ndjson');
    await trainingSetFile({ repo, service: 'all', ...inputs, spine: labels, out, threads: 1 });
    const lines = readFileSync(out, 'utf8').trimEnd().split('\n');
    expect(lines.map((line) => (JSON.parse(line) as { x: number | null }).x)).toEqual([null, null, 1.5]);
  });
});

test('nothing is left beside what was made', async () => {
  for (const format of ['parquet', 'arrow', 'csv', 'ndjson'])
    await written(`left/../left-${format}.${format}`);
  expect(readdirSync(dir).filter((name) => /part|work|tmp/.test(name))).toEqual([]);
});

test('a former file is replaced, and stays where the new one cannot be made', async () => {
  const out = join(dir, 'former.csv');
  writeFileSync(out, 'former');
  await expect(
    trainingSetFile({ repo, service: 'all', ...inputs, spine: join(dir, 'none.csv'), out, threads: 1 }),
  ).rejects.toThrow('there is no such file');
  expect(readFileSync(out, 'utf8')).toBe('former');
  await written('former.csv');
  expect(readFileSync(out, 'utf8')).toMatch(/^card,timestamp/);
  expect(existsSync(`${out}.part`)).toBe(false);
});
