/** A training set as Arrow: a table in memory, or an IPC file, batch after batch. */

import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { finished } from 'node:stream/promises';
import type { DuckDBDataChunk } from '@duckdb/node-api';
import type * as Arrow from 'apache-arrow';
import type { DuckDb } from './duckdb.ts';
import { selectOf, type TrainingColumn, type TrainingTable } from './training-table.ts';

/** Rows of a record batch at least, but for the last. */
const BATCH_ROWS = 65_536;

interface ArrowColumn {
  readonly type: Arrow.DataType;
  /** A value of DuckDB's that is not null, as the builder takes it. */
  of(value: unknown): unknown;
}

export async function arrowTable(db: DuckDb, table: TrainingTable): Promise<Arrow.Table> {
  const arrow = await import('apache-arrow');
  const batches: Arrow.RecordBatch[] = [];
  const schema = schemaOf(arrow, table);
  for await (const batch of recordBatches(arrow, db, table, schema)) batches.push(batch);
  return new arrow.Table(schema, batches);
}

export async function arrowFile(db: DuckDb, table: TrainingTable, file: string): Promise<void> {
  const arrow = await import('apache-arrow');
  const out = createWriteStream(file);
  const writer = new arrow.RecordBatchFileWriter();
  const schema = schemaOf(arrow, table);
  writer.reset(undefined, schema);
  const done = finished(out);
  const pump = async (): Promise<void> => {
    for await (const bytes of writer) if (!out.write(bytes)) await once(out, 'drain');
    out.end();
  };
  const pumped = pump();
  for await (const batch of recordBatches(arrow, db, table, schema)) writer.write(batch);
  writer.close();
  await Promise.all([pumped, done]);
}

function schemaOf(arrow: typeof Arrow, { columns, metadata }: TrainingTable): Arrow.Schema {
  const fields = columns.map(
    (column) => new arrow.Field(column.name, arrowColumn(arrow, readType(column)).type, true),
  );
  return new arrow.Schema(fields, new Map(metadata));
}

async function* recordBatches(
  arrow: typeof Arrow,
  db: DuckDb,
  table: TrainingTable,
  schema: Arrow.Schema,
): AsyncGenerator<Arrow.RecordBatch> {
  const columns = table.columns.map((column) => arrowColumn(arrow, readType(column)));
  const make = (): Arrow.Builder[] =>
    columns.map(({ type }) => arrow.makeBuilder({ type, nullValues: [null] }));
  const finish = (builders: readonly Arrow.Builder[], length: number): Arrow.RecordBatch => {
    const children = builders.map((builder) => builder.finish().flush());
    const type = new arrow.Struct(schema.fields);
    return new arrow.RecordBatch(schema, arrow.makeData({ type, length, nullCount: 0, children }));
  };
  let builders = make();
  let rows = 0;
  let any = false;
  for await (const chunk of db.stream(selectOf(table, asRead))) {
    columns.forEach(({ of }, c) => {
      appendAll(chunk, c, builders[c]!, of);
    });
    rows += chunk.rowCount;
    if (rows < BATCH_ROWS) continue;
    yield finish(builders, rows);
    any = true;
    builders = make();
    rows = 0;
  }
  if (rows > 0 || !any) yield finish(builders, rows);
}

function appendAll(chunk: DuckDBDataChunk, c: number, builder: Arrow.Builder, of: ArrowColumn['of']): void {
  const vector = chunk.getColumnVector(c);
  for (let i = 0; i < chunk.rowCount; i++) {
    const value = vector.getItem(i);
    builder.append(value === null ? null : of(value));
  }
}

const INTEGERS = /^(U?(TINYINT|SMALLINT|INTEGER)|BIGINT)$/;
const DOUBLES = /^(FLOAT|DOUBLE|DECIMAL\(.*\))$/;

/** What a column is read as: features as they are, columns of the spine as the nearest of the types below, else as text. */
function readType({ sqlType, feature }: TrainingColumn): string {
  if (feature !== null || sqlType === 'BOOLEAN') return sqlType;
  if (INTEGERS.test(sqlType)) return 'BIGINT';
  if (DOUBLES.test(sqlType)) return 'DOUBLE';
  return /^(TIMESTAMP.*|DATE)$/.test(sqlType) ? 'TIMESTAMP WITH TIME ZONE' : 'VARCHAR';
}

function asRead(column: TrainingColumn): string {
  const type = readType(column);
  return type === column.sqlType ? column.sql : `CAST(${column.sql} AS ${type})`;
}

/** Parts of nested values of DuckDB's. */
interface Nested {
  readonly items: readonly unknown[];
}
interface NestedMap {
  readonly entries: readonly { readonly key: string; readonly value: unknown }[];
}
interface NestedStruct {
  readonly entries: { readonly value: unknown; readonly count: bigint };
}

const nullable =
  (of: ArrowColumn['of']) =>
  (value: unknown): unknown =>
    value === null ? null : of(value);

const PAIR = /^STRUCT\("value" (.*), "count" BIGINT\)$/;

/** @param sqlType as `feature-transport.ts` has them */
function arrowColumn(arrow: typeof Arrow, sqlType: string): ArrowColumn {
  const asIs = (type: Arrow.DataType): ArrowColumn => ({ type, of: (value) => value });
  if (sqlType.endsWith('[]')) {
    const item = arrowColumn(arrow, sqlType.slice(0, -2));
    return {
      type: new arrow.List(new arrow.Field('item', item.type, true)),
      of: (value) => (value as Nested).items.map(nullable(item.of)),
    };
  }
  if (sqlType.startsWith('MAP(VARCHAR, ')) {
    const item = arrowColumn(arrow, sqlType.slice('MAP(VARCHAR, '.length, -1));
    const entry = new arrow.Struct<{ key: Arrow.Utf8; value: Arrow.DataType }>([
      new arrow.Field('key', new arrow.Utf8(), false),
      new arrow.Field('value', item.type, true),
    ]);
    return {
      type: new arrow.Map_(new arrow.Field('entries', entry, false)),
      of: (value) =>
        new Map((value as NestedMap).entries.map((own) => [own.key, nullable(item.of)(own.value)])),
    };
  }
  const pair = PAIR.exec(sqlType);
  if (pair !== null) {
    const item = arrowColumn(arrow, pair[1]!);
    return {
      type: new arrow.Struct<Record<string, Arrow.DataType>>([
        new arrow.Field('value', item.type, true),
        new arrow.Field('count', new arrow.Int64(), true),
      ]),
      of(value) {
        const { entries } = value as NestedStruct;
        return { value: nullable(item.of)(entries.value), count: entries.count };
      },
    };
  }
  switch (sqlType) {
    case 'BIGINT':
      return asIs(new arrow.Int64());
    case 'DOUBLE':
      return asIs(new arrow.Float64());
    case 'BOOLEAN':
      return asIs(new arrow.Bool());
    case 'VARCHAR':
      return asIs(new arrow.Utf8());
    case 'TIMESTAMP WITH TIME ZONE':
      return {
        type: new arrow.TimestampMicrosecond('UTC'),
        of: (value) => (value as { readonly micros: bigint }).micros,
      };
    default:
      throw new TypeError(`no Arrow type for ${sqlType}`);
  }
}
