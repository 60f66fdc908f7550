/**
 * The features of `card_fraud` as DuckDB's own window query, and a process that runs it: `node window-query.ts HISTORY SPINE
 * OUT MEMORY_BYTES THREADS`. The times of the data are whole seconds, so that a window of n seconds (T − n, T] is the n − 1 seconds before T and T.
 */
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { DuckDBInstance } from '@duckdb/node-api';
import { text } from '../../offline/duckdb.ts';

const DAY_S = 86_400;
/** A label is known a week after the payment. */
const LABEL_DELAY_S = 7 * DAY_S;

function window(key: string, days: number, delayS: number): string {
  const oldest = `INTERVAL ${delayS + days * DAY_S - 1} SECONDS PRECEDING`;
  const newest = delayS === 0 ? 'CURRENT ROW' : `INTERVAL ${delayS} SECONDS PRECEDING`;
  return `OVER (PARTITION BY ${key} ORDER BY tx_datetime RANGE BETWEEN ${oldest} AND ${newest})`;
}

/** All but the two that look at the clock only: rows of the history that are in the spine, in its order. */
export function windowQuery(history: string, spine: string): string {
  const features = [1, 7, 30].flatMap((days) => {
    const customer = window('customer_id', days, 0);
    const terminal = window('terminal_id', days, LABEL_DELAY_S);
    return [
      `count(*) ${customer} AS CUSTOMER_ID_NB_TX_${days}DAY_WINDOW`,
      `avg(tx_amount) ${customer} AS CUSTOMER_ID_AVG_AMOUNT_${days}DAY_WINDOW`,
      `count(*) ${terminal} AS TERMINAL_ID_NB_TX_${days}DAY_WINDOW`,
      `coalesce(avg(tx_fraud) ${terminal}, 0) AS TERMINAL_ID_RISK_${days}DAY_WINDOW`,
    ];
  });
  return `
    SELECT transaction_id, tx_datetime, customer_id, terminal_id, ${features.join(', ')},
      CAST(isodow(tx_datetime) >= 6 AS INTEGER) AS TX_DURING_WEEKEND, CAST(hour(tx_datetime) <= 6 AS INTEGER) AS TX_DURING_NIGHT
    FROM ${history} QUALIFY transaction_id IN (SELECT transaction_id FROM ${spine}) ORDER BY transaction_id`;
}

/** But for its limits as DuckDB comes. */
async function run([history, spine, out, memoryBytes, threads]: readonly string[]): Promise<void> {
  const db = await DuckDBInstance.create(':memory:', {
    memory_limit: `${Math.floor(Number(memoryBytes) / 2 ** 20)}MiB`,
    threads: threads!,
    temp_directory: join(tmpdir(), 'millrace-window-query'),
  });
  const connection = await db.connect();
  await connection.run("SET TimeZone = 'UTC'");
  const query = windowQuery(`read_parquet(${text(history!)})`, `read_parquet(${text(spine!)})`);
  await connection.run(`COPY (${query}) TO ${text(out!)} (FORMAT parquet, COMPRESSION zstd)`);
  connection.closeSync();
  db.closeSync();
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await run(process.argv.slice(2));
