/** DuckDB, which reads and writes the files, joins and sorts: opened here and nowhere else. */
import type { DuckDBAppender, DuckDBConnection, DuckDBDataChunk, DuckDBInstance } from '@duckdb/node-api';
import { InputError } from './input-error.ts';

export interface DuckDbOptions {
  /** Database file; made where it is not there. @default in memory */
  readonly file?: string;
  /** What it may take, bytes; beyond that it writes to `spillDir`. */
  readonly memoryBytes: number;
  readonly threads: number;
  readonly spillDir: string;
}

/** As little as can be set: it is looked at whenever a block is given back. */
const FLUSHED_ABOVE = '1MiB';

/** Another process has the file open. */
export class FileInUseError extends Error {
  override readonly name = 'FileInUseError';
}

/** A database of its own. */
export class DuckDb {
  readonly #instance: DuckDBInstance;
  readonly connection: DuckDBConnection;
  /** For appending while rows of a query are still coming over `connection`. */
  readonly #writing: DuckDBConnection;

  private constructor(instance: DuckDBInstance, connection: DuckDBConnection, writing: DuckDBConnection) {
    this.#instance = instance;
    this.connection = connection;
    this.#writing = writing;
  }

  /** @throws FileInUseError where another process has the file open; that this one has not is for the caller to see to */
  static async open({ file, memoryBytes, threads, spillDir }: DuckDbOptions): Promise<DuckDb> {
    // Loaded here: most processes never need its 70 MB.
    const { DuckDBInstance } = await import('@duckdb/node-api');
    try {
      const instance = await DuckDBInstance.create(file ?? ':memory:', {
        memory_limit: `${Math.floor(memoryBytes / 1_048_576)}MiB`,
        threads: String(threads),
        temp_directory: spillDir,
        // Memory that is free is the system's again: by default it keeps what a sort had until the next one.
        allocator_flush_threshold: FLUSHED_ABOVE,
        allocator_bulk_deallocation_flush_threshold: FLUSHED_ABOVE,
        // What it has built in is all it gets: nothing is fetched from anywhere.
        autoinstall_known_extensions: 'false',
        autoload_known_extensions: 'false',
      });
      const connection = await instance.connect();
      await connection.run("SET TimeZone = 'UTC'");
      // What is left when it is closed is either thrown away or was written before.
      await connection.run('PRAGMA disable_checkpoint_on_shutdown');
      return new DuckDb(instance, connection, await instance.connect());
    } catch (error) {
      if (!/Could not set lock on file/.test(String(error))) throw error;
      throw new FileInUseError(`${file} is open in another process`, { cause: error });
    }
  }

  close(): void {
    this.connection.closeSync();
    this.#writing.closeSync();
    this.#instance.closeSync();
  }

  /** Ends the query under way, which fails: `isInterrupted`. */
  interrupt(): void {
    this.connection.interrupt();
  }

  async run(sql: string): Promise<void> {
    await this.connection.run(sql);
  }

  /** Rows as objects: numbers, texts, booleans, null; a BIGINT is a bigint. */
  async rows(sql: string): Promise<Record<string, unknown>[]> {
    return (await this.connection.runAndReadAll(sql)).getRowObjectsJS();
  }

  /** The one row of a query. */
  async row(sql: string): Promise<Record<string, unknown>> {
    return (await this.rows(sql))[0]!;
  }

  /** Rows as lists, as they come. */
  async *stream(sql: string): AsyncGenerator<DuckDBDataChunk> {
    const result = await this.connection.stream(sql);
    for (;;) {
      const chunk = await result.fetchChunk();
      if (chunk === null || chunk.rowCount === 0) return;
      yield chunk;
    }
  }

  appender(table: string): Promise<DuckDBAppender> {
    return this.#writing.createAppender(table);
  }

  /** Columns of a relation with DuckDB's names of their types. */
  async columns(relation: string): Promise<Map<string, string>> {
    const rows = await this.rows(`DESCRIBE SELECT * FROM ${relation}`);
    return new Map(rows.map(({ column_name, column_type }) => [String(column_name), String(column_type)]));
  }
}

/** An identifier as SQL. */
export const quoted = (name: string): string => `"${name.replaceAll('"', '""')}"`;

/** A text as SQL. */
export const text = (value: string): string => `'${value.replaceAll("'", "''")}'`;

/** The path of one file as SQL: what would be a pattern in it is meant as it stands. */
export const fileText = (path: string): string => text(path.replace(/[*?[]/g, '[$&]'));

/** What DuckDB says of a file that cannot be read, without what it quotes of the content and without advice for its own users. What is not the file's fault stays what it is. */
export function readError(what: string, error: unknown): Error {
  if (error instanceof InputError) {
    return error.message.startsWith(what)
      ? error
      : new InputError(`${what}: ${error.message}`, { cause: error });
  }
  const message = error instanceof Error ? error.message : String(error);
  // Not the file's fault.
  if (error instanceof Error && (isOutOfRoom(error) || isOutOfMemory(error) || isInterrupted(error)))
    return error;
  const said = /CSV Error on Line: \d+/.test(message) ? csvError(message) : firstLine(message);
  const file = /^ {2}file = (.+)$/m.exec(message)?.[1];
  const where = file === undefined || file === what ? '' : ` (${file})`;
  return new InputError(`${what} cannot be read: ${said}${where}`, { cause: error });
}

/** Of a disk. */
export const isOutOfRoom = (error: unknown): boolean =>
  /No space left on device|ENOSPC|Disk quota exceeded|EDQUOT/i.test(String(error));

export const isOutOfMemory = (error: unknown): boolean => /Out of Memory Error/.test(String(error));

export const isInterrupted = (error: unknown): boolean => /^Error: INTERRUPT Error/.test(String(error));

/** What it says of a file that is damaged, or gone, while a query goes through it. */
export const isOfFile = (error: unknown): boolean =>
  error instanceof Error &&
  error.constructor === Error &&
  /^[A-Z][A-Za-z ]*Error: /.test(error.message) &&
  !/^(Binder|Catalog|INTERNAL|INTERRUPT|Parser) Error/.test(error.message);

function firstLine(message: string): string {
  return message
    .split('\n')[0]!
    .replace(
      /.*codec not found.*/,
      'it is compressed, which is not read here: write it without, or as Parquet',
    )
    .replace(/^[A-Z][A-Za-z ]* Error: /, '')
    .replace(/Object \{.* has duplicate key .*/, 'a name is there twice')
    .trim();
}

/** The line and the reason; between them stands the line's content. */
function csvError(message: string): string {
  const [line] = /^.*CSV Error on Line: \d+/m.exec(message)!;
  const reason =
    /^(Expected Number of Columns: \d+ Found: \d+|Value with unterminated quote found|Invalid unicode .*|Maximum line size of .*)/m.exec(
      message,
    )?.[0];
  return [line.replace(/^.*(?=CSV Error)/, ''), ...(reason === undefined ? [] : [reason])].join(': ');
}

/** Files that a pattern means, in the order of their names. */
export async function filesMatching(pattern: string): Promise<string[]> {
  const db = await DuckDb.open({ memoryBytes: 2 ** 27, threads: 1, spillDir: '' });
  try {
    const rows = await db.rows(`SELECT file FROM glob(${text(pattern)}) ORDER BY file`);
    return rows.map(({ file }) => String(file));
  } finally {
    db.close();
  }
}
