/** The page "from events to a trained model": its commands work one after the other, and its check with SQL finds no difference. */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { folder as data, dataPresent } from '../data-tests/published-data.ts';
import { DuckDb } from '../offline/duckdb.ts';
import { lackOfPython, python } from '../services/index.ts';
import { millrace, temporaryDirectory } from './millrace-process.ts';

const root = fileURLToPath(new URL('..', import.meta.url));
const training = join(root, 'examples/card-fraud/training');
/** As the page writes it. */
const FOLDER = '/tmp/millrace-training';

function runPage(folder: string): string {
  const page = readFileSync(join(root, 'docs/training.md'), 'utf8');
  const blocks = [...page.matchAll(/```sh\n(.*?)```/gs)].map(([, block]) => block!);
  const script = blocks
    .join('\n')
    .replaceAll(FOLDER, folder)
    .replaceAll('npx millrace', `"${process.execPath}" bin/millrace.js`);
  return execFileSync('bash', ['-euc', script], {
    cwd: root,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
  });
}

async function check(folder: string): Promise<Record<string, unknown>> {
  const db = await DuckDb.open({ memoryBytes: 2 ** 28, threads: 1, spillDir: folder });
  try {
    const sql = readFileSync(join(training, 'check.sql'), 'utf8');
    const ofFolder = (file: string): string => `'${join(folder, file)}'`;
    return await db.row(
      sql
        .replaceAll("'payments.csv'", ofFolder('payments.csv'))
        .replaceAll("'training.parquet'", ofFolder('training.parquet')),
    );
  } finally {
    db.close();
  }
}

describe('docs/training.md', () => {
  it('makes a training set that SQL agrees with, and not with another one', async () => {
    const folder = temporaryDirectory();
    const out = runPage(folder);
    expect(out).toContain('training.parquet: 4 rows');
    expect(await check(folder)).toEqual({
      ...{ compared: 4n, payments_1d_differ: 0n, mean_30d_differ: 0n, terminal_7d_differ: 0n },
    });
    // One payment less of customer 7: the check must notice.
    const payments = readFileSync(join(folder, 'payments.csv'), 'utf8');
    execFileSync('bash', ['-c', `grep -v '^1,' payments.csv > less.csv && mv less.csv payments.csv`], {
      cwd: folder,
    });
    expect(readFileSync(join(folder, 'payments.csv'), 'utf8')).not.toBe(payments);
    const { payments_1d_differ, mean_30d_differ, terminal_7d_differ } = await check(folder);
    expect(
      [payments_1d_differ, mean_30d_differ, terminal_7d_differ].every((count) => Number(count) > 0),
    ).toBe(true);
  }, 120_000);

  const lack = lackOfPython('duckdb', 'pandas', 'polars', 'pyarrow', 'sklearn');
  const because = lack === null ? '' : ` [${lack}]`;

  it.skipIf(lack !== null)(
    `makes what pandas and polars read as it is${because}`,
    () => {
      const folder = temporaryDirectory();
      runPage(folder);
      const file = join(folder, 'training.parquet');
      const ofPandas = python(
        `import pandas, sys; rows = pandas.read_parquet(sys.argv[1]); print(len(rows), *(f'{c}:{t}' for c, t in rows.dtypes.items()))`,
        file,
      );
      const ofPolars = python(
        `import polars, sys; rows = polars.read_parquet(sys.argv[1]); print(len(rows), *(f'{c}:{t}' for c, t in rows.schema.items()))`,
        file,
      );
      expect(ofPandas).toMatch(
        /^4 .*tx_datetime:datetime64\[us, UTC\] .*NB_TX_1DAY_WINDOW:int64 .*AVG_AMOUNT_1DAY_WINDOW:float64/,
      );
      expect(ofPolars).toMatch(
        /^4 .*tx_datetime:Datetime\(.*UTC.*\) .*NB_TX_1DAY_WINDOW:Int64 .*AVG_AMOUNT_1DAY_WINDOW:Float64/,
      );
    },
    120_000,
  );

  it.skipIf(lack !== null)(
    `has a check that Python's DuckDB agrees with${because}`,
    () => {
      const folder = temporaryDirectory();
      runPage(folder);
      const program = `import duckdb, os, sys; os.chdir(sys.argv[1]); print(duckdb.sql(open(sys.argv[2]).read()).fetchall())`;
      expect(python(program, folder, join(training, 'check.sql')).trim()).toBe('[(4, 0, 0, 0)]');
    },
    120_000,
  );

  it.skipIf(lack !== null)(
    `has a script that trains a model${because}`,
    async () => {
      const folder = temporaryDirectory();
      const file = join(folder, 'training.parquet');
      // A label that a feature tells of.
      await query(
        folder,
        `COPY (SELECT i AS transaction_id, to_timestamp(i) AS tx_datetime, 1 AS customer_id, 1 AS terminal_id, i % 7 AS payments_1d,
         CAST(i % 7 > 4 AS INTEGER) AS is_fraud FROM range(500) r(i)) TO '${file}' (FORMAT parquet)`,
      );
      expect(train(file, 'is_fraud')).toContain('ROC AUC 1.000');
    },
    120_000,
  );

  const isPublished = dataPresent('card_transactions.csv.gz');
  it.skipIf(lack !== null || !isPublished)(
    `whose model finds frauds among the published card payments${because}`,
    async () => {
      const folder = temporaryDirectory();
      const [history, spine, out] = ['history', 'spine', 'out'].map((name) =>
        join(folder, `${name}.parquet`),
      ) as [string, string, string];
      await query(
        folder,
        `COPY (FROM read_csv('${data}/card_transactions.csv.gz')) TO '${history}' (FORMAT parquet)`,
      );
      await query(
        folder,
        `COPY (SELECT transaction_id, tx_datetime, customer_id, terminal_id, tx_fraud FROM '${history}'
         WHERE tx_datetime >= '2018-05-15') TO '${spine}' (FORMAT parquet)`,
      );
      const made = await millrace([
        ...['training-set', '--service', 'card_fraud', '--history', history],
        ...['--spine', spine, '--out', out],
      ]);
      expect(made).toMatchObject({ code: 0 });
      const [, auc] = /ROC AUC (\S+)/.exec(train(out, 'tx_fraud'))!;
      // Without a feature that tells anything it is 0.5.
      expect(Number(auc)).toBeGreaterThan(0.85);
    },
    240_000,
  );
});

const train = (file: string, label: string): string =>
  execFileSync('python3', [join(training, 'train.py'), file, label], { encoding: 'utf8' });

async function query(folder: string, sql: string): Promise<void> {
  const db = await DuckDb.open({ memoryBytes: 2 ** 29, threads: 1, spillDir: folder });
  try {
    await db.run(sql);
  } finally {
    db.close();
  }
}
