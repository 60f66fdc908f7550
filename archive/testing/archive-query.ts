/** Looks into an archive as its readers do: DuckDB over a glob, which knows nothing of commits. */
import { type DuckDBConnection, DuckDBInstance } from '@duckdb/node-api';

export type QueriedRow = Readonly<Record<string, unknown>>;

export class ArchiveQuery {
  readonly #connection: DuckDBConnection;

  static async open(): Promise<ArchiveQuery> {
    const instance = await DuckDBInstance.create(':memory:', { threads: '1', memory_limit: '512MB' });
    return new ArchiveQuery(await instance.connect());
  }

  private constructor(connection: DuckDBConnection) {
    this.#connection = connection;
  }

  /** Rows of a statement, 64-bit integers as bigint. */
  async sql(statement: string): Promise<QueriedRow[]> {
    return (await this.#connection.runAndReadAll(statement)).getRowObjects();
  }

  /** `source`'s rows, by partition and offset; timestamps in whole ms. Where there are no files: none. */
  async rows(directory: string, source: string): Promise<QueriedRow[]> {
    const from = await this.#from(directory, source);
    if (from === null) return [];
    const rows = await this.sql(`SELECT * FROM ${from} ORDER BY _partition, _offset`);
    return rows.map((row) =>
      Object.fromEntries(Object.entries(row).map(([name, value]) => [name, asMs(value)])),
    );
  }

  /** As `partition/offset`, ascending, as often as they are there. */
  async positions(directory: string, source: string): Promise<string[]> {
    const from = await this.#from(directory, source);
    if (from === null) return [];
    const rows = await this.sql(`SELECT _partition, _offset FROM ${from} ORDER BY ALL`);
    return rows.map(({ _partition, _offset }) => `${_partition}/${_offset}`);
  }

  /** Column → type, as DuckDB takes them. */
  async types(directory: string, source: string): Promise<Record<string, unknown>> {
    const columns = await this.sql(`DESCRIBE SELECT * FROM ${await this.#from(directory, source)}`);
    return Object.fromEntries(columns.map(({ column_name, column_type }) => [column_name, column_type]));
  }

  async files(directory: string, source: string): Promise<string[]> {
    const found = await this.sql(
      `SELECT file FROM glob(${quoted(`${directory}/source=${source}/**/*.parquet`)}) ORDER BY 1`,
    );
    return found.map(({ file }) => String(file));
  }

  async #from(directory: string, source: string): Promise<string | null> {
    const files = await this.files(directory, source);
    if (files.length === 0) return null;
    const list = files.map(quoted).join(', ');
    return `read_parquet([${list}], hive_partitioning = true, union_by_name = true)`;
  }
}

const quoted = (text: string): string => `'${text.replaceAll("'", "''")}'`;

function asMs(value: unknown): unknown {
  const { micros, days } = (value ?? {}) as { micros?: bigint; days?: number };
  if (typeof micros === 'bigint') return Number(micros) / 1_000;
  if (typeof days === 'number') return new Date(days * 86_400_000).toISOString().slice(0, 10);
  return value;
}
