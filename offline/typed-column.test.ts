/** What SQL makes of a file's column is what the decoders of events make of it: the same value, or refused as well. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { ColumnType, ColumnValue } from '../engine/aggregators/partial-aggregate.ts';
import { csvDecoder } from '../engine/definitions/decode-csv.ts';
import { eventDecoder } from '../engine/definitions/decode-event.ts';
import type { StreamSource } from '../engine/definitions/types.ts';
import { SeededRandom } from '../engine/testing/random.ts';
import { DuckDb, text } from './duckdb.ts';
import { type FileColumnKind, typedColumn } from './typed-column.ts';

const TYPES: readonly ColumnType[] = ['string', 'integer', 'long', 'double', 'boolean', 'timestamp'];
const EDGES = [
  ...[
    '',
    ' ',
    'a',
    'true',
    'false',
    'TRUE',
    '0',
    '1',
    '-0',
    '-1',
    '+1',
    ' 1',
    '1 ',
    '01',
    '1.',
    '.5',
    '-.5',
    '1.0',
    '1e3',
  ],
  ...[
    '1e140',
    '1.0000001e140',
    '-1e140',
    '1e400',
    '1e-400',
    'NaN',
    'inf',
    'Infinity',
    '0x10',
    '1_000',
    '1,5',
    'null',
  ],
  ...[
    '9007199254740991',
    '9007199254740992',
    '-9007199254740991',
    '9223372036854775807',
    '9223372036854775808',
  ],
  ...[
    '-9223372036854775808',
    '-9223372036854775809',
    '35184372088831',
    '35184372088832',
    '-1',
    '0.1',
    '123456789.123456789',
  ],
  ...[
    '2018-04-01T00:00:31Z',
    '2018-04-01 00:00:31Z',
    '2018-04-01T00:00:31',
    '2018-04-01',
    '2018-04-01T00:00Z',
  ],
  ...[
    '2018-04-01T00:00:31.1Z',
    '2018-04-01T00:00:31.123999999Z',
    '2018-04-01T00:00:31.1234567890Z',
    '2018-04-01T00:00:31.Z',
  ],
  ...[
    '2018-04-01T24:00:00Z',
    '2018-04-01T23:59:60Z',
    '2018-02-29T00:00:00Z',
    '2020-02-29T00:00:00Z',
    '2018-13-01T00:00:00Z',
  ],
  ...[
    '2018-04-01T00:00:31+05:30',
    '2018-04-01T00:00:31-0530',
    '2018-04-01T00:00:31+24:00',
    '2018-04-01T00:00:31+5:30',
  ],
  ...[
    '0000-01-01T00:00:00Z',
    '1969-12-31T23:59:59.999Z',
    '1970-01-01T00:00:00Z',
    '3084-12-12T12:41:28.831Z',
    '9999-12-31T23:59:59Z',
  ],
  ...[
    '3084-12-12T12:41:28.832Z',
    '2018-04-01t00:00:31Z',
    '2018-04-01T00:00:31z',
    '2018-00-01T00:00:00Z',
    '2018-04-31T00:00:00Z',
  ],
  ...[
    '"',
    "'",
    'é',
    '😀',
    '\u0000',
    'x'.repeat(8_192),
    'x'.repeat(8_193),
    '😀'.repeat(4_096),
    '😀'.repeat(4_097),
  ],
];

const dir = mkdtempSync(join(tmpdir(), 'millrace-typed-'));
let db: DuckDb;
beforeAll(async () => {
  db = await DuckDb.open({ memoryBytes: 512 * 2 ** 20, threads: 1, spillDir: dir });
});
afterAll(() => {
  db.close();
  rmSync(dir, { recursive: true, force: true });
});

function sourceOf(type: ColumnType, nullable: boolean): StreamSource {
  const columns = { x: { type, nullable } };
  return { columns, eventTime: 'x', eventId: null } as unknown as StreamSource;
}

/** As the type's reader has it; undefined: refused. */
const usedOf = (result: ReturnType<ReturnType<typeof eventDecoder>>): ColumnValue | undefined =>
  result.ok ? result.row.x! : undefined;

async function ofSql(relation: string, kind: FileColumnKind, type: ColumnType, nullable: boolean) {
  const { value, invalid } = typedColumn({ type, nullable }, 'x', kind)!;
  const rows = await db.rows(
    `SELECT (${value}) AS value, (${invalid}) AS invalid FROM ${relation} ORDER BY n`,
  );
  return rows.map(({ value: found, invalid: refused }) => {
    if (refused === true) return undefined;
    if (refused !== false) throw new Error('neither usable nor not');
    return typeof found === 'bigint' && Number.isSafeInteger(Number(found))
      ? Number(found)
      : (found as ColumnValue);
  });
}

function randomTexts(seed: number): string[] {
  const random = new SeededRandom(seed);
  const pieces = [
    '0',
    '1',
    '9',
    '-',
    '+',
    '.',
    'e',
    'E',
    ':',
    'T',
    'Z',
    ' ',
    '2018-04-01',
    '00:00:31',
    '12',
    '5',
    '000',
  ];
  return Array.from({ length: 3_000 }, () =>
    Array.from({ length: random.between(1, 5) }, () => random.pick(pieces)).join(''),
  );
}

const csvField = (value: string): string => `"${value.replaceAll('"', '""')}"`;

