/** The page "from events to a trained model": its commands work one after the other, and its check with SQL finds no difference. */
import { execFileSync, spawnSync } from 'node:child_process';
import { copyFileSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { DuckDb } from '../offline/duckdb.ts';
import { temporaryDirectory } from './millrace-process.ts';

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

  const modules = ['pandas', 'pyarrow', 'sklearn'];
  const { status } = spawnSync('python3', ['-c', modules.map((name) => `import ${name}`).join('\n')]);
  if (status !== 0) console.warn(`SKIPPED: train.py needs python3 with ${modules.join(', ')}`);
  it.skipIf(status !== 0)(
    'has a script that trains a model',
    async () => {
      const folder = temporaryDirectory();
      const file = join(folder, 'training.parquet');
      const db = await DuckDb.open({ memoryBytes: 2 ** 28, threads: 1, spillDir: folder });
      // A label that a feature tells of.
      await db.run(
        `COPY (SELECT i AS transaction_id, to_timestamp(i) AS tx_datetime, 1 AS customer_id, 1 AS terminal_id, i % 7 AS payments_1d,
           CAST(i % 7 > 4 AS INTEGER) AS is_fraud FROM range(500) r(i)) TO '${file}' (FORMAT parquet)`,
      );
      db.close();
      copyFileSync(join(training, 'train.py'), join(folder, 'train.py'));
      const out = execFileSync('python3', ['train.py', file, 'is_fraud'], { cwd: folder, encoding: 'utf8' });
      expect(out).toContain('ROC AUC 1.000');
    },
    120_000,
  );
});
