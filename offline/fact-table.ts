/** The table of a batch source, as it is now: its rows with their declared types, and which of them cannot be used. */
import { join, resolve } from 'node:path';
import type { BatchTable, StreamSource } from '../engine/definitions/types.ts';
import { type DuckDb, readError, text } from './duckdb.ts';
import { EventHistory } from './event-history.ts';
import { InputError } from './input-error.ts';
import { type TableFiles, tableFiles } from './table-files.ts';

/** A source whose rows come from a table. */
export type BatchSource = StreamSource & { readonly batch: BatchTable };

export const isBatchSource = (source: StreamSource): source is BatchSource => source.batch !== undefined;

export interface FactTableOptions {
  /** Where relative paths begin. */
  readonly baseDir: string;
  /** For what is read once and not kept. */
  readonly workDir: string;
}

/**
 * @returns its columns, as of `EventHistory.select`
 * @throws InputError where the table cannot be read, or lacks a column, or has one of another kind
 */
export async function factTable(
  db: DuckDb,
  source: BatchSource,
  { baseDir, workDir }: FactTableOptions,
): Promise<EventHistory> {
  const { from, columns } = source.batch;
  const own = Object.fromEntries(columns.map((name) => [name, source.columns[name]!]));
  const files =
    'sql' in from
      ? await queried(db, source, { ...from, baseDir, workDir })
      : await tableFiles(resolve(baseDir, from.path));
  const table = await EventHistory.open(db, { ...source, columns: own, eventId: null }, files, workDir);
  // A column that was renamed is not one whose values have all become unknown.
  if (table.absent.length > 0) {
    throw new InputError(
      `${files.path}: there is no column ${table.absent.map((name) => `'${name}'`).join(', ')}, which the source '${source.name}' takes from the table`,
    );
  }
  return table;
}

/** The rows of a query, written down once: it is asked once, and its rows have an order. */
async function queried(
  db: DuckDb,
  { name }: BatchSource,
  from: { readonly sql: string; readonly setup?: string } & FactTableOptions,
): Promise<TableFiles> {
  const what = `the query of source ${name}`;
  const file = join(from.workDir, `table-${name}.parquet`);
  try {
    await db.run(`SET file_search_path = ${text(from.baseDir)}`);
    if (from.setup !== undefined) await db.run(from.setup);
    await db.run(`COPY (${from.sql.trim().replace(/;\s*$/, '')}\n) TO ${text(file)} (FORMAT parquet)`);
  } catch (error) {
    throw readError(what, withoutValues(error));
  }
  return { path: what, format: 'parquet', files: [file] };
}

/** What went wrong with a value says which one it was. */
function withoutValues(error: unknown): unknown {
  const message = error instanceof Error ? error.message : String(error);
  if (!/^(Conversion|Invalid Input|Out of Range|Constraint) Error/.test(message)) return error;
  const said = message.split('\n')[0]!.replaceAll(/'[^']*'|"[^"]*"|\(.*\)/g, '…');
  return new Error(said, { cause: error });
}
