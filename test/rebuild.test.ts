/**
 * `millrace rebuild` as a process that is killed with SIGKILL at random moments, beside processes that ingest, serve and
 * compact, over a real Kafka and a real Redis, under load. Answers equal what was acknowledged all the while.
 *
 * Not tested here: faults of Kafka and Redis themselves.
 */
import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { compileRepo } from '../engine/definitions/compile.ts';
import { RedisTileStore } from '../engine/store/redis/redis-tile-store.ts';
import { SeededRandom } from '../engine/testing/random.ts';
import { decodeBinding, type ViewBinding } from '../roles/view-binding.ts';
import { describeWithServices, type RedisServer, sharedServices, startRedis } from '../services/index.ts';
import { waitUntil } from '../services/process/wait-until.ts';
import * as definitions from './fixtures/roles/features.ts';
import { fixture, MillraceProcess, millrace, millraceBinary, postJson } from './millrace-process.ts';
import { expectNoDefects, SupervisedProcess } from './supervised-process.ts';
import { kafkaClient } from './topic-content.ts';

const SEED = Number(process.env.TEST_SEED ?? 20_261_128);
const CARDS = Array.from({ length: 40 }, (_, i) => `card-${i}`);
const PARTITIONS = 2;
const HISTORY = 60_000;
const BATCH = 2_000;
const KILLS = 3;
const WAIT_MS = 90_000;

const until = (what: string, condition: () => boolean | Promise<boolean>): Promise<void> =>
  waitUntil(condition, { what, timeoutMs: WAIT_MS });

/** What was acknowledged, by card. */
class Tally {
  readonly #cards = new Map(CARDS.map((card) => [card, { count: 0, sum: 0, max: 0 }]));

  add(card: string, amount: number): void {
    const of = this.#cards.get(card)!;
    of.count++;
    of.sum += amount;
    of.max = Math.max(of.max, amount);
  }

  of(card: string): { count: number; sum: number; max: number } {
    return this.#cards.get(card)!;
  }
}

