/**
 * `millrace backfill` over a real Kafka and a real Redis as a process that is killed with SIGKILL at random moments, beside
 * processes that archive, ingest, serve and compact, under load. The topic has lost most of what the archive has, and answers
 * equal what was acknowledged all the while.
 */
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { archivePositions } from '../archive/archive-positions.ts';
import { compileRepo } from '../engine/definitions/compile.ts';
import { RedisTileStore } from '../engine/store/redis/redis-tile-store.ts';
import { SeededRandom } from '../engine/testing/random.ts';
import { decodeBinding, type ViewBinding } from '../roles/view-binding.ts';
import { describeWithServices, type RedisServer, sharedServices, startRedis } from '../services/index.ts';
import { waitUntil } from '../services/process/wait-until.ts';
import * as definitions from './fixtures/roles/features.ts';
import {
  fixture,
  MillraceProcess,
  millraceBinary,
  postJson,
  temporaryDirectory,
} from './millrace-process.ts';
import { expectNoDefects, SupervisedProcess } from './supervised-process.ts';
import { kafkaClient } from './topic-content.ts';

const SEED = Number(process.env.TEST_SEED ?? 20_261_130);
const CARDS = Array.from({ length: 2_000 }, (_, i) => `card-${i}`);
const PARTITIONS = 2;
const HISTORY = 20_000;
const BATCH = 2_000;
const KILLS = 3;

const until = (what: string, condition: () => boolean | Promise<boolean>): Promise<void> =>
  waitUntil(condition, { what, timeoutMs: 90_000 });

