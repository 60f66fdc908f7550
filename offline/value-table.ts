/** Values of features by the place of their row in the spine: gathered in a table of DuckDB, of which a row set is made in the end. */
import type { DuckDBAppender, DuckDBDataChunk, DuckDBType } from '@duckdb/node-api';
import type { BatchColumn } from './as-of-batch.ts';
import { type DuckDb, quoted, text } from './duckdb.ts';
import type { TransportColumn } from './feature-transport.ts';

/** Rows of a chunk of DuckDB's. */
const CHUNK_ROWS = 2_048;
/** Rows after which what was appended is written: DuckDB's row groups, which it writes as they are. */
const FLUSHED_ROWS = 122_880;
/** Or after so long: no more than that is made again after a kill. */
const FLUSHED_MS = 5_000;
/** Table with the names of those that are complete. */
const FINISHED = '"$finished"';

export interface PlacedValues {
  readonly keys: Float64Array;
  readonly places: Float64Array;
  readonly columns: readonly BatchColumn[];
}

/** Columns `place`, `k` (the number of the entity key) and `f0`, `f1`, …. */
export class ValueTable {
  readonly name: string;
  readonly transports: readonly TransportColumn[];
  readonly #db: DuckDb;
  #appending: { readonly appender: DuckDBAppender; readonly chunk: DuckDBDataChunk } | null = null;
  #unflushed = 0;
  #flushedMs = performance.now();
  readonly #flushedRows: number;

  /** @param flushedRows rows after which what was appended is written */
  constructor(db: DuckDb, name: string, transports: readonly TransportColumn[], flushedRows = FLUSHED_ROWS) {
    this.#flushedRows = flushedRows;
    this.#db = db;
    this.name = name;
    this.transports = transports;
  }

  /** Makes the table anew. */
  async create(): Promise<void> {
    this.#end();
    await this.#db.run(`CREATE OR REPLACE TABLE ${quoted(this.name)} (${this.#columns})`);
    await this.#db.run(`CREATE TABLE IF NOT EXISTS ${FINISHED} (name VARCHAR)`);
    await this.#db.run(`DELETE FROM ${FINISHED} WHERE name = ${text(this.name)}`);
  }

  /**
   * Takes up what is there, of keys in their order. Of the last one not all may be there.
   * @returns the number of the first key to go on with; null: all is there
   */
  async resume(): Promise<number | null> {
    await this.#db.run(`CREATE TABLE IF NOT EXISTS ${quoted(this.name)} (${this.#columns})`);
    await this.#db.run(`CREATE TABLE IF NOT EXISTS ${FINISHED} (name VARCHAR)`);
    const { n } = await this.#db.row(`SELECT count(*) AS n FROM ${FINISHED} WHERE name = ${text(this.name)}`);
    if (Number(n) > 0) return null;
    const { k } = await this.#db.row(`SELECT max(k) AS k FROM ${quoted(this.name)}`);
    if (k === null) return 0;
    await this.#db.run(`DELETE FROM ${quoted(this.name)} WHERE k >= ${k}`);
    return Number(k);
  }

  /** All is there. */
  async finish(): Promise<void> {
    this.#end();
    await this.#db.run(`INSERT INTO ${FINISHED} VALUES (${text(this.name)})`);
  }

  get #columns(): string {
    const columns = this.transports.map(({ tableType }, f) => `f${f} ${tableType}`);
    return ['place INTEGER', 'k INTEGER', ...columns].join(', ');
  }

  async append({ keys, places, columns }: PlacedValues): Promise<void> {
    this.#appending ??= await this.#begin();
    const { appender, chunk } = this.#appending;
    for (let from = 0; from < places.length; from += CHUNK_ROWS) {
      const to = Math.min(places.length, from + CHUNK_ROWS);
      chunk.reset();
      chunk.rowCount = to - from;
      [places, keys, ...columns].forEach((column, c) => {
        setColumn(chunk, c, column, from, to);
      });
      appender.appendDataChunk(chunk);
    }
    this.#unflushed += places.length;
    const nowMs = performance.now();
    if (this.#unflushed < this.#flushedRows && nowMs - this.#flushedMs < FLUSHED_MS) return;
    appender.flushSync();
    this.#unflushed = 0;
    this.#flushedMs = nowMs;
  }

  async #begin(): Promise<{ appender: DuckDBAppender; chunk: DuckDBDataChunk }> {
    const duckdb = await import('@duckdb/node-api');
    const types: DuckDBType[] = [
      duckdb.INTEGER,
      duckdb.INTEGER,
      ...this.transports.map(({ tableType }) => duckdb[tableType]),
    ];
    return { appender: await this.#db.appender(this.name), chunk: duckdb.DuckDBDataChunk.create(types) };
  }

  #end(): void {
    this.#appending?.appender.closeSync();
    this.#appending = null;
    this.#unflushed = 0;
  }
}

/** DuckDB's vectors of numbers and of other values. */
interface WritableVector {
  readonly items: Float64Array | Int32Array;
  setItem(i: number, value: unknown): void;
  flush(): void;
}

function setColumn(chunk: DuckDBDataChunk, c: number, column: BatchColumn, from: number, to: number): void {
  const vector = chunk.getColumnVector(c) as unknown as WritableVector;
  if (ArrayBuffer.isView(column)) vector.items.set(column.subarray(from, to));
  else {
    const isLong = !('itemCache' in vector);
    for (let i = from; i < to; i++) {
      const value = column[i]!;
      vector.setItem(i - from, isLong && typeof value === 'number' ? BigInt(value) : value);
    }
  }
  vector.flush();
}
