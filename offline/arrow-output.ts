/** A training set as Arrow: a table in memory, or an IPC file, batch after batch. */

import { open } from 'node:fs/promises';
import type { DuckDBDataChunk } from '@duckdb/node-api';
import type * as Arrow from 'apache-arrow';
import { transported } from './column-buffer.ts';
import type { DuckDb } from './duckdb.ts';
import { rowsInOrder } from './rows-in-order.ts';
import type { TrainingColumn, TrainingTable } from './training-table.ts';

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
  /** What the writer makes, for whoever takes it: left to itself it keeps all of the file. */
  class Made extends arrow.AsyncByteQueue {
    #made: Uint8Array[] = [];

    override write(bytes: Uint8Array): void {
      this.#made.push(bytes);
    }

    take(): Buffer {
      const made = Buffer.concat(this.#made);
      this.#made = [];
      return made;
    }
  }
  const made = new Made();
  const writer = new arrow.RecordBatchFileWriter();
  const schema = schemaOf(arrow, table);
  const out = await open(file, 'w');
  try {
    writer.reset(made, schema);
    for await (const batch of recordBatches(arrow, db, table, schema)) {
      writer.write(batch);
      await out.appendFile(made.take());
    }
    writer.close();
    await out.appendFile(made.take());
  } finally {
    await out.close();
  }
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
  const make = (): ColumnWriter[] => table.columns.map((column) => columnWriter(arrow, readType(column)));
  const finish = (writers: readonly ColumnWriter[], length: number): Arrow.RecordBatch => {
    const children = writers.map((writer) => writer.finish());
    const type = new arrow.Struct(schema.fields);
    return new arrow.RecordBatch(schema, arrow.makeData({ type, length, nullCount: 0, children }));
  };
  let writers = make();
  let rows = 0;
  let any = false;
  for await (const chunk of db.stream(await rowsInOrder(db, table, asRead))) {
    writers.forEach((writer, c) => {
      writer.append(chunk, c);
    });
    rows += chunk.rowCount;
    if (rows < BATCH_ROWS) continue;
    yield finish(writers, rows);
    any = true;
    writers = make();
    rows = 0;
  }
  if (rows > 0 || !any) yield finish(writers, rows);
}

interface ColumnWriter {
  append(chunk: DuckDBDataChunk, c: number): void;
  finish(): Arrow.Data;
}

function columnWriter(arrow: typeof Arrow, sqlType: string): ColumnWriter {
  const { type, of } = arrowColumn(arrow, sqlType);
  switch (sqlType) {
    case 'DOUBLE':
      return new NumberWriter(arrow, type, (length) => new Float64Array(length));
    case 'BIGINT':
    case 'TIMESTAMP WITH TIME ZONE':
      return new NumberWriter(arrow, type, (length) => new BigInt64Array(length));
  }
  const builder = arrow.makeBuilder({ type, nullValues: [null] });
  return {
    append(chunk, c) {
      const vector = chunk.getColumnVector(c);
      for (let i = 0; i < chunk.rowCount; i++) {
        const value: unknown = vector.getItem(i);
        builder.append(value === null ? null : of(value));
      }
    },
    finish: () => builder.finish().flush(),
  };
}

/** DuckDB's vectors of numbers lie as Arrow's do. */
class NumberWriter<T extends Float64Array | BigInt64Array> implements ColumnWriter {
  readonly #arrow: typeof Arrow;
  readonly #type: Arrow.DataType;
  readonly #values: T;
  readonly #valid: Uint8Array;
  #length = 0;
  #nulls = 0;

  constructor(arrow: typeof Arrow, type: Arrow.DataType, make: (length: number) => T) {
    this.#arrow = arrow;
    this.#type = type;
    this.#values = make(BATCH_ROWS + 4_096);
    this.#valid = new Uint8Array(this.#values.length / 8);
  }

