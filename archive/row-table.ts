/**
 * Rows of one partition that wait to be written: a table in DuckDB's memory, in the order of their offsets. It is a temporary
 * one, as these belong to a connection: all others are seen by all partitions.
 */
import type {
  DuckDBAppender,
  DuckDBConnection,
  DuckDBDataChunk,
  DuckDBType,
  DuckDBVector,
} from '@duckdb/node-api';
import type { ColumnValue } from '../engine/aggregators/partial-aggregate.ts';
import type { EventRow } from '../engine/definitions/types.ts';
import { knownAppendTime } from '../ingest/append-time.ts';
import type { ArchiveColumn, StoredType } from './archive-columns.ts';
import { dayText, epochDayOf } from './archive-layout.ts';
import type { DuckDb, ParquetWriter } from './duckdb.ts';

export interface ArchiveRow {
  readonly offset: number;
  /** ms; ≤ 0 where the log does not say. */
  readonly appendedMs: number;
  readonly stamp: string | null;
  readonly originOffset: number | null;
  readonly eventTimeMs: number;
  readonly event: EventRow;
}

/** The rows of a day. */
export interface DayOfRows {
  /** `YYYY-MM-DD`, UTC. */
  readonly day: string;
  readonly rows: number;
  readonly firstOffset: number;
  /** Inclusive. */
  readonly lastOffset: number;
}

/** Rows at most that one call may add: what a chunk of DuckDB holds. */
export const ADD_ROWS_MAX = 2_048;
/** Values the appender keeps before the table gets them: handing them over takes a millisecond or more, however few they are. */
const UNFLUSHED_VALUES_MAX = 24_000;
const TABLE = 'waiting';
/** No column of a source has a blank in its name. */
const DAY_COLUMN = '"epoch day"';

type SetValue = (vector: DuckDBVector, at: number, value: ColumnValue) => void;

interface Cells {
  readonly of: (row: ArchiveRow) => ColumnValue;
  readonly set: SetValue;
}

export class RowTable {
  readonly #writer: ParquetWriter;
  readonly #connection: DuckDBConnection;
  /** Of the table's columns in their order: those of the file, and the day. */
  readonly #cells: readonly Cells[];
  readonly #definition: string;
  readonly #types: readonly DuckDBType[];
  readonly #chunk: DuckDBDataChunk;
  #appender: DuckDBAppender | null = null;
  #unflushed = 0;

  /** @param args.columns from `archiveColumns` */
  static async open(args: {
    writer: ParquetWriter;
    partition: number;
    columns: readonly ArchiveColumn[];
  }): Promise<RowTable> {
    const { duckdb, connection } = await args.writer.connect();
    const table = new RowTable(args, duckdb, connection);
    await table.clear();
    return table;
  }

