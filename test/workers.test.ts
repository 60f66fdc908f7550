/** `millrace serve --workers N`: several processes on one port, their ends, and the metrics of all. */
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest';
import { closedFiles, loggedDecisions, openFiles } from '../serve/decision-log/testing/logged-decisions.ts';
import { describeWithServices, type RedisServer, sharedServices, startRedis } from '../services/index.ts';
import { waitUntil } from '../services/process/wait-until.ts';
import {
  fixture,
  MillraceProcess,
  millrace,
  millraceBinary,
  type Server,
  startRole,
  temporaryDirectory,
} from './millrace-process.ts';

const START_MS = 240_000;
/** Bounds waits; ends only what hangs. */
const WAIT_MS = 60_000;
const WORKERS = 3;

const until = (what: string, condition: () => boolean | Promise<boolean>): Promise<void> =>
  waitUntil(condition, { what, timeoutMs: WAIT_MS });

const childrenOf = (pid: number): number[] =>
  readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').filter(Boolean).map(Number);

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

const LOGGED = /^millrace_decision_log_records_total\{result="written"\}/;

/** A request on a connection of its own, so that another worker has the next one. */
const ask = (server: Server, path: string): Promise<Response> =>
  fetch(`${server.url}${path}`, { headers: { connection: 'close' } });

/** What a metric is over all its labels. */
async function metric(server: Server, series: RegExp): Promise<number> {
  const text = await (await ask(server, '/metrics')).text();
  return text
    .split('\n')
    .filter((line) => series.test(line))
    .reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' '))), 0);
}

it('needs a number of processes', async () => {
  const { code, stderr } = await millrace(['serve', '--workers', '0']);
  expect(stderr).toContain('workers (flag --workers): must be a whole number from 1 to 64; it is 0');
  expect(code).toBe(1);
});

describeWithServices(['kafka', 'redis'], 'millrace serve --workers', () => {
  let brokers: string;
  let redis: RedisServer;

  beforeAll(async () => {
    redis = await startRedis({ appendonly: 'everysec' });
    brokers = (await sharedServices().kafka()).join(',');
  }, START_MS);
  afterAll(() => redis?.stop());

  async function serve(...more: readonly string[]): Promise<Server> {
    const id = `workers-${randomUUID()}`;
    const server = await startRole(
      'serve',
      [
        ...['--workers', String(WORKERS), '--features', fixture('roles'), '--redis-prefix', id.slice(0, 30)],
        ...['--kafka', brokers, '--redis', redis.url, '--create-topics'],
        ...more,
      ],
      { env: { TEST_TOPICS: id }, ownGroup: true },
    );
    expect(childrenOf(server.process.child.pid!)).toHaveLength(WORKERS);
    return server;
  }

  it('answer in turns, and count together', { timeout: START_MS }, async () => {
    const server = await serve();
    const requests = 4 * WORKERS;
    for (let n = 0; n < requests; n++) expect((await ask(server, '/healthz')).status).toBe(200);
    const answered = /^millrace_http_requests_total\{route="\/healthz"/;
    // Whoever is asked.
    for (let n = 0; n < WORKERS; n++) expect(await metric(server, answered)).toBe(requests);
    expect(await metric(server, /^millrace_ready /)).toBe(1);
    expect(await metric(server, /^millrace_clock_seconds /)).toBeLessThan(Date.now() / 1_000 + 1);
  });

  it('one that is killed is replaced, and the others answer meanwhile', { timeout: START_MS }, async () => {
    const server = await serve();
    const { pid } = server.process.child;
    const [first, ...others] = childrenOf(pid!);
    process.kill(first!, 'SIGKILL');
    await until('the killed worker is gone', () => !childrenOf(pid!).includes(first!));
    for (let n = 0; n < 2 * WORKERS; n++) expect((await ask(server, '/healthz')).status).toBe(200);
    await until('another one is there', () => childrenOf(pid!).length === WORKERS);
    expect(childrenOf(pid!)).toEqual(expect.arrayContaining(others));
    expect(server.process.stderr).toContain('a worker ended; another takes its place');
    expect(await server.process.end('SIGTERM')).toEqual({ code: 0, signal: null });
  });

  it('SIGTERM ends them all; a second one at once', { timeout: START_MS }, async () => {
    const server = await serve();
    const workers = childrenOf(server.process.child.pid!);
    expect(await server.process.end('SIGTERM')).toEqual({ code: 0, signal: null });
    expect(server.process.stdout).toMatch(/SIGTERM: draining[\s\S]*Stopped\.\n$/);
    expect(workers.filter(isAlive)).toEqual([]);

    const other = await serve();
    const stuck = childrenOf(other.process.child.pid!);
    // They cannot drain.
    for (const worker of stuck) process.kill(worker, 'SIGSTOP');
    other.process.child.kill('SIGTERM');
    // A second signal within 250 ms of the first counts as the same.
    const again = setInterval(() => other.process.child.kill('SIGTERM'), 100);
    onTestFinished(() => clearInterval(again));
    expect(await other.process.exited).toEqual({ code: 143, signal: null });
    await until('no worker is left', () => stuck.every((pid) => !isAlive(pid)));
  });

  it('log what each of them has answered, to files of its own', { timeout: START_MS }, async () => {
    const directory = temporaryDirectory();
    const server = await serve('--decision-log', directory, '--decision-log-keys', 'plain');
    const cards = Array.from({ length: 4 * WORKERS }, (_, n) => `card ${n}`);
    for (const card of cards) {
      const response = await fetch(`${server.url}/v1/services/card/features`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', connection: 'close' },
        body: JSON.stringify({ entities: { card } }),
      });
      expect(response.status).toBe(200);
    }
    await until('all is written', async () => (await metric(server, LOGGED)) === cards.length);
    expect(openFiles(directory)).toHaveLength(WORKERS);
    expect(await server.process.end('SIGTERM')).toEqual({ code: 0, signal: null });
    expect(openFiles(directory)).toEqual([]);
    // One that was not asked has none.
    expect(closedFiles(directory).length).toBeGreaterThan(1);
    expect(loggedDecisions(directory).map(({ entities }) => entities.card)).toEqual(
      expect.arrayContaining(cards),
    );
  });

  it('workers do not outlive the process that started them', { timeout: START_MS }, async () => {
    const server = await serve();
    const workers = childrenOf(server.process.child.pid!);
    await server.process.end('SIGKILL');
    await until('no worker is left', () => workers.every((pid) => !isAlive(pid)));
  });

  it('what keeps them from starting is said once', { timeout: START_MS }, async () => {
    const args = ['serve', '--workers', String(WORKERS), '--port', '0', '--features', fixture('roles')];
    const starting = new MillraceProcess(process.execPath, [
      ...[millraceBinary, ...args, '--kafka', '127.0.0.1:1', '--redis', redis.url],
    ]);
    expect(await starting.exited).toEqual({ code: 1, signal: null });
    expect(starting.stderr.match(/no Kafka broker answers/g)).toHaveLength(1);
  });
});