  append(chunk: DuckDBDataChunk, c: number): void {
    const vector = chunk.getColumnVector(c) as unknown as {
      readonly items: T;
      readonly validity: { readonly data: unknown; itemValid(i: number): boolean };
    };
    this.#values.set(vector.items as never, this.#length);
    const { validity } = vector;
    for (let i = 0; i < chunk.rowCount; i++, this.#length++) {
      if (validity.data === null || validity.itemValid(i))
        this.#valid[this.#length >>> 3]! |= 1 << (this.#length & 7);
      else this.#nulls++;
    }
  }

  finish(): Arrow.Data {
    return this.#arrow.makeData({
      type: this.#type as Arrow.Float64,
      length: this.#length,
      nullCount: this.#nulls,
      data: this.#values.slice(0, this.#length) as Float64Array,
      nullBitmap: this.#valid,
    });
  }
}

const INTEGERS = /^(U?(TINYINT|SMALLINT|INTEGER)|BIGINT)$/;
/** Decimals of up to 15 digits are the same in a double. */
const DOUBLES = /^(FLOAT|DOUBLE|DECIMAL\(([1-9]|1[0-5]),.*\))$/;

/** What a column is read as: features as they are, columns of the spine as the nearest of the types below, else as text. */
function readType({ sqlType, feature }: TrainingColumn): string {
  if (feature !== null || sqlType === 'BOOLEAN') return sqlType;
  if (INTEGERS.test(sqlType)) return 'BIGINT';
  if (DOUBLES.test(sqlType)) return 'DOUBLE';
  return /^(TIMESTAMP.*|DATE)$/.test(sqlType) ? 'TIMESTAMP WITH TIME ZONE' : 'VARCHAR';
}

function asRead(column: TrainingColumn): string {
  const type = readType(column);
  return marked(type === column.sqlType ? column.sql : `CAST(${column.sql} AS ${type})`, type);
}

/** Texts as they have to come over the bindings, also those in lists, maps and pairs. */
function marked(x: string, sqlType: string): string {
  if (sqlType === 'VARCHAR') return transported(x, 'string');
  if (!sqlType.includes('VARCHAR')) return x;
  if (sqlType.endsWith('[]')) return `list_transform(${x}, lambda i: ${marked('i', sqlType.slice(0, -2))})`;
  const pair = PAIR.exec(sqlType);
  if (pair !== null) {
    return `CASE WHEN ${x} IS NOT NULL THEN {'value': ${marked(`${x}."value"`, pair[1]!)}, 'count': ${x}."count"} END`;
  }
  const value = sqlType.slice('MAP(VARCHAR, '.length, -1);
  return `map_from_entries(list_transform(map_entries(${x}), lambda e: {'key': ${marked('e.key', 'VARCHAR')}, 'value': ${marked('e.value', value)}}))`;
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
function arrowColumn(arrow: typeof Arrow, sqlType: string, nested = false): ArrowColumn {
  const asIs = (type: Arrow.DataType): ArrowColumn => ({ type, of: (value) => value });
  if (sqlType.endsWith('[]')) {
    const item = arrowColumn(arrow, sqlType.slice(0, -2), true);
    return {
      type: new arrow.List(new arrow.Field('item', item.type, true)),
      of: (value) => (value as Nested).items.map(nullable(item.of)),
    };
  }
  if (sqlType.startsWith('MAP(VARCHAR, ')) {
    const item = arrowColumn(arrow, sqlType.slice('MAP(VARCHAR, '.length, -1), true);
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
    const item = arrowColumn(arrow, pair[1]!, true);
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
      // Within a list they come one by one: whole ms, as the library's builder takes them.
      return nested
        ? {
            type: new arrow.TimestampMillisecond('UTC'),
            of: (value) => Number((value as { readonly micros: bigint }).micros) / 1_000,
          }
        : asIs(new arrow.TimestampMicrosecond('UTC'));
    default:
      throw new TypeError(`no Arrow type for ${sqlType}`);
  }
}
