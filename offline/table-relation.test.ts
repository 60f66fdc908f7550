/** The same history and the same spine in every format that is read: the same training set. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { type TrainingInput, trainingSet } from './make-training-set.ts';
import { featureValueOf } from './testing/arrow-values.ts';
import { canonicalValue } from './testing/canonical-value.ts';
import { expectedFeatures, FEATURE_TYPES, history, repo, spine } from './testing/payments.ts';
import {
  arrowTableOf,
  csvText,
  type Extension,
  ndjsonText,
  type Rows,
  writeTable,
} from './testing/table-writers.ts';

const dir = mkdtempSync(join(tmpdir(), 'millrace-formats-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const write = (name: string, rows: Rows): Promise<string> => writeTable(join(dir, name), rows);

interface Made {
  readonly features: readonly Readonly<Record<string, unknown>>[];
  readonly labels: readonly Readonly<Record<string, unknown>>[];
}

/** Arrow's library takes a byte order mark off: see `arrow-output.test.ts` for texts to the byte. */
const unmarked = (value: unknown): unknown => {
  if (typeof value === 'string') return value.replace(/^\ufeff/, '');
  return Array.isArray(value) ? value.map(unmarked) : value;
};

const expected = expectedFeatures.map((row) =>
  Object.fromEntries(Object.entries(row).map(([name, value]) => [name, unmarked(value)])),
);

const expectedLabels = spine.rows.map((row) =>
  Object.fromEntries(
    Object.entries(spine.types).map(([name, type]) => [
      name,
      unmarked(canonicalValue(type, 'string', row[name])),
    ]),
  ),
);

async function made(given: { spine: TrainingInput; history: TrainingInput }): Promise<Made> {
  const table = await trainingSet({ repo, service: 'all', threads: 2, ...given });
  const rows = Array.from(
    { length: table.numRows },
    (_, i) => table.get(i)!.toJSON() as Record<string, unknown>,
  );
  return {
    features: rows.map((row) =>
      Object.fromEntries(
        Object.entries(FEATURE_TYPES).map(([name, [type, column]]) => {
          const value = featureValueOf(type, column, row[name]);
          const pairs = (v: unknown): unknown =>
            Array.isArray(v) && type === 'pair[]' ? v.map(([value, count]) => ({ value, count })) : v;
          return [name, unmarked(canonicalValue(type, column, pairs(value)))];
        }),
      ),
    ),
    labels: rows.map((row) =>
      Object.fromEntries(
        Object.entries(spine.types).map(([name, type]) => [name, canonicalValue(type, 'string', row[name])]),
      ),
    ),
  };
}

async function expectRight(given: { spine: TrainingInput; history: TrainingInput }): Promise<void> {
  const { features, labels } = await made(given);
  expect(labels).toEqual(expectedLabels);
  expect(features).toEqual(expected);
}

const EXTENSIONS: readonly Extension[] = [
  'parquet',
  'csv',
  'csv.gz',
  'ndjson',
  'ndjson.gz',
  'arrow',
  'arrows',
];

describe('one file', () => {
  test.each(EXTENSIONS)('.%s as history and as spine', async (extension) => {
    await expectRight({
      spine: await write(`one/spine.${extension}`, spine),
      history: await write(`one/history.${extension}`, history),
    });
  });

  test('tables in memory', async () => {
    await expectRight({ spine: arrowTableOf(spine), history: arrowTableOf(history) });
  });
});

/** Rows in as many files, some with fewer columns: those that are null in all of their rows. */
async function parts(
  folder: string,
  rows: Rows,
  extension: Extension,
  names: readonly string[],
): Promise<void> {
  const size = Math.ceil(rows.rows.length / names.length);
  for (const [n, name] of names.entries())
    await write(`${folder}/${name}.${extension}`, {
      ...rows,
      rows: rows.rows.slice(n * size, (n + 1) * size),
    });
}

const MANY = ['parquet', 'csv', 'csv.gz', 'ndjson', 'ndjson.gz', 'arrow', 'arrows'] as const;

