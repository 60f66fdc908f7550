/** Arrow tables into DuckDB, which has no reader of its own for them: column by column, 2,048 rows at a time. */
import { createReadStream } from 'node:fs';
import type { DuckDBType, DuckDBValue } from '@duckdb/node-api';
import type * as Arrow from 'apache-arrow';
import { type DuckDb, quoted } from './duckdb.ts';
import { InputError } from './input-error.ts';

interface Loaded {
  readonly sqlType: string;
  readonly type: DuckDBType;
  /** A value that is not null. @param value as the library gives it @param at where it lies, null: in a dictionary */
  of(value: unknown, at: { readonly data: Arrow.Data; readonly i: number } | null): DuckDBValue;
}

/**
 * Makes a table of the rows.
 * @param from a table, or files of the IPC format (file or stream) with one schema
 * @throws InputError where a column has a type that cannot be taken, or a file is damaged
 */
export async function loadArrow(
  db: DuckDb,
  name: string,
  from: Arrow.Table | readonly string[],
): Promise<void> {
  const [arrow, duckdb] = await Promise.all([import('apache-arrow'), import('@duckdb/node-api')]);
  let appender: Awaited<ReturnType<DuckDb['appender']>> | null = null;
  let columns: readonly Loaded[] = [];
  let names: string[] = [];
  const begin = async (schema: Arrow.Schema): Promise<void> => {
    const found = schema.fields.map((field) => field.name);
    if (appender !== null) {
      if (found.join('\n') !== names.join('\n')) throw new InputError('the files have different columns');
      return;
    }
    names = found;
    columns = schema.fields.map((field) => loadedAs(arrow, duckdb, field));
    const declared = names.map((column, c) => `${quoted(column)} ${columns[c]!.sqlType}`);
    await db.run(`CREATE OR REPLACE TABLE ${quoted(name)} (${declared.join(', ')})`);
    appender = await db.appender(name);
  };
  const append = (batch: Arrow.RecordBatch): void => {
    for (let from = 0; from < batch.numRows; from += 2_048) {
      const rows = Math.min(2_048, batch.numRows - from);
      const chunk = duckdb.DuckDBDataChunk.create(
        columns.map(({ type }) => type),
        rows,
      );
      columns.forEach(({ of }, c) => {
        const vector = batch.getChildAt(c);
        const [data] = vector?.data.length === 1 ? vector.data : [];
        const values = Array.from({ length: rows }, (_, i) => {
          const value: unknown = vector?.get(from + i) ?? null;
          return value === null ? null : of(value, data === undefined ? null : { data, i: from + i });
        });
        chunk.setColumnValues(c, values);
      });
      appender!.appendDataChunk(chunk);
    }
  };
  // Not by its class: whoever made it may have a library of his own.
  if ('batches' in from) {
    await begin(from.schema);
    from.batches.forEach(append);
  } else {
    for (const file of from) {
      const reader = await arrow.RecordBatchReader.from(createReadStream(file));
      await reader.open();
      await begin(reader.schema);
      for await (const batch of reader) append(batch);
    }
  }
  appender!.flushSync();
  appender!.closeSync();
}

function loadedAs(
  arrow: typeof Arrow,
  duckdb: typeof import('@duckdb/node-api'),
  { name, type }: Arrow.Field,
): Loaded {
  const { DataType } = arrow;
  if (DataType.isDictionary(type)) {
    const { of, ...loaded } = loadedAs(
      arrow,
      duckdb,
      new arrow.Field(name, type.dictionary as Arrow.DataType, true),
    );
    return { ...loaded, of: (value) => of(value, null) };
  }
  const as = (own: DuckDBType, of: Loaded['of']): Loaded => ({ sqlType: String(own), type: own, of });
  if (DataType.isInt(type)) {
    return type.isSigned || type.bitWidth < 64
      ? as(duckdb.BIGINT, (value) => BigInt(value as number | bigint))
      : as(duckdb.UBIGINT, (value) => BigInt(value as number | bigint));
  }
  if (DataType.isFloat(type)) return as(duckdb.DOUBLE, (value) => Number(value));
  if (DataType.isUtf8(type) || DataType.isLargeUtf8(type))
    return as(duckdb.VARCHAR, (value, at) => `${at !== null && hasMark(at) ? MARK : ''}${value}`);
  if (DataType.isBool(type)) return as(duckdb.BOOLEAN, (value) => value as boolean);
  if (DataType.isTimestamp(type)) {
    const { unit } = type;
    return as(duckdb.TIMESTAMPTZ, (value, at) => {
      // The library gives ms as a double, which has no room for all microseconds.
      const micros =
        at === null ? BigInt(Math.round(Number(value) * 1_000)) : microsOf(at.data.values[at.i], unit);
      return new duckdb.DuckDBTimestampTZValue(micros);
    });
  }
  if (DataType.isDate(type)) {
    return as(
      duckdb.TIMESTAMPTZ,
      (value) => new duckdb.DuckDBTimestampTZValue(BigInt(Number(value)) * 1_000n),
    );
  }
  throw new InputError(`column '${name}' has the Arrow type ${type}, which cannot be read here`);
}

const MARK = '\ufeff';

/** Whether a text begins with a byte order mark, which the library's decoder takes off. */
function hasMark({ data, i }: { readonly data: Arrow.Data; readonly i: number }): boolean {
  const bytes = data.values as Uint8Array;
  const from = Number(data.valueOffsets[i]);
  return (
    Number(data.valueOffsets[i + 1]) - from >= 3 &&
    bytes[from] === 0xef &&
    bytes[from + 1] === 0xbb &&
    bytes[from + 2] === 0xbf
  );
}

/** @param unit 0 s, 1 ms, 2 µs, 3 ns, of which whole microseconds count */
function microsOf(value: bigint, unit: number): bigint {
  if (unit !== 3) return value * 10n ** BigInt(6 - 3 * unit);
  const micros = value / 1_000n;
  return value % 1_000n < 0n ? micros - 1n : micros;
}
