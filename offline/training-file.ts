/** A training set as a file: Parquet, Arrow IPC, CSV or newline-delimited JSON. */
import { rename, rm, writeFile } from 'node:fs/promises';
import { arrowFile } from './arrow-output.ts';
import { type DuckDb, quoted, text } from './duckdb.ts';
import { rowsInOrder } from './rows-in-order.ts';
import type { TableFormat } from './table-files.ts';
import type { TrainingColumn, TrainingTable } from './training-table.ts';

const TIME = 'TIMESTAMP WITH TIME ZONE';

/** Times of the text formats: ISO 8601 with a zone. */
function isoText(column: TrainingColumn): string {
  const { sql, sqlType, feature } = column;
  // A feature's has ms; a column of the spine keeps what it has.
  return sqlType === TIME || (feature !== null && sqlType.includes(TIME))
    ? iso(sql, sqlType, feature === null ? '%f' : '%g')
    : sql;
}

/** @param sqlType as `feature-transport.ts` has them */
function iso(x: string, sqlType: string, fraction: string): string {
  if (sqlType === TIME) return `strftime(${x}, '%Y-%m-%dT%H:%M:%S.${fraction}Z')`;
  if (sqlType === `${TIME}[]`) return `list_transform(${x}, lambda t: ${iso('t', TIME, fraction)})`;
  if (sqlType === `MAP(VARCHAR, ${TIME})`) {
    return `map_from_entries(list_transform(map_entries(${x}), lambda e: {'key': e.key, 'value': ${iso('e.value', TIME, fraction)}}))`;
  }
  if (sqlType.startsWith('STRUCT("value" ')) {
    return `CASE WHEN ${x} IS NOT NULL THEN {'value': ${iso(`${x}."value"`, TIME, fraction)}, 'count': ${x}."count"} END`;
  }
  if (sqlType.endsWith('[]'))
    return `list_transform(${x}, lambda p: ${iso('p', sqlType.slice(0, -2), fraction)})`;
  const value = sqlType.slice('MAP(VARCHAR, '.length, -1);
  return `map_from_entries(list_transform(map_entries(${x}), lambda m: {'key': m.key, 'value': ${iso('m.value', value, fraction)}}))`;
}

/** JSON has no NaN and no infinity; labels may be such. */
function jsonText(column: TrainingColumn): string {
  const { sql, sqlType, feature } = column;
  return feature === null && /^(FLOAT|DOUBLE)$/.test(sqlType)
    ? `CASE WHEN isfinite(${sql}) THEN ${sql} END`
    : isoText(column);
}

/** CSV has no lists: they are JSON there. */
function csvText(column: TrainingColumn): string {
  return /\[\]$|^(MAP|STRUCT)\(/.test(column.sqlType)
    ? `CAST(to_json(${isoText(column)}) AS VARCHAR)`
    : isoText(column);
}

/**
 * Writes the file beside its place first, so that it is there as a whole or not at all. Parquet and Arrow have the metadata
 * in themselves; CSV and JSON cannot, and have it in a file beside them, `FILE.metadata.json`.
 * @param check the last thing before it is there: throws where what was read was not right after all
 */
export async function writeTrainingTable(
  db: DuckDb,
  table: TrainingTable,
  {
    file,
    format,
    check,
  }: { readonly file: string; readonly format: TableFormat; readonly check?: () => Promise<void> },
): Promise<void> {
  const part = `${file}.part`;
  try {
    await writePart(db, table, { part, file, format });
    await check?.();
    if (format === 'csv' || format === 'ndjson') {
      const columns = table.columns.map(({ name, sqlType, feature }) => ({ name, type: sqlType, feature }));
      const metadata = { ...Object.fromEntries(table.metadata), columns };
      await writeFile(`${file}.metadata.json`, `${JSON.stringify(metadata, null, 2)}\n`);
    }
    await rename(part, file);
  } catch (error) {
    await rm(part, { force: true });
    throw error;
  }
}

async function writePart(
  db: DuckDb,
  table: TrainingTable,
  { part, file, format }: { readonly part: string; readonly file: string; readonly format: TableFormat },
): Promise<void> {
  const copy = async (written: Parameters<typeof rowsInOrder>[2], options: string): Promise<void> => {
    const rows = await rowsInOrder(db, table, written);
    await db.run(`COPY (${rows}) TO ${text(part)} (FORMAT ${options}, USE_TMP_FILE false)`);
  };
  switch (format) {
    case 'parquet': {
      const values = [...table.metadata].map(([key, value]) => `${quoted(key)}: ${text(value)}`);
      return copy(undefined, `parquet, COMPRESSION zstd, KV_METADATA {${values.join(', ')}}`);
    }
    case 'csv':
      return copy(csvText, `csv, HEADER true, ${compression(file)}`);
    case 'ndjson':
      return copy(jsonText, `json, ${compression(file)}`);
    case 'arrow':
      return arrowFile(db, table, part);
  }
}

function compression(file: string): string {
  if (/\.gz$/i.test(file)) return 'COMPRESSION gzip';
  return /\.zst$/i.test(file) ? 'COMPRESSION zstd' : 'COMPRESSION none';
}
