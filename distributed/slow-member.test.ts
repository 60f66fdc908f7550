/**
 * A chunk that takes longer than a rebalance waits: Redis does not answer one member, which has read records, and states to
 * add them to, and is about to write. Its partitions go to another one, which applies the same records; then what the slow one
 * had sent arrives, and it goes on. For members that are suspended see test/roles.test.ts.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, expect, test } from 'vitest';
import { mendableDefinitions } from '../embedded/testing/mendable-repo.ts';
import { NOON_MS } from '../embedded/testing/test-repo.ts';
import { RedisTileStore } from '../engine/store/redis/redis-tile-store.ts';
import { SeededRandom } from '../engine/testing/random.ts';
import { describeWithServices, sharedServices, startRedis, TcpProxy } from '../services/index.ts';
import { TestDeployment, until } from './testing/test-deployment.ts';

const SEED = Number(process.env.TEST_SEED ?? 20_261_128);
const PARTITIONS = 4;
const ROUNDS = 5;
const CARDS = Array.from({ length: 8 }, (_, i) => `card-${i}`);
const RECORDS = 120;
/** How long a rebalance waits for its members, and how long everything to and from Redis takes. */
const REBALANCE_MS = 1_000;
const LATENCY_MS = 30;
/** Some ten times of it: a chunk is at any of its steps. */
const HOLD_WITHIN_MS = 300;

describeWithServices(
  ['kafka', 'redis'],
  `a member whose chunk outlasts the rebalance (TEST_SEED=${SEED})`,
  () => {
    const closers: (() => Promise<unknown>)[] = [];
    afterAll(async () => {
      for (const close of closers.reverse()) await close();
    }, 60_000);

    test('writes what another has written as well: each record counts once', async () => {
      const random = new SeededRandom(SEED);
      const brokers = await sharedServices().kafka();
      const redis = await startRedis({ appendonly: 'everysec' });
      closers.push(() => redis.stop());
      const proxy = await TcpProxy.open(redis.port);
      closers.push(async () => proxy.close());
      const deployment = await TestDeployment.open({
        ...{ definitions: mendableDefinitions(false), brokers, redisUrl: redis.url },
        ...{ startMs: NOON_MS, partitions: PARTITIONS },
        process: {
          groupTimings: {
            sessionTimeoutMs: 10_000,
            heartbeatIntervalMs: 100,
            rebalanceTimeoutMs: REBALANCE_MS,
          },
        },
      });
      closers.push(() => deployment.close());
      const prefix = `test-${deployment.id}`;
      const store = await RedisTileStore.open({ nodes: redis.url, prefix });
      closers.push(() => store.close());
      const { namespace } = deployment.repo.views.get('careful')!;
      const applied = async (): Promise<number> => {
        const names = Array.from({ length: PARTITIONS }, (_, partition) => {
          return { namespace, source: 'swipes', partition };
        });
        const [marks, ends] = await Promise.all([store.readWatermarks(0, names), deployment.ends('swipes')]);
        return marks.filter((mark, partition) => mark?.nextOffset === ends[partition]).length;
      };

      const serve = await deployment.start(['serve']);
      const slow = await deployment.start(['ingest'], {
        redis: { nodes: redis.url.replace(`:${redis.port}`, `:${proxy.port}`), prefix },
      });
      const right = new Map(CARDS.map((card) => [card, { careful_ever: 0, careful_sum_1d: 0 }]));
      const produce = async (): Promise<void> => {
        for (let partition = 0; partition < PARTITIONS; partition++) {
          const swipes = Array.from({ length: RECORDS }, () => {
            return { at: NOON_MS, card: random.pick(CARDS), amount: random.below(100) };
          });
          await deployment.produce(
            'swipes',
            partition,
            swipes.map((swipe) => ({ value: JSON.stringify(swipe) })),
          );
          for (const { card, amount } of swipes) {
            const of = right.get(card)!;
            of.careful_ever++;
            of.careful_sum_1d += amount;
          }
        }
      };
      let outlasted = 0;
      for (let round = 0; round < ROUNDS; round++) {
        await until('the slow one has all partitions', async () => {
          return (await slow.metric('millrace_partitions_assigned')) === PARTITIONS;
        });
        proxy.delay(LATENCY_MS);
        await produce();
        await delay(random.below(HOLD_WITHIN_MS));
        proxy.hold();
        const heldMs = performance.now();
        const before = await applied();
        const other = await deployment.start(['ingest']);
        await until('another has applied its partitions', async () => {
          const assigned = await other.metric('millrace_partitions_assigned');
          return assigned > 0 && (await applied()) >= Math.min(PARTITIONS, before + 1);
        });
        await delay(Math.max(0, heldMs + 2 * REBALANCE_MS - performance.now()));
        if (before < PARTITIONS) outlasted++;
        proxy.heal();
        await produce();
        // By the watermarks: what a server has seen of the log's ends may be of before.
        await until('everything is applied', async () => (await applied()) === PARTITIONS);
        for (const [card, features] of right) {
          const { body } = await serve.read('swipes_of_card', { entities: { card } });
          expect(body.features, `${card} in round ${round}`).toMatchObject(features);
        }
        await other.close();
      }
      const conflicts = await slow.metric('millrace_write_conflicts_total');
      console.log(`a chunk was in hand in ${outlasted} of ${ROUNDS} rounds; writes refused: ${conflicts}`);
      expect(outlasted).toBeGreaterThan(ROUNDS / 2);
      expect(conflicts).toBeGreaterThan(0);
    }, 240_000);
  },
);
