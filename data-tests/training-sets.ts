/** Training sets of the published data, with features by the id of the row's event. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { compileRepo } from '../engine/definitions/compile.ts';
import { DuckDb, text } from '../offline/duckdb.ts';
import { trainingSet } from '../offline/make-training-set.ts';
import type { Features } from './lockstep.ts';
import { folder } from './published-data.ts';

/** @param args.spine a query of the rows of the file; `args.file` is its relation */
export async function trainedFeatures(args: {
  readonly definitions: Readonly<Record<string, unknown>>;
  readonly service: string;
  readonly file: string;
  readonly id: string;
  readonly spine: (file: string) => string;
}): Promise<Map<number, Features>> {
  const dir = await mkdtemp(join(tmpdir(), 'millrace-trained-'));
  try {
    const history = join(folder, args.file);
    const spine = join(dir, 'spine.parquet');
    const db = await DuckDb.open({ memoryBytes: 2 ** 30, threads: 2, spillDir: dir });
    try {
      await db.run(
        `COPY (${args.spine(`read_csv(${text(history)}, all_varchar = true)`)}) TO ${text(spine)} (FORMAT parquet)`,
      );
    } finally {
      db.close();
    }
    const repo = compileRepo(Object.values(args.definitions));
    const table = await trainingSet({ repo, service: args.service, spine, history });
    const names = repo.services.get(args.service)!.output.map(({ name }) => name);
    const columns = names.map((name) => table.getChild(name)!);
    const ids = table.getChild(args.id)!;
    const trained = new Map<number, Features>();
    for (let i = 0; i < table.numRows; i++) {
      const values = columns.map((column, c): [string, number | null] => {
        const value = column.get(i) as number | bigint | null;
        return [names[c]!, value === null ? null : Number(value)];
      });
      trained.set(Number(ids.get(i)), Object.fromEntries(values));
    }
    return trained;
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

const DAYS = ['2018-04-10', '2018-05-23', '2018-05-31', '2018-06-07'];

/** Every row that has published values; the spine has the keys and the time of the payments, and nothing else. */
export function trainedPayments(
  definitions: Readonly<Record<string, unknown>>,
  days = DAYS,
): Promise<Map<number, Features>> {
  return trainedFeatures({
    ...{ definitions, service: 'card_fraud', file: 'card_transactions.csv.gz', id: 'transaction_id' },
    spine: (file) =>
      `SELECT CAST(transaction_id AS BIGINT) AS transaction_id, CAST(tx_datetime AS TIMESTAMPTZ) AS tx_datetime,
         CAST(customer_id AS BIGINT) AS customer_id, CAST(terminal_id AS BIGINT) AS terminal_id
       FROM ${file} WHERE tx_datetime[:10] IN (${days.map(text).join(', ')})`,
  });
}
