/**
 * `millrace backfill` of an embedded engine as a process that is killed with SIGKILL at random moments, and the engine
 * with it once, while events come: a history that the log never had, and overlaps with it.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { SeededRandom } from '../engine/testing/random.ts';
import { waitUntil } from '../services/process/wait-until.ts';
import {
  checkout,
  fixture,
  MillraceProcess,
  millrace,
  millraceBinary,
  postJson,
  temporaryDirectory,
  up,
} from './millrace-process.ts';

const SEED = Number(process.env.TEST_SEED ?? 20_261_130);
const DAY_MS = 86_400_000;
const CARDS = 3_000;
const HISTORY = 20_000;
const features = fixture('backfill');

interface Payment {
  readonly id: string;
  readonly at: string;
  readonly card: string;
  readonly shop: string;
  readonly amount: number;
}

it(`is killed at random and gone on with, the engine as well; each event counts once (seed ${SEED})`, async () => {
  const random = new SeededRandom(SEED);
  const folder = temporaryDirectory();
  const nowMs = Date.now();
  const byCard = new Map<string, Map<string, Payment>>();
  const record = (payment: Payment): Payment => {
    const ofCard = byCard.get(payment.card) ?? new Map<string, Payment>();
    byCard.set(payment.card, ofCard.set(payment.id, payment));
    return payment;
  };
  const paymentAt = (n: number, atMs: number): Payment => ({
    id: `p${n}`,
    at: new Date(atMs).toISOString(),
    card: `c${random.below(CARDS)}`,
    shop: `s${random.below(9)}`,
    amount: random.below(100_000) / 100,
  });
  const history = Array.from({ length: HISTORY }, (_, n) =>
    record(paymentAt(n, nowMs - 50 * DAY_MS + Math.floor((n / HISTORY) * 50 * DAY_MS))),
  );
  const file = join(folder, 'payments.csv');
  const lines = history.map(({ id, at, card, shop, amount }) => `${id},${at},${card},${shop},${amount}`);
  writeFileSync(file, `id,at,card,shop,amount\n${lines.join('\n')}\n`);

  const data = join(folder, 'data');
  let server = await up(['--features', features, '--data-dir', data, '--no-simulate']);
  const args = (load: string): string[] => [
    ...['backfill', '--view', 'spend', '--history', file, '--features', features],
    ...['--url', server.url, '--load', load],
  ];
  let next = HISTORY;
  const push = async (): Promise<void> => {
    const fresh = Array.from({ length: 3 }, () =>
      record(paymentAt(next++, Date.now() - random.below(1_000))),
    );
    // Those of the history's last day are in the log as well, some of them more than once.
    const again = history[HISTORY - 1 - random.below(HISTORY / 50)]!;
    const events = [...fresh, again];
    const { status } = await postJson(`${server.url}/v1/sources/payments/events?wait=applied`, { events });
    expect(status).toBe(200);
  };
  const read = async (card: string) => {
    const { status, body } = await postJson(`${server.url}/v1/services/card/features`, {
      entities: { card },
    });
    expect(status).toBe(200);
    return (body as { features: Record<string, number> }).features;
  };
  const expected = (card: string) => {
    const all = [...(byCard.get(card)?.values() ?? [])];
    return {
      payments_60d: all.length,
      amount_60d: expect.closeTo(
        all.reduce((total, { amount }) => total + amount, 0),
        6,
      ),
      shops_60d: new Set(all.map(({ shop }) => shop)).size,
      payments_ever: all.length,
    };
  };
  await push();

  const kill = async (alsoEngine: boolean): Promise<void> => {
    const run = new MillraceProcess(process.execPath, [millraceBinary, ...args('1%')]);
    await waitUntil(() => /Filling|Going on/.test(run.stderr), {
      what: 'it has begun',
      timeoutMs: 60_000,
    });
    // The whole takes a minute.
    await delay(500 + random.below(4_000));
    if (alsoEngine) await server.process.end('SIGKILL');
    await run.end('SIGKILL');
    if (alsoEngine) server = await up(['--features', features, '--data-dir', data, '--no-simulate']);
    await push();
  };
  await kill(false);
  // Nobody goes on with other files.
  const other = join(folder, 'other.csv');
  writeFileSync(other, `id,at,card,shop,amount\n${lines.slice(0, 9).join('\n')}\n`);
  const mixed = await millrace(args('100%').map((arg) => (arg === file ? other : arg)));
  expect(mixed).toMatchObject({
    code: 1,
    stderr: expect.stringContaining('view spend is being filled from another history'),
  });
  await kill(true);
  // An answer meanwhile is that of the log alone, which has but a part.
  expect((await read(history[0]!.card)).payments_ever).toBeLessThan(byCard.get(history[0]!.card)!.size);
  await kill(false);

  let over = false;
  const live = (async () => {
    while (!over) await push();
  })();
  const last = await millrace(args('50%'));
  over = true;
  await live;
  expect(last.code, last.stderr).toBe(0);
  expect(last.stdout).toContain('View spend is read from its new state. 20,000 events of the history made');
  expect(last.stdout).toMatch(/of which [\d,]+ were there already/);
  await push();
  for (const card of byCard.keys()) expect(await read(card), card).toEqual(expected(card));
}, 240_000);

it('says what cannot be used, and what to do', async () => {
  const folder = temporaryDirectory();
  const file = join(folder, 'payments.csv');
  writeFileSync(file, 'id,at,card,shop,amount\n1,2026-01-01T00:00:00Z,c1,s1,5\n');
  const run = async (...args: string[]) => {
    const { code, stderr } = await millrace(['backfill', '--features', features, ...args]);
    return { code, stderr };
  };
  const nobody = ['--url', 'http://127.0.0.1:9'];
  expect(await run('--view', 'spent', '--history', file, ...nobody)).toMatchObject({
    code: 1,
    stderr: expect.stringContaining('has no view spent; its views are spend'),
  });
  expect((await run('--view', 'spend', '--history', join(folder, 'none'), ...nobody)).stderr).toMatch(/none/);
  expect((await run('--view', 'spend', '--history', file, ...nobody)).stderr).toContain(
    'no Millrace answers at',
  );
  expect((await run('--view', 'spend', '--history', file, '--load', '0')).stderr).toContain(
    'a share such as 25%',
  );
  const twice = await run('--view', 'spend', '--history', file, '--history', file, ...nobody);
  expect(twice.stderr).toContain('It is given twice');
  const facts = join(checkout, 'examples/customer-profile');
  const table = await millrace([
    ...['backfill', '--features', facts, '--view', 'customer_profile', ...nobody],
    ...['--history', join(facts, 'customers.csv')],
  ]);
  expect(table).toMatchObject({ code: 1, stderr: expect.stringContaining('give what millrace load keeps') });
  writeFileSync(file, 'id,at,card,amount\n1,2026-01-01T00:00:00Z,c1,5\n');
  expect((await run('--view', 'spend', '--history', file, ...nobody)).stderr).toContain("requires 'shop'");

  writeFileSync(file, 'id,at,card,shop,amount\n1,2026-01-01T00:00:00Z,c1,s1,5\n');
  const server = await up(['--features', fixture('counter'), '--data-dir', join(folder, 'data')]);
  const other = await run('--view', 'spend', '--history', file, '--url', server.url);
  expect(other).toMatchObject({ code: 1, stderr: expect.stringContaining('there is no view') });
});
