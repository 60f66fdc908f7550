/** From the archive of a running engine to a training set: the same values as from the file whose events were pushed. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { checkout, millrace, temporaryDirectory, up } from './millrace-process.ts';

const features = join(checkout, 'examples/card-fraud');
const DAY_MS = 86_400_000;

/** Payments of a few customers over a month, in the order of their times, some in one second. */
function payments(): string[] {
  const startMs = Date.now() - 40 * DAY_MS;
  return Array.from({ length: 600 }, (_, i) => {
    const at = new Date(startMs + Math.floor(i / 2) * 6_000_000).toISOString();
    return `${i},${at},${i % 7},${i % 5},${(i * 37) % 200}.5,${i % 11 === 0 ? 1 : 0}`;
  });
}

it('a training set of the archive is that of the events', async () => {
  const folder = temporaryDirectory();
  const file = join(folder, 'payments.csv');
  const rows = payments();
  writeFileSync(
    file,
    `transaction_id,tx_datetime,customer_id,terminal_id,tx_amount,tx_fraud\n${rows.join('\n')}\n`,
  );
  const archive = join(folder, 'archive');
  const server = await up(['--features', features, '--data-dir', join(folder, 'data'), '--archive', archive]);
  const replayed = await millrace([
    'replay',
    file,
    '--source',
    'card_transactions',
    '--features',
    features,
    '--url',
    server.url,
  ]);
  expect(replayed.code, replayed.stderr).toBe(0);
  // The same again: in the log, and so in the archive, nothing is there twice.
  expect(
    (
      await millrace([
        'replay',
        file,
        '--source',
        'card_transactions',
        '--features',
        features,
        '--url',
        server.url,
      ])
    ).code,
  ).toBe(0);
  expect((await server.process.end('SIGTERM')).code).toBe(0);

  const train = async (history: string, out: string): Promise<string> => {
    const args = [
      '--service',
      'card_fraud',
      '--spine',
      file,
      '--history',
      history,
      '--out',
      out,
      '--prefix',
      'f_',
    ];
    const made = await millrace(['training-set', '--features', features, ...args]);
    expect(made.code, made.stderr).toBe(0);
    return readFileSync(out, 'utf8');
  };
  const ofArchive = await train(archive, join(folder, 'archive.csv'));
  expect(ofArchive).toBe(await train(file, join(folder, 'file.csv')));
  expect(ofArchive.split('\n').length).toBe(rows.length + 2);
  expect(ofArchive).toContain('f_CUSTOMER_ID_NB_TX_30DAY_WINDOW');
}, 120_000);
