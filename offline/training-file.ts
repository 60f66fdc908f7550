/** A training set as a file: Parquet, Arrow IPC, CSV or newline-delimited JSON. */
import { rename, writeFile } from 'node:fs/promises';
import { arrowFile } from './arrow-output.ts';
import { type DuckDb, quoted, text } from './duckdb.ts';
import type { TableFormat } from './table-files.ts';
import { selectOf, type TrainingColumn, type TrainingTable } from './training-table.ts';

/** Times of the text formats: ISO 8601 with a zone. */
function isoText({ sql, sqlType, feature }: TrainingColumn): string {
  if (sqlType !== 'TIMESTAMP WITH TIME ZONE') return sql;
  // A feature's has ms; a column of the spine keeps what it has.
  return `strftime(${sql}, '%Y-%m-%dT%H:%M:%S.${feature === null ? '%f' : '%g'}Z')`;
}

/** CSV has no lists: they are JSON there. */
function csvText(column: TrainingColumn): string {
  return /\[\]$|^(MAP|STRUCT)\(/.test(column.sqlType)
    ? `CAST(to_json(${column.sql}) AS VARCHAR)`
    : isoText(column);
}

/**
 * Writes the file beside its place first, so that it is there as a whole or not at all. Parquet and Arrow have the metadata
 * in themselves; CSV and JSON cannot, and have it in a file beside them, `FILE.metadata.json`.
 */
export async function writeTrainingTable(
  db: DuckDb,
  table: TrainingTable,
  { file, format }: { readonly file: string; readonly format: TableFormat },
): Promise<void> {
  const part = `${file}.part`;
  switch (format) {
    case 'parquet': {
      const values = [...table.metadata].map(([key, value]) => `${quoted(key)}: ${text(value)}`);
      await db.run(
        `COPY (${selectOf(table)}) TO ${text(part)} (FORMAT parquet, COMPRESSION zstd, KV_METADATA {${values.join(', ')}})`,
      );
      break;
    }
    case 'csv':
      await db.run(
        `COPY (${selectOf(table, csvText)}) TO ${text(part)} (FORMAT csv, HEADER true${gzip(file)})`,
      );
      break;
    case 'ndjson':
      await db.run(`COPY (${selectOf(table, isoText)}) TO ${text(part)} (FORMAT json${gzip(file)})`);
      break;
    case 'arrow':
      await arrowFile(db, table, part);
      break;
  }
  if (format === 'csv' || format === 'ndjson') {
    const columns = table.columns.map(({ name, sqlType, feature }) => ({ name, type: sqlType, feature }));
    const metadata = { ...Object.fromEntries(table.metadata), columns };
    await writeFile(`${file}.metadata.json`, `${JSON.stringify(metadata, null, 2)}\n`);
  }
  await rename(part, file);
}

function gzip(file: string): string {
  if (/\.gz$/i.test(file)) return ', COMPRESSION gzip';
  return /\.zst$/i.test(file) ? ', COMPRESSION zstd' : ', COMPRESSION none';
}