describe('several files', () => {
  test.each(MANY)('.%s by a pattern, one row each', async (extension) => {
    await parts(`glob-${extension}/s`, spine, extension, ['1', '2', '3', '4', '5', '6']);
    await parts(`glob-${extension}/h`, history, extension, ['a', 'b', 'c', 'd', 'e']);
    await expectRight({
      spine: join(dir, `glob-${extension}/s/*.${extension}`),
      history: join(dir, `glob-${extension}/h/[a-z].${extension}`),
    });
  });

  test.each(MANY)('.%s in folders named by columns, beside what is no data', async (extension) => {
    const spineFolder = `hive-${extension}/spine`;
    const folder = `hive-${extension}/history`;
    await parts(spineFolder, spine, extension, ['label=9/day=2024-01-01/0', 'label=9/day=2024-01-02/0']);
    await parts(folder, history, extension, ['amount=9/day=2024-01-01/0', 'amount=9/day=2024-01-02/0']);
    writeFileSync(join(dir, folder, '_SUCCESS'), '');
    mkdirSync(join(dir, folder, 'empty.parquet'));
    await expectRight({ spine: join(dir, spineFolder), history: join(dir, folder) });
  });

  test('of a folder come in the order of their names, rows within them as they stand', async () => {
    const rows = Array.from({ length: 5_000 }, (_, label) => ({ ...spine.rows[0]!, label }));
    await parts('order', { ...spine, rows }, 'parquet', ['0', '1', '2']);
    const table = await trainingSet({
      ...{ repo, service: 'all', threads: 2, spine: join(dir, 'order') },
      history: await write('order-history.parquet', history),
    });
    expect(Array.from(table.getChild('label')!, Number)).toEqual(rows.map(({ label }) => label));
  });
});

describe('CSV as it stands', () => {
  const made = async (name: string, lines: string): Promise<Record<string, unknown>[]> => {
    writeFileSync(join(dir, name), lines);
    const table = await trainingSet({
      ...{ repo, service: 'all', threads: 1, spine: join(dir, name) },
      history: await write('plain-history.parquet', history),
    });
    return Array.from({ length: table.numRows }, (_, i) => table.get(i)!.toJSON() as Record<string, unknown>);
  };

  test('a row that begins with # is a row', async () => {
    const rows = await made('hash.csv', 'card,timestamp,x\na,5,1\n#1,6,2\na,7,3\n');
    expect(rows.map(({ x }) => Number(x))).toEqual([1, 2, 3]);
  });

  test('line ends of Windows, a mark in front of the header and quotes in it', async () => {
    const rows = await made('windows.csv', '\ufeff"card","timestamp","x, ""y"""\r\na,5,1\r\n');
    expect(Object.keys(rows[0]!).slice(0, 3)).toEqual(['card', 'timestamp', 'x, "y"']);
    expect(Number(rows[0]!['x, "y"'])).toBe(1);
  });

  test('of two columns with one name the first counts', async () => {
    const rows = await made('twice.csv', 'card,timestamp,card,n_\na,5,zzz,1\n');
    expect(rows[0]!.card).toBe('a');
  });

  test('columns in another order in another file, and one that is missing there', async () => {
    writeFileSync(join(dir, 'mixed-2.csv'), 'timestamp,card\n6,b\n');
    await made('mixed-1.csv', 'card,timestamp,x\na,5,1\n');
    const table = await trainingSet({
      ...{ repo, service: 'all', threads: 1, spine: join(dir, 'mixed-*.csv') },
      history: await write('plain-history.parquet', history),
    });
    expect(Array.from(table.getChild('card')!)).toEqual(['a', 'b']);
    expect(Array.from(table.getChild('x')!)).toEqual([1n, null]);
  });

  test('an empty file among others has no rows', async () => {
    mkdirSync(join(dir, 'with-empty'), { recursive: true });
    writeFileSync(join(dir, 'with-empty/0.csv'), '');
    writeFileSync(join(dir, 'with-empty/1.csv'), csvText(history));
    await expectRight({
      spine: await write('with-empty-spine.parquet', spine),
      history: join(dir, 'with-empty'),
    });
  });
});

