/** Rows as files of every format that is read, for tests: none is written by what reads it, but for Parquet. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { gzipSync } from 'node:zlib';
import * as arrow from 'apache-arrow';
import type { ColumnType, ColumnValue } from '../../engine/aggregators/partial-aggregate.ts';
import { DuckDb, quoted, text } from '../duckdb.ts';

export type Row = Readonly<Record<string, ColumnValue>>;
export type RowTypes = Readonly<Record<string, ColumnType>>;

export interface Rows {
  readonly types: RowTypes;
  readonly rows: readonly Row[];
}

export type Extension = 'parquet' | 'csv' | 'csv.gz' | 'ndjson' | 'ndjson.gz' | 'arrow' | 'arrows';

const SQL: Readonly<Record<ColumnType, string>> = {
  string: 'VARCHAR',
  integer: 'BIGINT',
  long: 'BIGINT',
  double: 'DOUBLE',
  boolean: 'BOOLEAN',
  timestamp: 'TIMESTAMP WITH TIME ZONE',
};

const ARROW: Readonly<Record<ColumnType, () => arrow.DataType>> = {
  string: () => new arrow.Utf8(),
  integer: () => new arrow.Int64(),
  long: () => new arrow.Int64(),
  double: () => new arrow.Float64(),
  boolean: () => new arrow.Bool(),
  timestamp: () => new arrow.TimestampMillisecond('UTC'),
};

const iso = (ms: number): string => new Date(ms).toISOString();

function csvField(type: ColumnType, value: ColumnValue): string {
  if (value === null) return '';
  if (type === 'timestamp') return iso(value as number);
  const field = String(value);
  return /[",\r\n]/.test(field) ? `"${field.replaceAll('"', '""')}"` : field;
}

export function csvText({ types, rows }: Rows): string {
  const names = Object.keys(types);
  const lines = rows.map((row) => names.map((name) => csvField(types[name]!, row[name] ?? null)).join(','));
  return [names.join(','), ...lines].map((line) => `${line}\n`).join('');
}

export function ndjsonText({ types, rows }: Rows): string {
  const jsonOf = (row: Row): string =>
    JSON.stringify(
      Object.fromEntries(
        Object.entries(row).map(([name, value]) => [
          name,
          typeof value === 'bigint'
            ? String(value)
            : types[name] === 'timestamp' && value !== null
              ? iso(value as number)
              : value,
        ]),
      ),
    );
  return rows.map((row) => `${jsonOf(row)}\n`).join('');
}

export function arrowTableOf({ types, rows }: Rows): arrow.Table {
  const columns = Object.entries(types).map(([name, type]) => {
    const values = rows.map((row): unknown => {
      const value = row[name] ?? null;
      return value !== null && (type === 'integer' || type === 'long') ? BigInt(value as number) : value;
    });
    return [name, arrow.vectorFromArray(values, ARROW[type]())];
  });
  return new arrow.Table(Object.fromEntries(columns) as Record<string, arrow.Vector>);
}

function literal(type: ColumnType, value: ColumnValue): string {
  if (value === null) return `CAST(NULL AS ${SQL[type]})`;
  if (type === 'timestamp') return `CAST(${text(iso(value as number))} AS ${SQL[type]})`;
  return type === 'string' ? text(value as string) : `CAST(${value} AS ${SQL[type]})`;
}

async function writeParquet(file: string, { types, rows }: Rows): Promise<void> {
  const db = await DuckDb.open({ memoryBytes: 2 ** 28, threads: 1, spillDir: '' });
  try {
    const columns = Object.entries(types);
    await db.run(
      `CREATE TABLE t (${columns.map(([name, type]) => `${quoted(name)} ${SQL[type]}`).join(', ')})`,
    );
    const values = rows.map(
      (row) => `(${columns.map(([name, type]) => literal(type, row[name] ?? null)).join(', ')})`,
    );
    if (rows.length > 0) await db.run(`INSERT INTO t VALUES ${values.join(', ')}`);
    await db.run(`COPY t TO ${text(file)} (FORMAT parquet)`);
  } finally {
    db.close();
  }
}

/** Writes the rows as the file's name says, in a folder that is made. @returns the file */
export async function writeTable(file: string, table: Rows): Promise<string> {
  mkdirSync(dirname(file), { recursive: true });
  const extension = /\.((?:csv|ndjson)(?:\.gz)?|parquet|arrows?)$/.exec(file)![1] as Extension;
  switch (extension) {
    case 'parquet':
      await writeParquet(file, table);
      break;
    case 'csv':
      writeFileSync(file, csvText(table));
      break;
    case 'csv.gz':
      writeFileSync(file, gzipSync(csvText(table)));
      break;
    case 'ndjson':
      writeFileSync(file, ndjsonText(table));
      break;
    case 'ndjson.gz':
      writeFileSync(file, gzipSync(ndjsonText(table)));
      break;
    case 'arrow':
      writeFileSync(file, arrow.tableToIPC(arrowTableOf(table), 'file'));
      break;
    case 'arrows':
      writeFileSync(file, arrow.tableToIPC(arrowTableOf(table), 'stream'));
      break;
  }
  return file;
}