describeWithServices(['kafka', 'redis'], 'millrace rebuild', () => {
  const topics = `test-${randomUUID()}`;
  const view = compileRepo(Object.values(definitions)).views.get('spend')!;
  let brokers: string[];
  let redis: RedisServer;
  let servers: string[];

  beforeAll(async () => {
    brokers = await sharedServices().kafka();
    redis = await startRedis({ appendonly: 'everysec' });
    servers = ['--kafka', brokers.join(','), '--redis', redis.url];
  }, 240_000);
  afterAll(() => redis?.stop());

  it(`is killed at random and gone on with; answers are right before, meanwhile and after (seed ${SEED})`, async () => {
    const random = new SeededRandom(SEED);
    const env = { TEST_TOPICS: topics };
    const features = fixture('roles');
    const creating = ['--create-topics', '--partitions', String(PARTITIONS)];
    const ingest = new SupervisedProcess('ingest', 'ingest', {
      features,
      flags: [...servers, '--group', topics, ...creating],
      env,
    });
    await ingest.ready();
    const compact = new SupervisedProcess('compact', 'compact', { features, flags: servers, env });
    const serve = new SupervisedProcess('serve', 'serve', { features, flags: servers, env });
    await Promise.all([compact.ready(), serve.ready()]);

    let next = 0;
    const tally = new Tally();
    const payment = () => {
      const id = `p${next++}`;
      const card = random.pick(CARDS);
      const at = new Date(Date.now() - random.below(600_000)).toISOString();
      return { id, at, card, shop: null, amount: random.below(1_000), points: null };
    };
    const producer = kafkaClient(brokers).producer();
    await producer.connect();
    for (let sent = 0; sent < HISTORY; sent += BATCH) {
      const events = Array.from({ length: BATCH }, payment);
      await producer.send({
        topic: `${topics}.payments`,
        acks: -1,
        messages: events.map((event, i) => ({ partition: i % PARTITIONS, value: JSON.stringify(event) })),
      });
      for (const { card, amount } of events) tally.add(card, amount);
    }
    await producer.disconnect();

    const store = await RedisTileStore.open({ nodes: redis.url });
    const binding = async (): Promise<ViewBinding> =>
      decodeBinding(view, (await store.readRecords([`view:${view.namespace}`]))[0]!);
    /** Records applied to a namespace. */
    const applied = async (namespace: string): Promise<number> => {
      const names = Array.from({ length: PARTITIONS }, (_, partition) => ({
        namespace,
        source: 'payments',
        partition,
      }));
      const marks = await store.readWatermarks(0, names);
      return marks.reduce((sum, mark) => sum + (mark?.nextOffset ?? 0), 0);
    };
    try {
      await until('the history is applied', async () => (await applied(view.namespace)) >= HISTORY);
      const check = async (card: string): Promise<void> => {
        const { count, sum, max } = tally.of(card);
        const { status, body } = await postJson(`${serve.url}/v1/services/card/features`, {
          entities: { card },
          metadata: true,
        });
        expect(status).toBe(200);
        const { features, metadata } = body as {
          features: Record<string, number>;
          metadata: { features: Record<string, { status: string }> };
        };
        expect(metadata.features.payments_12h!.status, card).toBe('present');
        expect([features.payments_12h, features.amount_sum_12h, features.amount_max_3h], card).toEqual([
          count,
          sum,
          max,
        ]);
      };
      await until('serving has seen it', async () => {
        return (await serve.metric('millrace_consumer_lag_records')) === 0;
      });
      for (const card of CARDS) await check(card);

      let stopped = false;
      const load = (async () => {
        while (!stopped) {
          const events = Array.from({ length: 5 }, payment);
          const { status } = await postJson(`${serve.url}/v1/sources/payments/events?wait=applied`, {
            events,
          });
          expect(status).toBe(200);
          for (const { card, amount } of events) tally.add(card, amount);
          await check(random.pick(CARDS));
          await delay(10);
        }
      })();
      // Told where it is awaited.
      load.catch(() => {});
      const args = [millraceBinary, 'rebuild', '--view', 'spend', '--features', features, ...servers];
      const killedAt: number[] = [];
      for (let kill = 0; kill < KILLS; kill++) {
        const worker = new MillraceProcess(process.execPath, args, { env });
        const target = kill === 0 ? 0 : random.between(1, HISTORY / 2);
        await until('it has come somewhere', async () => {
          const { building } = await binding();
          if (worker.child.exitCode !== null)
            throw new Error(`it has ended: ${worker.stdout}${worker.stderr}`);
          return building !== null && (await applied(building.namespace)) >= target;
        });
        await worker.end('SIGKILL');
        killedAt.push(await applied((await binding()).building!.namespace));
      }
      const building = (await binding()).building!.namespace;
      const last = new MillraceProcess(process.execPath, args, { env });
      expect((await last.exited).code, last.stderr).toBe(0);
      expect(last.stderr).toContain('Going on with the rebuild of view spend.');
      expect(last.stdout).toMatch(
        /^View spend is read from its new state: [\d,]+ events in \S+ \([\d,]+\/s\)\./,
      );
      expect((await binding()).active).toBe(building);
      // Some of the kills were in the midst of it.
      expect(killedAt.filter((at) => at > 0 && at < HISTORY).length, killedAt.join(' ')).toBeGreaterThan(0);
      expect([...killedAt].sort((a, b) => a - b)).toEqual(killedAt);
      stopped = true;
      await load;
      for (const card of CARDS) await check(card);
      expectNoDefects([ingest, compact, serve]);

      // Nothing is left to give up, and an unknown view is refused.
      const abort = await millrace([...args.slice(1), '--abort'], { env });
      expect([abort.code, abort.stderr]).toEqual([1, 'millrace: no rebuild of view spend is under way\n']);
      const unknown = await millrace(['rebuild', '--view', 'spent', '--features', features, ...servers], {
        env,
      });
      expect(unknown.code).toBe(1);
      expect(unknown.stderr).toContain('has no view spent; its views are spend, totals, visiting, takings');
    } finally {
      await store.close();
    }
  }, 300_000);
});
