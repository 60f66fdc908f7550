/**
 * `millrace load` as a process, against real engines: new facts and changed ones, nothing twice, also where it is killed; what it
 * cannot read or reach is told.
 */
import { randomUUID } from 'node:crypto';
import { existsSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { lockDirectory } from '../engine/store/directory-lock.ts';
import { DuckDb, text } from '../offline/duckdb.ts';
import { describeWithServices, type RedisServer, sharedServices, startRedis } from '../services/index.ts';
import { waitUntil } from '../services/process/wait-until.ts';
import {
  checkout,
  fixture,
  MillraceProcess,
  millrace,
  millraceBinary,
  postJson,
  push,
  type Server,
  temporaryDirectory,
  up,
} from './millrace-process.ts';

/** Bounds waits and tests; ends only what hangs. */
const WAIT_MS = 120_000;
vi.setConfig({ testTimeout: 2 * WAIT_MS });
const DAY_MS = 86_400_000;
const NOW_MS = Date.now();
/** Nothing listens there. */
const NOWHERE = 'http://127.0.0.1:1';

const until = (what: string, condition: () => boolean | Promise<boolean>): Promise<void> =>
  waitUntil(condition, { what, timeoutMs: WAIT_MS });

const iso = (ms: number): string => new Date(ms).toISOString();

interface Customer {
  readonly customer: string;
  readonly segment: string;
  readonly limit: number;
  readonly fromMs: number;
}

/** Tables, and a state, of a test's own. */
class Tables {
  readonly dir = temporaryDirectory();
  readonly env: Readonly<Record<string, string>>;
  readonly state = join(this.dir, 'state');

  constructor(topics = 'facts') {
    this.env = { FACTS_DIR: this.dir, TEST_TOPICS: topics };
  }

  customers(rows: readonly Customer[], header = 'customer,segment,credit_limit,valid_from'): void {
    const lines = rows.map(
      ({ customer, segment, limit, fromMs }) => `${customer},${segment},${limit},${iso(fromMs)}`,
    );
    writeFileSync(join(this.dir, 'customers.csv'), `${[header, ...lines].join('\n')}\n`);
  }

  zips(rows: readonly (readonly [string, string])[]): void {
    writeFileSync(
      join(this.dir, 'zips.csv'),
      `${['customer,zip', ...rows.map((row) => row.join(','))].join('\n')}\n`,
    );
  }

  args(url: string, ...more: string[]): string[] {
    return ['load', '--features', fixture('facts'), '--url', url, '--state', this.state, ...more];
  }

  load(url: string, ...more: string[]): ReturnType<typeof millrace> {
    return millrace(this.args(url, ...more), { env: this.env });
  }

  start(url: string, ...more: string[]): MillraceProcess {
    return new MillraceProcess(process.execPath, [millraceBinary, ...this.args(url, ...more)], {
      env: this.env,
    });
  }

  /** Files that say what was loaded, the oldest first. */
  history(source: string): string[] {
    return readdirSync(join(this.state, source, 'history')).sort();
  }
}

function manyCustomers(count: number): Customer[] {
  return Array.from({ length: count }, (_, i) => ({
    ...{ customer: `c${i}`, segment: i % 3 === 0 ? 'gold' : 'basic', limit: i % 1_000 },
    fromMs: NOW_MS - (i % 1_500) * DAY_MS,
  }));
}

type Features = Readonly<Record<string, unknown>>;

/** Of a service for many customers. */
async function read({ url }: Server, customers: readonly string[], at?: string): Promise<Features[]> {
  const found: Features[] = [];
  for (let from = 0; from < customers.length; from += 500) {
    const rows = customers
      .slice(from, from + 500)
      .map((customer) => ({ entities: { customer }, ...(at === undefined ? {} : { at }) }));
    const ask = () =>
      postJson(`${url}/v1/services/known/features/batch`, {
        rows,
        features: ['segment', 'credit_limit', 'versions', 'zip', 'moves'],
      });
    let answer = await ask();
    // Facts are still being applied, on a machine that has other things to do.
    await until('it has room for a question', async () => {
      if (answer.status === 503) answer = await ask();
      return answer.status !== 503;
    });
    const { status, body } = answer;
    expect(status, JSON.stringify(body).slice(0, 500)).toBe(200);
    found.push(...(body as { rows: { features: Features }[] }).rows.map(({ features }) => features));
  }
  return found;
}

/** Of each customer one version, and the right one. */
async function expectLoaded(server: Server, customers: readonly Customer[]): Promise<void> {
  const names = customers.map(({ customer }) => customer);
  const expected = customers.map(({ segment, limit }) => ({ segment, credit_limit: limit, versions: 1 }));
  const pick = ({ segment, credit_limit, versions }: Features): Features => ({
    segment,
    credit_limit,
    versions,
  });
  // Facts are acknowledged when they are in the log.
  await until('all facts are applied', async () =>
    (await read(server, names)).every(({ versions }) => Number(versions) >= 1),
  );
  expect((await read(server, names)).map(pick)).toEqual(expected);
}

const start = (tables: Tables): Promise<Server> =>
  up(['--features', fixture('facts'), '--data-dir', join(tables.dir, 'data')], { env: tables.env });

async function killedInTheMiddle(server: Server, tables: Tables): Promise<void> {
  const customers = manyCustomers(30_000);
  tables.customers(customers);
  const args = ['--source', 'customers', '--once'];
  const killed = tables.start(server.url, ...args, '--batch', '100', '--in-flight', '2');
  await until('some of it is pushed', () => existsSync(join(tables.state, 'customers/progress.json')));
  expect(await killed.end('SIGKILL')).toMatchObject({ signal: 'SIGKILL' });
  expect(tables.history('customers')).toEqual([]);
  const stopped = tables.start(server.url, ...args, '--batch', '100', '--in-flight', '2');
  await until('it is pushing', () => readdirSync(join(tables.state, 'customers')).includes('work'));
  await stopped.end('SIGTERM');
  const { code, stdout, stderr } = await tables.load(server.url, ...args);
  expect(code, stderr).toBe(0);
  expect(stdout).toContain('customers: 30,000 rows, 0 new or changed; accepted ');
  expect(tables.history('customers')).toHaveLength(1);
  expect(readdirSync(join(tables.state, 'customers'))).toEqual(['history']);
  await expectLoaded(server, customers);
  const again = await tables.load(server.url, ...args);
  expect(again.stdout).toContain('30,000 rows, 0 new or changed; accepted 0, duplicates 0, rejected 0');
}

describe('millrace load, embedded', () => {
  it('pushes what is new or changed, nothing twice; a training set sees what was known then', async () => {
    const tables = new Tables();
    const [a, b]: [Customer, Customer] = [
      { customer: 'a', segment: 'basic', limit: 100, fromMs: NOW_MS - 100 * DAY_MS },
      { customer: 'b', segment: 'new', limit: 5, fromMs: NOW_MS - 50 * DAY_MS },
    ];
    tables.customers([a, b]);
    tables.zips([
      ['a', '01067'],
      ['b', '10115'],
    ]);
    const server = await start(tables);
    const first = await tables.load(server.url, '--once');
    expect(first).toMatchObject({ code: 0, stderr: '' });
    expect(first.stdout).toMatch(
      /^zips: 2 rows, 2 new or changed; accepted 2, duplicates 0, rejected 0 in /m,
    );
    expect(first.stdout).toMatch(/^customers: 2 rows, 2 new or changed; accepted 2, /m);
    const between = Date.now();
    const second = await tables.load(server.url, '--once');
    expect(second.stdout).toMatch(/^zips: 2 rows, 0 new or changed; accepted 0, /m);
    expect(second.stdout).toMatch(/^customers: 2 rows, 0 new or changed; accepted 0, /m);

    // A version, a correction of one, a fact of tomorrow, and a move; b has gone from both tables.
    const gold = { ...a, segment: 'gold', fromMs: NOW_MS - 10 * DAY_MS };
    const tomorrow = { ...a, segment: 'platinum', limit: 900, fromMs: NOW_MS + DAY_MS };
    tables.customers([{ ...a, limit: 120 }, gold, tomorrow]);
    tables.zips([['a', '80331']]);
    const third = await tables.load(server.url, '--once');
    expect(third).toMatchObject({ code: 0, stderr: '' });
    expect(third.stdout).toMatch(/^zips: 1 rows, 1 new or changed; accepted 1, /m);
    expect(third.stdout).toMatch(/^customers: 3 rows, 3 new or changed; accepted 3, /m);
    await push(server, 'purchases', [{ id: 'p', at: iso(Date.now()), customer: 'a', amount: 60 }]);
    await until('all is applied', async () => (await read(server, ['a']))[0]!.moves === 2);
    const [nowA, nowB] = await read(server, ['a', 'b']);
    expect(nowA).toEqual({ segment: 'gold', credit_limit: 100, versions: 3, zip: '80331', moves: 2 });
    expect(nowB).toEqual({ segment: 'new', credit_limit: 5, versions: 1, zip: '10115', moves: 1 });

    // Once more, for an engine that has lost its log: this one has not, and counts nothing again.
    const again = await tables.load(server.url, '--once', '--again');
    expect(again.stdout).toContain('accepted 0, duplicates 5, rejected 0');
    const profileAt = async (atMs: number): Promise<unknown> => {
      const { status, body } = await postJson(`${server.url}/v1/services/known/features`, {
        entities: { customer: 'a' },
        at: iso(atMs),
        features: ['segment', 'credit_limit'],
      });
      expect(status, JSON.stringify(body)).toBe(200);
      return (body as { features: unknown }).features;
    };
    expect(await profileAt(NOW_MS - 20 * DAY_MS)).toEqual({ segment: 'basic', credit_limit: 120 });

    const spine = join(tables.dir, 'spine.csv');
    const rows = [
      ['a', NOW_MS - 101 * DAY_MS],
      ['a', NOW_MS - 20 * DAY_MS],
      ['a', between],
      ['a', Date.now()],
      ['b', NOW_MS - 10 * DAY_MS],
      ['a', NOW_MS + 2 * DAY_MS],
    ] as const;
    // The time is that of purchases; that the spine has one of facts, too, does not matter.
    const lines = rows.map(([name, at]) => `${name},${iso(at)},${iso(0)}\n`);
    writeFileSync(spine, `customer,at,valid_from\n${lines.join('')}`);
    writeFileSync(join(tables.dir, 'purchases.csv'), 'id,at,customer,amount\n');
    const out = join(tables.dir, 'out.csv');
    const trained = await millrace(
      [
        ...[
          'training-set',
          '--features',
          fixture('facts'),
          '--service',
          'known',
          '--spine',
          spine,
          '--out',
          out,
        ],
        ...['--history', `customers=${join(tables.state, 'customers/history')}`],
        ...['--history', `zips=${join(tables.state, 'zips/history')}`],
        ...['--history', `purchases=${join(tables.dir, 'purchases.csv')}`],
      ],
      { env: tables.env },
    );
    expect(trained.code, trained.stderr).toBe(0);
    const db = await DuckDb.open({ memoryBytes: 2 ** 28, threads: 1, spillDir: '' });
    try {
      const got = await db.rows(
        `SELECT segment, credit_limit, zip FROM read_csv(${text(out)}, all_varchar = true)`,
      );
      expect(got.map((row) => Object.values(row))).toEqual([
        [null, null, null],
        ['basic', '120.0', null],
        ['gold', '100.0', '01067'],
        ['gold', '100.0', '80331'],
        ['new', '5.0', null],
        ['platinum', '900.0', '80331'],
      ]);
    } finally {
      db.close();
    }
    // The table of the present says nothing of what was known when.
    writeFileSync(join(tables.dir, 'now.csv'), 'customer,zip\na,80331\n');
    const refused = await millrace(
      [
        ...[
          'training-set',
          '--features',
          fixture('facts'),
          '--service',
          'known',
          '--spine',
          spine,
          '--out',
          out,
        ],
        ...['--history', `customers=${join(tables.dir, 'customers.csv')}`, '--time', 'at', '--no-event-id'],
        ...['--history', `zips=${join(tables.dir, 'now.csv')}`],
        ...['--history', `purchases=${join(tables.dir, 'purchases.csv')}`],
      ],
      { env: tables.env },
    );
    expect(refused.stderr).toContain("the source 'zips' requires 'loaded_at'");
  });

  it('loads the example', async () => {
    const dir = temporaryDirectory();
    const features = join(checkout, 'examples/customer-profile');
    const server = await up(['--features', features, '--data-dir', join(dir, 'data')]);
    const args = ['load', '--features', features, '--url', server.url, '--state', join(dir, 'state')];
    const { code, stdout } = await millrace([...args, '--once']);
    expect({ code, stdout }).toEqual({
      code: 0,
      stdout: expect.stringContaining(
        'customers: 5 rows, 5 new or changed; accepted 5, duplicates 0, rejected 0 in ',
      ),
    });
    let answer: unknown;
    await until('it is applied', async () => {
      answer = (
        await postJson(`${server.url}/v1/services/customer_profile/features`, {
          entities: { customer_id: 7 },
          features: ['segment', 'zip'],
        })
      ).body;
      return (answer as { features: { segment: unknown } }).features.segment === 'gold';
    });
    expect(answer).toMatchObject({
      features: { segment: 'gold', zip: '01067' },
      metadata: { features: { zip: { status: 'stale' } } },
    });
  });

  it('killed in the middle, it goes on, and each fact counts once', async () => {
    const tables = new Tables();
    await killedInTheMiddle(await start(tables), tables);
  });

  it('on a schedule it loads again and again, through failures, until it is told to stop', async () => {
    const tables = new Tables();
    const server = await start(tables);
    tables.zips([['a', '1']]);
    const scheduled = tables.start(server.url, '--source', 'zips', '--every', '1s');
    await scheduled.waitForOutput(/zips: 1 rows, 1 new or changed/);
    rmSync(join(tables.dir, 'zips.csv'));
    await until('a failure is told', () =>
      scheduled.stderr.includes('the query of source zips cannot be read'),
    );
    expect(scheduled.stderr).toContain('zips is tried again in 1s at most');
    tables.zips([['a', '2']]);
    await until('it was tried again', () => tables.history('zips').length === 2);
    expect(await scheduled.end('SIGTERM')).toEqual({ code: 0, signal: null });
    expect((await read(server, ['a']))[0]).toMatchObject({ zip: '2', moves: 2 });
  });

  it('rows that cannot be used are named, and the others loaded; so are those that the server refuses', async () => {
    const tables = new Tables();
    const server = await start(tables);
    const from = iso(NOW_MS - DAY_MS);
    writeFileSync(
      join(tables.dir, 'customers.csv'),
      `customer,segment,credit_limit,valid_from\na,x,1,${from}\na,x,much,${from}\nb,x,2,yesterday\n${'k'.repeat(2_000)},x,3,${from}\nd,x,4,${from}\n`,
    );
    const { code, stdout } = await tables.load(server.url, '--source', 'customers', '--once');
    expect(code).toBe(1);
    expect(stdout).toContain('5 rows, 3 new or changed; accepted 2, duplicates 0, rejected 1');
    expect(stdout).toContain("row 2: 'credit_limit' is missing, or no double");
    expect(stdout).toContain("row 3: 'valid_from' is missing, or no timestamp");
    expect(stdout).toContain('key_too_long');
    // What was refused is not taken for loaded.
    const again = await tables.load(server.url, '--source', 'customers', '--once');
    expect(again.stdout).toContain('5 rows, 1 new or changed; accepted 0, duplicates 0, rejected 1');
    expect((await read(server, ['a', 'd'])).map(({ credit_limit }) => credit_limit)).toEqual([1, 4]);
  });

  it('says what is wrong with what it was given', async () => {
    const tables = new Tables();
    const refused = async (url: string, ...more: string[]): Promise<string> => {
      const { code, stdout, stderr } = await tables.load(url, ...more);
      expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
      expect(stderr).not.toMatch(/^\s+at /m);
      return stderr;
    };
    const only = ['--source', 'customers', '--once'];
    expect(await refused(NOWHERE, ...only)).toContain(`no Millrace answers at ${NOWHERE}`);
    expect(await refused(NOWHERE, '--source', 'purchases')).toContain(
      'has no batch source purchases; its batch sources are',
    );
    expect(await refused(NOWHERE, '--every', 'often')).toContain('a duration from 1s to 366d');
    expect(await refused(NOWHERE, '--every', '1d', '--once')).toContain('cannot be used with');
    const server = await start(tables);
    const lock = await lockDirectory(join(tables.state, 'customers'));
    expect(await refused(server.url, ...only)).toContain('another process loads customers');
    await lock.release();
    expect(await refused(server.url, ...only)).toMatch(/customers\.csv: there is no such file/);
    tables.customers([], 'customer,segment,valid_from');
    expect(await refused(server.url, ...only)).toContain(
      "there is no column 'credit_limit', which the source 'customers' takes from the table",
    );
    const other = await up(
      ['--features', fixture('counter'), '--data-dir', join(temporaryDirectory(), 'data')],
      {},
    );
    expect(await refused(other.url, ...only)).toContain('unknown_source');
    const none = await millrace(['load', '--features', fixture('counter'), '--url', server.url]);
    expect(none.stderr).toContain('has no batch source');
  });
});

describeWithServices(['kafka', 'redis'], 'millrace load, over Kafka and Redis', () => {
  let brokers: string;
  let redis: RedisServer;
  beforeAll(async () => {
    redis = await startRedis({ appendonly: 'everysec' });
    brokers = (await sharedServices().kafka()).join(',');
  }, 240_000);
  afterAll(() => redis?.stop());

  it('killed in the middle, it goes on, and each fact counts once', async () => {
    const id = `load-${randomUUID()}`;
    const tables = new Tables(id);
    const server = await up(
      [
        ...['--features', fixture('facts'), '--redis-prefix', id.slice(0, 30), '--group', id],
        ...['--kafka', brokers, '--redis', redis.url, '--create-topics'],
      ],
      { env: tables.env },
    );
    await killedInTheMiddle(server, tables);
  });
});
