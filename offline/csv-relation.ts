/**
 * CSV files for DuckDB, all columns as texts. Nothing is guessed: left to itself DuckDB takes rows that begin with # for
 * comments, and a header that does not fit the rows for something to be skipped.
 */
import { parse } from 'csv-parse/sync';
import { type DuckDb, fileText, quoted } from './duckdb.ts';
import { InputError } from './input-error.ts';

const DIALECT = `auto_detect = false, quote = '"', escape = '"', comment = '', skip = 0, hive_partitioning = false`;

export interface CsvRelation {
  readonly names: readonly string[];
  readonly sql: string;
}

/**
 * @param path as it was given, for messages
 * @throws InputError where no file has a header
 */
export async function csvRelation(db: DuckDb, path: string, files: readonly string[]): Promise<CsvRelation> {
  // Files that follow each other and have the same header are read as one.
  const groups: { readonly header: readonly string[]; readonly files: string[] }[] = [];
  for (const file of files) {
    const header = await headerOf(db, file);
    if (header === null) continue;
    const last = groups.at(-1);
    if (last !== undefined && last.header.join('\n') === header.join('\n')) last.files.push(file);
    else groups.push({ header, files: [file] });
  }
  if (groups.length === 0)
    throw new InputError(`${path}: there is no header: the first line must name the columns`);
  const selects = groups.map((group) => {
    const columns = group.header.map((name) => `${quoted(name)}: 'VARCHAR'`).join(', ');
    return `SELECT * FROM read_csv([${group.files.map(fileText).join(', ')}], ${DIALECT}, delim = ',', header = true, columns = {${columns}})`;
  });
  const names = new Map<string, string>();
  for (const name of groups.flatMap(({ header }) => header)) {
    if (!names.has(name.toLowerCase())) names.set(name.toLowerCase(), name);
  }
  return { names: [...names.values()], sql: `(${selects.join(' UNION ALL BY NAME ')})` };
}

/** Names of the columns, each once; null: the file is empty. */
async function headerOf(db: DuckDb, file: string): Promise<string[] | null> {
  const [first] = await db.rows(
    `SELECT line FROM read_csv(${fileText(file)}, auto_detect = false, quote = '', escape = '', comment = '', skip = 0, hive_partitioning = false,
       delim = chr(1), header = false, columns = {line: 'VARCHAR'}) LIMIT 1`,
  );
  if (first === undefined) return null;
  let names: string[];
  try {
    [names = []] = parse(String(first.line ?? ''), { bom: true }) as string[][];
  } catch (error) {
    throw new InputError(`${file}: the header cannot be read: the first line must name the columns`, {
      cause: error,
    });
  }
  // Of two equal ones the first counts. DuckDB tells no names apart by their case.
  const taken = new Set<string>();
  return names.map((name, c) => {
    let own = name === '' ? `column${c}` : name;
    for (let n = 1; taken.has(own.toLowerCase()); n++) own = `${name}_${n}`;
    taken.add(own.toLowerCase());
    return own;
  });
}