describe('labels of texts have the type that loses nothing', () => {
  const labels = {
    '007': 'Utf8',
    '12345678901234567890': 'Utf8',
    F: 'Utf8',
    '01/02/2024': 'Utf8',
    nan: 'Utf8',
    '10:30:00': 'Utf8',
    '-0': 'Float64',
    'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11': 'Utf8',
    '9223372036854775807': 'Int64',
    '-1': 'Int64',
    '1.50': 'Float64',
    '0.1234567890123456': 'Float64',
    true: 'Bool',
    '2024-01-05': 'Timestamp<MICROSECOND, UTC>',
    '2024-01-05T10:00:00.123456Z': 'Timestamp<MICROSECOND, UTC>',
    '2024-01-05 10:00:00': 'Timestamp<MICROSECOND, UTC>',
  };

  test('in CSV', async () => {
    const fields = Object.keys(labels);
    const lines = ['card,timestamp', 'a,5', 'b,6'];
    const columns = fields.map((_, c) => `l${c}`);
    writeFileSync(
      join(dir, 'labels.csv'),
      `${lines[0]},${columns.join(',')}\n${lines[1]},${fields.join(',')}\n${lines[2]},${fields.map(() => '').join(',')}\n`,
    );
    const table = await trainingSet({
      ...{ repo, service: 'all', threads: 1, spine: join(dir, 'labels.csv') },
      history: await write('plain-history.parquet', history),
    });
    const types = columns.map((name) => String(table.getChild(name)!.type));
    expect(Object.fromEntries(fields.map((field, c) => [field, types[c]]))).toEqual(labels);
    const values = Object.fromEntries(fields.map((field, c) => [field, table.getChild(columns[c]!)!.get(0)]));
    expect(values).toEqual({
      ...Object.fromEntries(
        fields.filter((field) => labels[field as 'F'] === 'Utf8').map((field) => [field, field]),
      ),
      '9223372036854775807': 9_223_372_036_854_775_807n,
      '-1': -1n,
      '-0': -0,
      '1.50': 1.5,
      '0.1234567890123456': 0.1234567890123456,
      true: true,
      '2024-01-05': Date.parse('2024-01-05'),
      '2024-01-05T10:00:00.123456Z': Date.parse('2024-01-05T10:00:00Z') + 123.456,
      '2024-01-05 10:00:00': Date.parse('2024-01-05T10:00:00Z'),
    });
  });

  test('in JSON a text is a text, but for times', async () => {
    const texts = [
      '007',
      '1',
      'true',
      'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11',
      '10:00:00',
      '2024-01-05T10:00:00+02:00',
    ];
    const row = Object.fromEntries(texts.map((value, c) => [`l${c}`, value]));
    writeFileSync(
      join(dir, 'labels.ndjson'),
      `${JSON.stringify({ card: 'a', timestamp: 5, ...row, list: [1, 2] })}\n`,
    );
    const table = await trainingSet({
      ...{ repo, service: 'all', threads: 1, spine: join(dir, 'labels.ndjson') },
      history: await write('plain-history.parquet', history),
    });
    const values = texts.map((_, c) => table.getChild(`l${c}`)!.get(0) as unknown);
    expect(values).toEqual([...texts.slice(0, 5), Date.parse('2024-01-05T08:00:00Z')]);
    expect(table.getChild('list')!.get(0)).toBe('[1, 2]');
  });

  test('microseconds of an Arrow label are kept', async () => {
    const { vectorFromArray, TimestampMicrosecond, Table } = await import('apache-arrow');
    // Of some, a double of ms has less.
    const micros = Array.from({ length: 200 }, (_, i) => 1_700_000_000_123_001n + BigInt(i));
    const label = vectorFromArray(Array(200).fill(0), new TimestampMicrosecond('UTC'));
    (label.data[0]!.values as BigInt64Array).set(micros);
    const rows = Array.from({ length: 200 }, () => spine.rows[0]!);
    const base = arrowTableOf({ types: { card: 'string', timestamp: 'timestamp' }, rows });
    const table = await trainingSet({
      ...{ repo, service: 'all', threads: 1, history: arrowTableOf(history) },
      spine: base.assign(new Table({ label })),
    });
    expect([...(table.getChild('label')!.data[0]!.values as BigInt64Array)]).toEqual(micros);
  });
});

test('text rows of the two writers differ only by their format', () => {
  // The fixture would prove nothing if its writers dropped what is odd about it.
  expect(csvText(history)).toContain('\ufeffé, ""so""\n😀');
  expect(ndjsonText(history)).toContain('"9223372036854775807"');
});
