/**
 * SIGTERM to every role under load, also while Redis or Kafka does not answer: the process ends within its time limit, a
 * second signal ends it at once, and afterwards every acknowledged event is counted, once. For the embedded engine see
 * up.test.ts.
 */
import { randomUUID } from 'node:crypto';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import {
  describeWithServices,
  type KafkaBroker,
  type RedisServer,
  startKafka,
  startRedis,
} from '../services/index.ts';
import { waitUntil } from '../services/process/wait-until.ts';
import { type Exit, fixture, postJson, push, type Server, startRole } from './millrace-process.ts';

const ROLES = ['ingest', 'serve', 'compact', 'up'] as const;
const TIMEOUT_S = 8;
/** From the time limit to the end of the process as this one sees it, on a machine with other work. */
const SLACK_MS = 2_500;
const CARDS = ['a', 'b', 'c'];

interface Payment {
  readonly id: string;
  readonly at: string;
  readonly card: string;
  readonly shop: null;
  readonly amount: number;
  readonly points: number;
}

/** Pushes until the process is gone; a push that was not answered with 200 may be recorded or not. */
class Load {
  readonly acknowledged: Payment[] = [];
  readonly unknown: Payment[] = [];
  readonly #callers: Promise<void>[];
  #next = 0;

  constructor(servers: readonly Server[], name: string) {
    this.#callers = servers.flatMap((server) => [this.#push(server, name), this.#push(server, name)]);
  }

  async #push(server: Server, name: string): Promise<void> {
    let gone = false;
    void server.process.exited.then(() => {
      gone = true;
    });
    while (!gone) {
      const at = new Date().toISOString();
      const events = Array.from({ length: 20 }, (_, i) => ({
        id: `${name} ${this.#next++}`,
        at,
        card: CARDS[i % CARDS.length]!,
        shop: null,
        amount: 1,
        points: 2,
      }));
      const answer = await postJson(`${server.url}/v1/sources/payments/events`, { events }).catch(() => null);
      if (answer?.status === 200) this.acknowledged.push(...events);
      else this.unknown.push(...events);
      // Between the end of listening and the end of the process every try fails at once.
      if (answer === null) await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  until(acknowledged: number): Promise<void> {
    return waitUntil(() => this.acknowledged.length >= acknowledged, {
      what: `${acknowledged} payments acknowledged`,
      timeoutMs: 60_000,
    });
  }

  async ended(): Promise<void> {
    await Promise.all(this.#callers);
  }
}

interface Ended extends Exit {
  readonly role: string;
  /** From the (last) signal to the end. */
  readonly tookMs: number;
}

async function once(role: string, { process }: Server): Promise<Ended> {
  const sentMs = performance.now();
  const exit = await process.end('SIGTERM');
  return { role, ...exit, tookMs: performance.now() - sentMs };
}

/** The second signal comes when the first was taken, and is repeated: those close to the first are the same Ctrl-C. */
async function twice(role: string, { process }: Server): Promise<Ended> {
  process.child.kill('SIGTERM');
  await process.waitForOutput(/SIGTERM: draining/);
  const sentMs = performance.now();
  const again = setInterval(() => process.child.kill('SIGTERM'), 50);
  const exit = await process.exited;
  clearInterval(again);
  return { role, ...exit, tookMs: performance.now() - sentMs };
}

describeWithServices(['kafka', 'redis'], 'SIGTERM to the roles under load', () => {
  let broker: KafkaBroker;
  let redis: RedisServer;

  beforeAll(async () => {
    [broker, redis] = await Promise.all([startKafka(), startRedis({ appendonly: 'everysec' })]);
  }, 240_000);
  afterEach(() => Promise.all([broker.kill('SIGCONT'), redis.kill('SIGCONT')]));
  afterAll(() => Promise.all([broker?.stop(), redis?.stop()]));

  const faults = {
    'with all servers well': async () => {},
    'with Redis stopped': () => redis.kill('SIGSTOP'),
    'with Kafka stopped': () => broker.kill('SIGSTOP'),
  };
  const cases = Object.entries(faults).flatMap(([fault, begin]) => [
    { fault, begin, signals: 'a SIGTERM', end: once },
    { fault, begin, signals: 'a second SIGTERM', end: twice },
  ]);

  it.each(cases)(
    '$signals $fault ends each in time and loses nothing',
    { timeout: 180_000 },
    async ({ begin, end, fault, signals }) => {
      const id = `shutdown-${randomUUID()}`;
      const args = [
        ...['--features', fixture('roles'), '--redis-prefix', id.slice(0, 30), '--redis', redis.url],
        ...['--kafka', broker.brokers.join(','), '--shutdown-timeout', `${TIMEOUT_S}`, '--create-topics'],
      ];
      // Who was killed stays in its group for half a minute.
      const start = (role: (typeof ROLES)[number], group: string): Promise<Server> =>
        startRole(role, role === 'ingest' || role === 'up' ? [...args, '--group', group] : args, {
          env: { TEST_TOPICS: id },
        });
      // One after the other: the first one makes the topics.
      const servers: Server[] = [];
      for (const role of ROLES) servers.push(await start(role, id));
      const load = new Load([servers[1]!, servers[3]!], id);
      await load.until(400);

      await begin();
      const ended = await Promise.all(ROLES.map((role, i) => end(role, servers[i]!)));
      console.log(
        `${signals} ${fault}:`,
        ended.map(({ role, tookMs }) => `${role} ${Math.round(tookMs)} ms`).join(', '),
      );
      for (const [i, { role, code, signal, tookMs }] of ended.entries()) {
        if (end === once) {
          expect({ code, signal }, role).toEqual({ code: 0, signal: null });
          expect(tookMs, role).toBeLessThan(TIMEOUT_S * 1_000 + SLACK_MS);
        } else {
          // Some have drained before the second one counts; after that a signal is nobody's any more.
          if (code !== 143) expect(servers[i]!.process.stdout, role).toMatch(/^Stopped\.$/m);
          expect(tookMs, role).toBeLessThan(SLACK_MS);
        }
      }
      if (end === twice && fault !== 'with all servers well') {
        expect(ended.map(({ code }) => code)).toContain(143);
      }
      await load.ended();
      await Promise.all([broker.kill('SIGCONT'), redis.kill('SIGCONT')]);

      const after = await start('up', `${id}-after`);
      // A producer that got no answer sends again; the numbers are then known exactly.
      for (let i = 0; i < load.unknown.length; i += 500) {
        await push(after, 'payments', load.unknown.slice(i, i + 500));
      }
      await push(after, 'payments', load.acknowledged.slice(-1));
      for (const card of CARDS) {
        const events = [...load.acknowledged, ...load.unknown].filter(
          (payment) => payment.card === card,
        ).length;
        const { status, body } = await postJson(`${after.url}/v1/services/card/features`, {
          entities: { card },
        });
        expect(status).toBe(200);
        expect((body as { features: object }).features, card).toMatchObject({
          payments_12h: events,
          payments_ever: events,
          points_ever: 2 * events,
        });
      }
      expect(await once('up', after)).toMatchObject({ code: 0 });
    },
  );
});
