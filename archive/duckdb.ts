/** DuckDB in memory, as the writer of Parquet files. Loaded by the first use: 70 MB that only an archive needs. */
import type { DuckDBConnection, DuckDBInstance } from '@duckdb/node-api';

export type DuckDb = typeof import('@duckdb/node-api');

/** More than rows that wait and the file being written ever take: see `ARCHIVE_LIMITS`. */
const MEMORY_LIMIT = '512MB';

export class ParquetWriter {
  #opened: Promise<{ readonly duckdb: DuckDb; readonly instance: DuckDBInstance }> | null = null;
  #turn: Promise<unknown> = Promise.resolve();

  /** A connection of one's own: calls of one connection wait for each other, also those of this thread. */
  async connect(): Promise<{ readonly duckdb: DuckDb; readonly connection: DuckDBConnection }> {
    this.#opened ??= open();
    const { duckdb, instance } = await this.#opened;
    return { duckdb, connection: await instance.connect() };
  }

  /** One after the other, in the order of the calls: a file being written takes memory and a core. */
  inTurn<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#turn.then(work);
    this.#turn = done.catch(() => {});
    return done;
  }

  /** Behind all else. Nothing happens where it was never used. */
  async close(): Promise<void> {
    await this.#turn;
    const opened = await this.#opened?.catch(() => undefined);
    opened?.instance.closeSync();
  }
}

async function open(): Promise<{ duckdb: DuckDb; instance: DuckDBInstance }> {
  const duckdb = await import('@duckdb/node-api');
  const instance = await duckdb.DuckDBInstance.create(':memory:', {
    threads: '1',
    memory_limit: MEMORY_LIMIT,
    // Nothing is spilled, installed or looked up beside the archive.
    temp_directory: '',
    autoinstall_known_extensions: 'false',
    autoload_known_extensions: 'false',
    allow_persistent_secrets: 'false',
  });
  return { duckdb, instance };
}
