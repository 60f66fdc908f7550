/**
 * The finished rows in the order of the spine. Joined and sorted all at once they lie in memory about three times, wide as they
 * are; so many rows are joined and sorted piece by piece into a table, which is then read in its order.
 */
import { type DuckDb, quoted } from './duckdb.ts';
import { PLACE } from './spine.ts';
import type { PlaceRange, TrainingColumn, TrainingTable } from './training-table.ts';

/** Rows that are joined and sorted at once: two of DuckDB's row groups. */
const PIECE_ROWS = 245_760;
/** For each of them all tables are gone through. */
const PIECES_MAX = 16;

const JOINED = '"joined rows"';

/**
 * @param written how a column is written. @default as it is
 * @param pieceRows for tests
 * @returns the query
 */
export async function rowsInOrder(
  db: DuckDb,
  table: TrainingTable,
  written = ({ sql }: TrainingColumn): string => sql,
  pieceRows = PIECE_ROWS,
): Promise<string> {
  const { columns, rows } = table;
  const selected = (of: readonly TrainingColumn[]): string =>
    of.map((column) => `${written(column)} AS ${quoted(column.name)}`).join(', ');
  if (rows <= pieceRows)
    return `SELECT ${selected(columns)} FROM ${table.from()} ORDER BY s.${quoted(PLACE)}`;
  const size = Math.ceil(rows / Math.min(PIECES_MAX, Math.ceil(rows / pieceRows)));
  const gathered = columns.map(({ sql, stored }, c) => `${stored?.sql ?? sql} AS c${c}`).join(', ');
  for (let from = 0; from < rows; from += size) {
    const range: PlaceRange = { from, to: from + size };
    const into = from === 0 ? `CREATE OR REPLACE TABLE ${JOINED} AS` : `INSERT INTO ${JOINED}`;
    await db.run(`${into} SELECT ${gathered} FROM ${table.from(range)} ORDER BY s.${quoted(PLACE)}`);
  }
  const joined = columns.map((column, c): TrainingColumn => {
    const { stored } = column;
    const sql = `j.c${c}`;
    if (stored === null) return { ...column, sql };
    return { ...column, sql: stored.transport.sql(sql), stored: { ...stored, sql } };
  });
  // Rows of a table come in the order in which they were inserted.
  return `SELECT ${selected(joined)} FROM ${JOINED} j`;
}
