/** Files as a relation of DuckDB: something to select from, and what kind of values its columns have. */
import type * as Arrow from 'apache-arrow';
import { loadArrow } from './arrow-input.ts';
import { csvRelation } from './csv-relation.ts';
import { type DuckDb, fileText, quoted, readError, text } from './duckdb.ts';
import { InputError } from './input-error.ts';
import type { TableFiles } from './table-files.ts';
import { textTypes, typedTexts } from './text-types.ts';
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

/** DuckDB's name of the place of a row in its Parquet file. */
/** Of one Parquet file: numbers of its rows, from 0 on. */
export const ROW_NUMBER = 'file_row_number';

/** Rows of a file that its number in the order of arrival leaves room for. */
export const FILE_ROWS = 2 ** 36;

export type TableInput = TableFiles | { readonly path: string; readonly table: Arrow.Table };

export type ReadTexts = { readonly some: ReadonlySet<string> } | { readonly all: readonly string[] };

const list = (files: readonly string[]): string => `[${files.map(fileText).join(', ')}]`;

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
    case 'parquet':
      return parquetRelation(db, path, files);
    case 'csv': {
      const { names, sql } = await csvRelation(db, path, files);
      const asTexts = new Map(names.map((column): [string, FileColumnKind] => [column, 'csv']));
      if ('all' in read) return { path, sql, columns: asTexts, arrival: null };
      const others = names.filter((column) => !read.some.has(column));
      const types = await textTypes(db, { sql, names: others, numbers: true });
      const columns = new Map([...asTexts, ...typed(types)]);
      return { path, sql: typedTexts(sql, types), columns, arrival: null };
    }
    case 'ndjson': {
      const open = (columns: string): string =>
        `read_json(${list(files)}, format = 'newline_delimited', hive_partitioning = false${columns})`;
      const declared = (types: readonly (readonly [string, string])[]): string =>
        open(`, columns = {${types.map(([column, type]) => `${quoted(column)}: ${text(type)}`).join(', ')}}`);
      // Which columns there are is told by the rows: where all are known, there may be none yet.
      if ('all' in read) {
        const sql = declared(read.all.map((column) => [column, 'JSON']));
        const columns = new Map(read.all.map((column): [string, FileColumnKind] => [column, 'json']));
        return { path, sql, columns, arrival: null };
      }
      const found = [...(await db.columns(open(', sample_size = -1')))].map(
        ([column, type]): [string, string] => {
          if (read.some.has(column)) return [column, 'JSON'];
          return [column, OF_TEXTS.test(type) ? 'VARCHAR' : type];
        },
      );
      const texts = found.filter(([, type]) => type === 'VARCHAR').map(([column]) => column);
      const types = await textTypes(db, { sql: declared(found), names: texts, numbers: false });
      const columns = found.map(([column, type]): [string, FileColumnKind] => [
        column,
        type === 'JSON' ? 'json' : { type: types.get(column) ?? type },
      ]);
      return { path, sql: typedTexts(declared(found), types), columns: new Map(columns), arrival: null };
    }
  }
}

/** What DuckDB makes of texts in JSON. */
const OF_TEXTS = /^(VARCHAR|UUID|DATE|TIME|TIMESTAMP.*)$/;

async function parquetRelation(db: DuckDb, path: string, files: readonly string[]): Promise<TableRelation> {
  const open = (options: string): string =>
    `read_parquet(${list(files)}, union_by_name = true, hive_partitioning = false${options})`;
  const columns = typed(await db.columns(open('')));
  for (const name of columns.keys()) {
    if (name.toLowerCase() === ROW_NUMBER)
      throw new InputError(`a column cannot be named '${name}' here: give it another name`);
  }
  if (files.length === 1) return { path, sql: open(`, ${ROW_NUMBER} = true`), columns, arrival: ROW_NUMBER };
  const numbers = files.map((file, i) => `(${text(file)}, ${i})`).join(', ');
  return {
    path,
    sql: `${open(`, filename = '$file', ${ROW_NUMBER} = true`)}
      JOIN (VALUES ${numbers}) files("$file", "$file_number") USING ("$file")`,
    columns,
    arrival: `("$file_number" * ${FILE_ROWS} + ${ROW_NUMBER})`,
  };
}

function typed(columns: ReadonlyMap<string, string>): Map<string, FileColumnKind> {
  return new Map([...columns].map(([column, type]) => [column, { type }]));
}