  private constructor(
    args: { writer: ParquetWriter; partition: number; columns: readonly ArchiveColumn[] },
    duckdb: DuckDb,
    connection: DuckDBConnection,
  ) {
    this.#writer = args.writer;
    this.#connection = connection;
    const setters = settersOf(duckdb);
    const { partition, columns } = args;
    this.#cells = [
      ...columns.map(({ name, type }) => ({ of: cellOf(name, partition), set: setters[type] })),
      { of: ({ eventTimeMs }) => epochDayOf(eventTimeMs), set: setters.INTEGER },
    ];
    this.#types = [...columns.map(({ type }) => duckdb[type]), duckdb.INTEGER];
    const described = [...columns.map(({ name, type }) => `"${name}" ${type}`), `${DAY_COLUMN} INTEGER`];
    this.#definition = described.join(', ');
    this.#chunk = duckdb.DuckDBDataChunk.create(this.#types);
  }

  /** Behind those that are there; `ADD_ROWS_MAX` at most. When it throws, only `clear` may follow. */
  add(rows: readonly ArchiveRow[]): void {
    if (rows.length === 0) return;
    this.#chunk.reset();
    this.#chunk.rowCount = rows.length;
    const vectors = this.#types.map((_, column) => this.#chunk.getColumnVector(column));
    this.#cells.forEach(({ of, set }, column) => {
      const vector = vectors[column]!;
      for (let at = 0; at < rows.length; at++) {
        const value = of(rows[at]!);
        if (value === null) vector.setItem(at, null);
        else set(vector, at, value);
      }
      vector.flush();
    });
    this.#appender!.appendDataChunk(this.#chunk);
    this.#unflushed += rows.length * this.#cells.length;
    if (this.#unflushed >= UNFLUSHED_VALUES_MAX) this.#flush();
  }

  /** Ascending, of the rows from this offset on. */
  async days(fromOffset: number): Promise<DayOfRows[]> {
    this.#flush();
    const found = await this.#connection.runAndReadAll(
      `SELECT ${DAY_COLUMN}, count(*), min(_offset), max(_offset)
       FROM ${TABLE} WHERE _offset >= ${fromOffset} GROUP BY 1 ORDER BY 1`,
    );
    return found.getRows().map((row) => {
      const [epochDay, rows, firstOffset, lastOffset] = row.map(Number) as [number, number, number, number];
      return { day: dayText(epochDay), rows, firstOffset, lastOffset };
    });
  }

  /** Writes a day's rows, of those from this offset on, to a new file. Not flushed. */
  async write(args: {
    day: DayOfRows;
    fromOffset: number;
    path: string;
    /** For the footer. Keys are plain names. */
    metadata: Readonly<Record<string, string>>;
  }): Promise<void> {
    const { day, fromOffset, path, metadata } = args;
    const epochDay = epochDayOf(Date.parse(day.day));
    const entries = Object.entries(metadata).map(([key, value]) => `${key}: ${quoted(value)}`);
    const { rowsChanged } = await this.#writer.inTurn(() =>
      this.#connection.run(
        `COPY (SELECT * EXCLUDE (${DAY_COLUMN}) FROM ${TABLE}
               WHERE ${DAY_COLUMN} = ${epochDay} AND _offset >= ${fromOffset})
         TO ${quoted(path)} (FORMAT parquet, COMPRESSION zstd, KV_METADATA {${entries.join(', ')}})`,
      ),
    );
    if (rowsChanged !== day.rows) throw new Error(`${rowsChanged} rows of ${day.rows} were written`);
  }

  /** Forgets all rows. */
  async clear(): Promise<void> {
    const former = this.#appender;
    this.#appender = null;
    this.#unflushed = 0;
    try {
      former?.clear();
      former?.closeSync();
    } catch {
      // It has failed before, and what it held is not wanted.
    }
    await this.#connection.run(`CREATE OR REPLACE TEMP TABLE ${TABLE} (${this.#definition})`);
    this.#appender = await this.#connection.createAppender(TABLE, null, 'temp');
  }

  /** The rows are gone. */
  close(): void {
    this.#connection.disconnectSync();
  }

  #flush(): void {
    this.#appender!.flushSync();
    this.#unflushed = 0;
  }
}

function cellOf(column: string, partition: number): Cells['of'] {
  switch (column) {
    case '_partition':
      return () => partition;
    case '_offset':
      return ({ offset }) => offset;
    case '_appended_at':
      return ({ appendedMs }) => knownAppendTime(appendedMs);
    case '_stamp':
      return ({ stamp }) => stamp;
    case '_origin_offset':
      return ({ originOffset }) => originOffset;
    default:
      return ({ event }) => event[column]!;
  }
}

function settersOf({ DuckDBTimestampTZValue }: DuckDb): Readonly<Record<StoredType, SetValue>> {
  const plain: SetValue = (vector, at, value) => vector.setItem(at, value);
  return {
    VARCHAR: plain,
    BIGINT: (vector, at, value) => vector.setItem(at, BigInt(value as number | bigint)),
    DOUBLE: plain,
    BOOLEAN: plain,
    INTEGER: plain,
    TIMESTAMPTZ: (vector, at, value) =>
      vector.setItem(at, new DuckDBTimestampTZValue(BigInt(value as number) * 1_000n)),
  };
}

const quoted = (text: string): string => `'${text.replaceAll("'", "''")}'`;