describe.each(TYPES)('%s', (type) => {
  test.each([false, true])('texts of CSV, nullable %s', async (nullable) => {
    const fields = [...EDGES, ...randomTexts(1)].filter((field) => !field.includes('\u0000'));
    const file = join(dir, `${type}-${nullable}.csv`);
    writeFileSync(file, `n,x\n${fields.map((field, n) => `${n},${csvField(field)}\n`).join('')}`);
    const relation = `(SELECT CAST(n AS INTEGER) AS n, x FROM read_csv(${text(file)}, all_varchar = true, header = true, delim = ',', quote = '"', escape = '"'))`;
    const decode = csvDecoder(sourceOf(type, nullable), ['x']);
    const expected = fields.map((field) => usedOf(decode([field])));
    expect(await ofSql(relation, 'csv', type, nullable)).toEqual(expected);
  });

  test.each([false, true])('values of JSON, nullable %s', async (nullable) => {
    const numbers = [
      '0',
      '-0',
      '1.0',
      '1e3',
      '1.5',
      '-7',
      '1e140',
      '1.1e140',
      '1e400',
      '9007199254740991',
      '9007199254740992',
    ];
    const literals = [
      ...numbers,
      '-9007199254740993',
      '1e-400',
      'true',
      'false',
      'null',
      '[]',
      '{}',
      '[1]',
      '123456789012345678901234',
    ];
    const lines = [...literals, ...[...EDGES, ...randomTexts(2)].map((field) => JSON.stringify(field))];
    const file = join(dir, `${type}-${nullable}.ndjson`);
    writeFileSync(
      file,
      `${lines.map((line, n) => `{"n":${n},"x":${line}}`).join('\n')}\n{"n":${lines.length}}\n`,
    );
    const relation = `read_json(${text(file)}, format = 'newline_delimited', columns = {n: 'INTEGER', x: 'JSON'})`;
    const decode = eventDecoder(sourceOf(type, nullable));
    const expected = [...lines.map((line) => decode({ x: JSON.parse(line) })), decode({})].map(usedOf);
    expect(await ofSql(relation, 'json', type, nullable)).toEqual(expected);
  });
});

describe('columns that have a type', () => {
  const CASES: readonly (readonly [
    fileType: string,
    sql: string,
    type: ColumnType,
    expected: ColumnValue | undefined | null,
  ])[] = [
    ['BIGINT', '9007199254740991', 'integer', 9007199254740991],
    ['BIGINT', '9007199254740992', 'integer', undefined],
    ['BIGINT', '9223372036854775807', 'long', 9223372036854775807n],
    ['UBIGINT', '9223372036854775808', 'long', undefined],
    ['UBIGINT', '18446744073709551615', 'integer', undefined],
    ['HUGEINT', '7', 'long', 7],
    ['DOUBLE', '7', 'integer', 7],
    ['DOUBLE', '7.5', 'integer', undefined],
    ['DOUBLE', "'NaN'", 'double', null],
    ['DOUBLE', "'NaN'", 'integer', null],
    ['DOUBLE', "'inf'", 'double', undefined],
    ['DOUBLE', '-0.0', 'double', 0],
    ['FLOAT', '0.5', 'double', 0.5],
    ['DECIMAL(18,2)', '57.16', 'double', 57.16],
    ['DECIMAL(18,2)', '57.00', 'integer', 57],
    ['DECIMAL(18,2)', '57.16', 'integer', undefined],
    ['INTEGER', '3', 'double', 3],
    ['BOOLEAN', 'true', 'boolean', true],
    ['TIMESTAMP', "'2018-04-01 00:00:31.1239'", 'timestamp', 1522540831123],
    ['TIMESTAMP WITH TIME ZONE', "'2018-04-01 00:00:31.1239+01'", 'timestamp', 1522537231123],
    ['TIMESTAMP_NS', "'2018-04-01 00:00:31.123999999'", 'timestamp', 1522540831123],
    ['TIMESTAMP_MS', "'2018-04-01 00:00:31.123'", 'timestamp', 1522540831123],
    ['TIMESTAMP_S', "'2018-04-01 00:00:31'", 'timestamp', 1522540831000],
    ['DATE', "'2018-04-01'", 'timestamp', 1522540800000],
    ['TIMESTAMP', "'1969-12-31 23:59:59.999'", 'timestamp', undefined],
    ['BIGINT', '1522540831123', 'timestamp', 1522540831123],
    ['BIGINT', '35184372088832', 'timestamp', undefined],
    ['VARCHAR', "'2018-04-01T00:00:31Z'", 'timestamp', 1522540831000],
    ['VARCHAR', "''", 'string', ''],
    ['UUID', "'8f14e45f-ceea-467f-a8d7-3c1f6d2b9a10'", 'string', '8f14e45f-ceea-467f-a8d7-3c1f6d2b9a10'],
    ['BIGINT', 'NULL', 'long', null],
  ];

  test.each(CASES)('%s %s as %s', async (fileType, sql, type, expected) => {
    const relation = `(SELECT 0 AS n, CAST(${sql} AS ${fileType}) AS x)`;
    expect(await ofSql(relation, { type: fileType }, type, true)).toEqual([expected]);
    const required = expected === null ? undefined : expected;
    expect(await ofSql(relation, { type: fileType }, type, false)).toEqual([required]);
  });

  test('types that cannot stand for each other', () => {
    const refused: readonly (readonly [string, ColumnType])[] = [
      ['BIGINT', 'string'],
      ['VARCHAR', 'integer'],
      ['BOOLEAN', 'double'],
      ['BIGINT', 'boolean'],
      ['TIME', 'timestamp'],
      ['BIGINT[]', 'long'],
      ['BLOB', 'string'],
    ];
    for (const [fileType, type] of refused) {
      expect(
        typedColumn({ type, nullable: true }, 'x', { type: fileType }),
        `${fileType} as ${type}`,
      ).toBeNull();
    }
  });
});