describeWithServices(['kafka', 'redis'], 'millrace backfill over Kafka and Redis', () => {
  const topics = `test-${randomUUID()}`;
  const topic = `${topics}.payments`;
  const view = compileRepo(Object.values(definitions)).views.get('totals')!;
  let brokers: string[];
  let redis: RedisServer;

  beforeAll(async () => {
    brokers = await sharedServices().kafka();
    redis = await startRedis({ appendonly: 'everysec' });
  }, 240_000);
  afterAll(() => redis?.stop());

  it(`is killed at random and gone on with; each event counts once (seed ${SEED})`, async () => {
    const random = new SeededRandom(SEED);
    const servers = ['--kafka', brokers.join(','), '--redis', redis.url];
    const env = { TEST_TOPICS: topics };
    const features = fixture('roles');
    const archive = join(temporaryDirectory(), 'archive');
    const creating = ['--create-topics', '--partitions', String(PARTITIONS)];
    const archiving = ['--archive', archive, '--archive-every', '1'];
    const ingest = new SupervisedProcess('ingest', 'ingest', {
      ...{ features, env },
      flags: [...servers, '--group', topics, ...creating, ...archiving],
    });
    await ingest.ready();
    const compact = new SupervisedProcess('compact', 'compact', { features, flags: servers, env });
    const serve = new SupervisedProcess('serve', 'serve', { features, flags: servers, env });
    await Promise.all([compact.ready(), serve.ready()]);

    let next = 0;
    const counts = new Map(CARDS.map((card) => [card, 0]));
    const tally = (events: readonly { readonly card: string }[]): void => {
      for (const { card } of events) counts.set(card, counts.get(card)! + 1);
    };
    const payment = () => {
      const at = new Date(Date.now() - random.below(600_000)).toISOString();
      return { id: `p${next++}`, at, card: random.pick(CARDS), shop: null, amount: 1, points: 1 };
    };
    const kafka = kafkaClient(brokers);
    const producer = kafka.producer();
    await producer.connect();
    for (let sent = 0; sent < HISTORY; sent += BATCH) {
      const events = Array.from({ length: BATCH }, payment);
      const messages = events.map((event, i) => ({
        partition: i % PARTITIONS,
        value: JSON.stringify(event),
      }));
      await producer.send({ topic, acks: -1, messages });
      tally(events);
    }
    await producer.disconnect();
    const archivedTo = async (): Promise<number[]> => {
      const found = await archivePositions(archive, 'payments');
      return [0, 1].map((partition) => found.get(partition)?.toOffset ?? 0);
    };
    await until('all is archived', async () =>
      (await archivedTo()).every((offset) => offset === HISTORY / PARTITIONS),
    );
    const store = await RedisTileStore.open({ nodes: redis.url });
    const binding = async (): Promise<ViewBinding> =>
      decodeBinding(view, (await store.readRecords([`view:${view.namespace}`]))[0]!);
    const check = async (card: string): Promise<void> => {
      const { status, body } = await postJson(`${serve.url}/v1/services/card/features`, {
        entities: { card },
        metadata: true,
      });
      expect(status).toBe(200);
      const { features: values, metadata } = body as {
        features: Record<string, number>;
        metadata: { features: Record<string, { status: string }> };
      };
      const count = counts.get(card)!;
      expect([values.payments_ever, values.points_ever], card).toEqual([count, count]);
      expect(metadata.features.payments_ever!.status, card).toBe(count === 0 ? 'empty' : 'present');
    };
    try {
      await until('serving has seen it', async () => {
        return (await serve.metric('millrace_consumer_lag_records')) === 0;
      });
      const admin = kafka.admin();
      await admin.connect();
      const kept = 200;
      // Without it kafkajs does not know the topic's leaders.
      await admin.fetchTopicOffsets(topic);
      await admin.deleteTopicRecords({
        topic,
        partitions: [0, 1].map((partition) => ({ partition, offset: String(HISTORY / PARTITIONS - kept) })),
      });
      await admin.disconnect();
      let stopped = false;
      const load = (async () => {
        while (!stopped) {
          const events = Array.from({ length: 5 }, payment);
          const { status } = await postJson(`${serve.url}/v1/sources/payments/events?wait=applied`, {
            events,
          });
          expect(status).toBe(200);
          tally(events);
          await check(random.pick(CARDS));
          await delay(10);
        }
      })();
      // Told where it is awaited.
      load.catch(() => {});
      const args = [
        ...[millraceBinary, 'backfill', '--view', 'totals', '--history', archive],
        ...['--features', features, ...servers],
      ];
      const namespaces = new Set<string>();
      let cut: readonly number[] | null = null;
      for (let kill = 0; kill < KILLS; kill++) {
        const worker = new MillraceProcess(process.execPath, [...args, '--load', '1%'], { env });
        await until('it has begun', async () => {
          if (worker.child.exitCode !== null)
            throw new Error(`it has ended: ${worker.stdout}${worker.stderr}`);
          return /Filling|Going on/.test(worker.stderr);
        });
        await delay(random.below(3_000));
        await worker.end('SIGKILL');
        const { building } = await binding();
        // The archive goes on; the cut is where it was when the first one began.
        expect(building).toMatchObject({ joined: false, cut: cut ?? building!.cut });
        cut = building!.cut!;
        namespaces.add(building!.namespace);
      }
      const last = new MillraceProcess(process.execPath, args, { env });
      expect((await last.exited).code, last.stderr).toBe(0);
      expect(last.stderr).toContain('Going on with the backfill of view totals.');
      const events = cut!.reduce((sum, offset) => sum + offset, 0);
      expect(events).toBeGreaterThanOrEqual(HISTORY);
      expect(last.stdout).toMatch(
        new RegExp(
          `^View totals is read from its new state\\. ${events.toLocaleString('en-US')} events of the history made ` +
            '2,000 states, of which [\\d,]+ were there already\\.',
        ),
      );
      expect([...namespaces]).toEqual([(await binding()).active]);
      stopped = true;
      await load;
      for (const card of CARDS) await check(card);
      expectNoDefects([ingest, compact, serve]);
    } finally {
      await store.close();
    }
  }, 300_000);
});
