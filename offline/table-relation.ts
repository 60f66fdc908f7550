/** Files as a relation of DuckDB: something to select from, and what kind of values its columns have. */
import type * as Arrow from 'apache-arrow';
import { loadArrow } from './arrow-input.ts';
import { type DuckDb, quoted, readError, text } from './duckdb.ts';
import type { TableFiles } from './table-files.ts';
import type { FileColumnKind } from './typed-column.ts';

export interface TableRelation {
  /** As it was given, for messages. */
  readonly path: string;
  /** What stands behind FROM. */
  readonly sql: string;
  readonly columns: ReadonlyMap<string, FileColumnKind>;
  /** Order of the rows as SQL: file after file, row after row, 0 ≤ n < 2⁵³. null: it cannot be told where it stands. */
  readonly arrival: string | null;
}

/** Rows of a file that its number in the order of arrival leaves room for. */
const FILE_ROWS = 2 ** 36;

export type TableInput = TableFiles | { readonly path: string; readonly table: Arrow.Table };

export type ReadTexts = { readonly some: ReadonlySet<string> } | { readonly all: readonly string[] };

const list = (files: readonly string[]): string => `[${files.map(text).join(', ')}]`;

/**
 * @param read which columns stay text where the file has only text (CSV), or JSON: some, or all and what they are called
 * @throws InputError where the files cannot be read
 */
export async function tableRelation(
  db: DuckDb,
  input: TableInput,
  name: string,
  read: ReadTexts,
): Promise<TableRelation> {
  try {
    return await relationOf(db, input, name, read);
  } catch (error) {
    throw readError(input.path, error);
  }
}

async function relationOf(
  db: DuckDb,
  input: TableInput,
  name: string,
  read: ReadTexts,
): Promise<TableRelation> {
  const { path } = input;
  if ('table' in input || input.format === 'arrow') {
    await loadArrow(db, name, 'table' in input ? input.table : input.files);
    return { path, sql: quoted(name), columns: typed(await db.columns(quoted(name))), arrival: 'rowid' };
  }
  const { files, format } = input;
  switch (format) {
    case 'parquet': {
      const sql = `read_parquet(${list(files)}, union_by_name = true, hive_partitioning = false)`;
      const columns = typed(await db.columns(sql));
      if (files.length === 1) {
        return {
          path,
          sql: `read_parquet(${list(files)}, file_row_number = true)`,
          columns,
          arrival: 'file_row_number',
        };
      }
      const numbers = files.map((file, i) => `(${text(file)}, ${i})`).join(', ');
      return {
        path,
        sql: `read_parquet(${list(files)}, union_by_name = true, hive_partitioning = false, filename = true, file_row_number = true)
          JOIN (VALUES ${numbers}) files(filename, file_number) USING (filename)`,
        columns,
        arrival: `(file_number * ${FILE_ROWS} + file_row_number)`,
      };
    }
    case 'csv': {
      const options = `union_by_name = true, header = true, delim = ',', quote = '"', escape = '"'`;
      if ('all' in read) {
        const sql = `read_csv(${list(files)}, ${options}, all_varchar = true)`;
        const names = [...(await db.columns(sql)).keys()];
        return { path, sql, columns: new Map(names.map((column) => [column, 'csv'])), arrival: null };
      }
      // Types are found by all rows: one found by the first ones may not do for the others.
      const open = (types: string): string =>
        `read_csv(${list(files)}, ${options}, sample_size = -1${types})`;
      const found = [...(await db.columns(open(''))).keys()].filter((column) => read.some.has(column));
      const types = found.map((column) => `${text(column)}: 'VARCHAR'`).join(', ');
      const sql = open(found.length === 0 ? '' : `, types = {${types}}`);
      const columns = typed(await db.columns(sql));
      for (const column of found) columns.set(column, 'csv');
      return { path, sql, columns, arrival: null };
    }
    case 'ndjson': {
      const open = (columns: string): string =>
        `read_json(${list(files)}, format = 'newline_delimited'${columns})`;
      // Which columns there are is told by the rows: where all are known, there may be none yet.
      const types =
        'all' in read
          ? read.all.map((column): [string, string] => [column, 'JSON'])
          : [...(await db.columns(open(', sample_size = -1')))].map(([column, type]): [string, string] => [
              column,
              read.some.has(column) ? 'JSON' : type,
            ]);
      const declared = types.map(([column, type]) => `${quoted(column)}: ${text(type)}`).join(', ');
      const kinds = types.map(([column, type]): [string, FileColumnKind] => [
        column,
        type === 'JSON' ? 'json' : { type },
      ]);
      return { path, sql: open(`, columns = {${declared}}`), columns: new Map(kinds), arrival: null };
    }
  }
}

function typed(columns: ReadonlyMap<string, string>): Map<string, FileColumnKind> {
  return new Map([...columns].map(([column, type]) => [column, { type }]));
}
