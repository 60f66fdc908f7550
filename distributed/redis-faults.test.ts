/**
 * Redis loses its newest writes, once by a power failure that takes the end of its append-only file, once by a
 * failover to a replica that lagged behind. Events are pushed all the time, two members of the group apply them,
 * compaction runs beside. Nobody helps: in the end every value must be that of the oracle over everything pushed.
 *
 * Another seed: `PROPERTY_SEED=123456`. What it does not catch: a store that loses some keys of a shard and keeps later
 * ones (Redis does not do that).
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { toJsonValue } from '../engine/definitions/to-json-value.ts';
import type { EventRow } from '../engine/definitions/types.ts';
import { integerEventId } from '../engine/event-id.ts';
import { StoreFormatError } from '../engine/store/store-errors.ts';
import { isRight, showAnswer } from '../engine/testing/is-right.ts';
import { type OracleEvent, oracleAnswer } from '../engine/testing/oracle.ts';
import { SeededRandom } from '../engine/testing/random.ts';
import {
  count,
  distinctCount,
  double,
  entity,
  featureService,
  featureView,
  integer,
  last,
  max,
  streamSource,
  string,
  sum,
  timestamp,
} from '../index.ts';
import { type Deferred, deferred } from '../roles/deferred.ts';
import { toJson } from '../serve/json-value.ts';
import { describeWithServices, type RedisServer, sharedServices, startRedis } from '../services/index.ts';
import { TcpProxy } from '../services/proxy/tcp-proxy.ts';
import { AppendOnlyFile } from '../services/redis/append-only-file.ts';
import type { Role } from './runtime.ts';
import type { FeatureRow } from './testing/equal-answers.ts';
import { TestDeployment, type TestProcess, until } from './testing/test-deployment.ts';

const SEED = Number(process.env.PROPERTY_SEED ?? 1);
const START_MS = Date.UTC(2026, 2, 2, 12);
const MINUTE_MS = 60_000;
const CARDS = ['a', 'b', 'c', 'd', 'e', 'f', 'g'];
const ROUNDS = 5;
/** Events applied before and after every fault, at least. */
const EVENTS_BETWEEN = 150;

const payments = streamSource({
  name: 'payments',
  columns: { id: integer(), at: timestamp(), card: string(), shop: string(), amount: double() },
  eventTime: 'at',
  eventId: 'id',
  dedupeHorizon: '1h',
});
const card = entity('card');
const definitions = [
  featureService({
    name: 'spend',
    features: [
      featureView({
        name: 'windows',
        source: payments,
        entity: card,
        features: {
          count_10m: count().over('10m'),
          sum_1h: sum('amount').over('1h'),
          max_1h: max('amount').over('1h', { offset: '10m' }),
          shops_1h: distinctCount('shop').over('1h'),
          last_1h: last('amount').over('1h'),
        },
        asOfRetention: '2h',
      }),
      featureView({
        name: 'ever',
        source: payments,
        entity: card,
        features: { count_ever: count().lifetime(), sum_ever: sum('amount').lifetime() },
        asOfRetention: '2h',
      }),
    ],
  }),
];

/** Pushes all the time, while time goes on, and remembers what was acknowledged. */
class Pushing {
  readonly #deployment: TestDeployment;
  readonly #serve: TestProcess;
  readonly #random = new SeededRandom(SEED);
  readonly #stop = new AbortController();
  readonly #done: Promise<void>;
  #paused: Deferred<void> | null = null;
  #pausing = deferred<void>();
  readonly events: OracleEvent[] = [];

  constructor(deployment: TestDeployment, serve: TestProcess) {
    this.#deployment = deployment;
    this.#serve = serve;
    this.#done = this.#run();
    this.#done.catch(() => {});
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    this.goOn();
    await this.#done;
  }

  /** Nothing is pushed from when this resolves until `goOn`. */
  async pause(): Promise<void> {
    this.#paused = deferred<void>();
    await this.#pausing.promise;
  }

  goOn(): void {
    this.#paused?.resolve();
    this.#paused = null;
    this.#pausing = deferred<void>();
  }

  /** Waits until so many more events are pushed. @throws what the pushing failed with */
  async more(events: number): Promise<void> {
    const enough = this.events.length + events;
    await Promise.race([
      until(`${enough} events are pushed`, () => this.events.length >= enough),
      this.#done.then(() => new Promise(() => {})),
    ]);
  }

  async #run(): Promise<void> {
    const { clock, repo } = this.#deployment;
    const random = this.#random;
    const columns = Object.keys(repo.sources.get('payments')!.definition.columns);
    while (!this.#stop.signal.aborted) {
      if (this.#paused !== null) {
        this.#pausing.resolve();
        await this.#paused.promise;
        continue;
      }
      const rows = Array.from({ length: random.between(1, 20) }, (_, i): EventRow => {
        const back = random.chance(0.8) ? random.below(5 * MINUTE_MS) : random.below(90 * MINUTE_MS);
        return {
          id: this.events.length + i,
          at: clock.nowMs() - back,
          card: random.pick(CARDS),
          shop: `s${random.below(40)}`,
          amount: random.pick([0.1, 0.2, 1e16, -1e16, 1, random.below(10_000) / 100]),
        };
      });
      const recent = this.events.slice(-100);
      const repeated = recent.length > 0 && random.chance(0.3) ? [random.pick(recent).row] : [];
      const { status, body } = await this.#serve.push(
        'payments',
        [...rows, ...repeated].map((row) => toJsonValue(row)),
        'durable',
      );
      if (status !== 200 || body.rejected.length > 0) throw new Error(JSON.stringify(body));
      for (const row of rows) {
        if (Object.keys(row).length !== columns.length) throw new Error('a column is missing');
        this.events.push({ row, timeMs: row.at as number, id: integerEventId(row.id as number) });
      }
      clock.advanceTo(clock.nowMs() + random.below(20_000));
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }
}

describeWithServices(
  ['kafka', 'redis'],
  `a Redis that loses its newest writes (PROPERTY_SEED=${SEED})`,
  () => {
    let brokers: string[];
    const ends: (() => unknown)[] = [];
    beforeAll(async () => {
      brokers = await sharedServices().kafka();
    }, 180_000);
    afterAll(async () => {
      for (const end of ends.reverse()) await end();
    });

    const ownRedis = async (replicaOf?: RedisServer): Promise<RedisServer> => {
      const server = await startRedis({
        appendonly: 'everysec',
        ...(replicaOf === undefined ? {} : { replicaOf }),
      });
      ends.push(() => server.stop());
      return server;
    };

    /** Everything but the store. */
    const begin = async (
      redisUrl: string,
      { roles = ['ingest'], ...options }: { roles?: readonly Role[]; lookEveryMs?: number } = {},
    ) => {
      const deployment = await TestDeployment.open({
        definitions,
        brokers,
        redisUrl,
        partitions: 3,
        startMs: START_MS,
        process: {
          shape: { leafBytesMax: 120, tailRowsMax: 4 },
          pacing: { foldAfterMs: MINUTE_MS },
          consumer: { chunkRecords: 25 },
          lagBoundMs: Number.MAX_SAFE_INTEGER,
          recentIds: 10,
        },
      });
      ends.push(() => deployment.close());
      const serve = await deployment.start(['serve'], {
        redis: { ...deployment.processOptions([]).redis, shards: 3 },
      });
      const compact = await deployment.start(['compact']);
      const ingests = [await deployment.start(roles, options), await deployment.start(roles, options)];
      const pushing = new Pushing(deployment, serve);
      let appliedBefore = 0;
      const applied = async (): Promise<number> => {
        const of = { view: 'windows', outcome: 'applied' };
        const counts = await Promise.all(
          ingests.map((ingest) => ingest.metric('millrace_events_applied_total', of)),
        );
        return counts.reduce((sum, n) => sum + n, appliedBefore);
      };
      /** Waits until events are applied, under way as they may be. */
      const moreApplied = async (): Promise<void> => {
        const before = await applied();
        await pushing.more(EVENTS_BETWEEN);
        await until('events are applied', async () => (await applied()) >= before + EVENTS_BETWEEN);
      };
      const restartIngests = async (): Promise<void> => {
        appliedBefore = await applied();
        await Promise.all(ingests.splice(0).map((ingest) => ingest.close()));
        for (const _ of [1, 2]) ingests.push(await deployment.start(roles, options));
      };
      return { deployment, serve, compact, ingests, pushing, applied, moreApplied, restartIngests };
    };

    const expectRight = async ({
      deployment,
      serve,
      compact,
      ingests,
      pushing,
      applied,
    }: Awaited<ReturnType<typeof begin>>): Promise<void> => {
      await pushing.stop();
      await serve.caughtUp();
      const { clock, repo } = deployment;
      let compared = 0;
      for (const compacting of [false, true]) {
        if (compacting) {
          clock.advanceTo(clock.nowMs() + 30 * MINUTE_MS);
          await compact.runtime.compact();
        }
        const rows = CARDS.flatMap((key) =>
          [0, 1, 9, 10, 29, 60, 119].map((minutes) => ({
            entities: { card: key },
            at: clock.nowMs() - minutes * MINUTE_MS,
          })),
        );
        const { status, body } = await serve.post('/v1/services/spend/features/batch', {
          rows,
          metadata: true,
        });
        expect(status).toBe(200);
        rows.forEach(({ entities, at }, i) => {
          const { features, metadata } = body.rows[i] as Required<FeatureRow>;
          for (const view of repo.views.values()) {
            for (const feature of view.features) {
              const { column } = view.definition.features[feature.name]!;
              const key = entities.card;
              const { events } = pushing;
              const expected = oracleAnswer({ view, feature, column, key, atMs: at, events });
              const got = features[feature.name];
              if (!isRight({ feature, expected, got, atMs: at, written: toJson })) {
                expect.fail(`${feature.name} of ${key} at ${at} is ${got}, expected ${showAnswer(expected)}`);
              }
              expect(['present', 'empty']).toContain(metadata.features[feature.name]!.status);
              compared++;
            }
          }
        });
      }
      for (const process of [serve, compact, ...ingests]) {
        await until('it is ready again', async () => (await process.get('/readyz')).status === 200);
        expect(await process.metric('millrace_dead_letters_total')).toBe(0);
        expect(await process.metric('millrace_log_gap_records_total')).toBe(0);
        expect(await process.metric('millrace_partition_paused')).toBe(0);
      }
      console.log(
        `${pushing.events.length} events, ${await applied()} times applied, ${compared} values equal`,
      );
    };

    test('power failures that take the end of the append-only file heal by themselves', async () => {
      const random = new SeededRandom(SEED + 1);
      const redis = await ownRedis();
      const it = await begin(redis.url);
      let keptBytes = new AppendOnlyFile(redis.dir).bytes;
      for (let round = 0; round < ROUNDS; round++) {
        await it.moreApplied();
        await redis.kill('SIGKILL');
        const file = new AppendOnlyFile(redis.dir);
        const size = file.bytes;
        // Some bytes of a last command, some commands, or nearly everything since the last time.
        const lost = random.pick([
          random.between(1, 200),
          random.between(200, 5_000),
          Number.POSITIVE_INFINITY,
        ]);
        keptBytes = Math.max(keptBytes + random.below(1_000), size - lost);
        file.truncate(Math.min(size, keptBytes));
        await it.pushing.more(EVENTS_BETWEEN);
        await redis.restart();
        console.log(`round ${round}: lost ${size - Math.min(size, keptBytes)} of ${size} bytes`);
        keptBytes = new AppendOnlyFile(redis.dir).bytes;
      }
      await it.moreApplied();
      await expectRight(it);
    }, 240_000);

    /** Loses some of what was applied while nothing happens. */
    const loseIdly = async (
      redis: RedisServer,
      it: Awaited<ReturnType<typeof begin>>,
      { restarted = false } = {},
    ): Promise<void> => {
      await it.moreApplied();
      await it.pushing.pause();
      await it.serve.caughtUp();
      if (restarted) await it.restartIngests();
      const file = new AppendOnlyFile(redis.dir);
      await redis.kill('SIGKILL');
      file.truncate(Math.floor(file.bytes * 0.7));
      await redis.restart();
    };

    test.each([
      { by: 'those who applied it', restarted: false },
      { by: 'others', restarted: true },
    ])(
      'what was lost while nothing happened heals without another event, by $by',
      async ({ restarted }) => {
        const redis = await ownRedis();
        const it = await begin(redis.url);
        await loseIdly(redis, it, { restarted });
        await until('what was lost is applied', async () => (await it.applied()) > it.pushing.events.length);
        // It has not seen what was before.
        await (await it.deployment.start(['serve'])).caughtUp();
        await expectRight(it);
      },
      240_000,
    );

    test('what was lost unnoticed is noticed by the watermarks when the next events come', async () => {
      const redis = await ownRedis();
      const it = await begin(redis.url, { roles: ['ingest', 'compact'], lookEveryMs: 3_600_000 });
      await loseIdly(redis, it);
      for (const { runtime } of it.ingests) {
        await until('it is connected again', async () => {
          await runtime.compact();
          return true;
        });
      }
      expect(await it.applied()).toBe(it.pushing.events.length);
      it.pushing.goOn();
      await it.moreApplied();
      await expectRight(it);
    }, 240_000);

    test('a store that is emptied is filled again from the topic, and stays laid out as it was', async () => {
      const redis = await ownRedis();
      const it = await begin(redis.url);
      for (let round = 0; round < 2; round++) {
        await it.moreApplied();
        await redis.command('FLUSHALL');
      }
      await it.moreApplied();
      await it.pushing.stop();
      // It does not say how many shards there are.
      await (await it.deployment.start(['serve'])).caughtUp();
      await expectRight(it);
      expect(await it.applied()).toBeGreaterThan(it.pushing.events.length);
    }, 240_000);

    test.each([
      ['shards', '2', /filled with 2 shards/],
      ['clock', 'event', /filled by the event clock/],
    ])(
      'a process that has other %s than the store has now ends',
      async (field, value, message) => {
        const redis = await ownRedis();
        const it = await begin(redis.url);
        const { prefix } = it.deployment.processOptions([]).redis;
        const processes = [it.serve, it.compact, ...it.ingests];
        const ended = Promise.allSettled(processes.map(({ runtime }) => runtime.failed));
        // Somebody with other settings opens the store right after it was emptied.
        await redis.command(
          'EVAL',
          `local was = redis.call('HGETALL', KEYS[1]) redis.call('FLUSHALL')
          redis.call('HSET', KEYS[1], unpack(was)) redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])`,
          ...[1, `${prefix}:{0}:layout`, field, value],
        );
        for (const result of await ended) {
          expect(result).toMatchObject({ status: 'rejected', reason: expect.any(StoreFormatError) });
          expect((result as PromiseRejectedResult).reason.message).toMatch(message);
        }
        await it.pushing.stop();
      },
      120_000,
    );

    test('a failover to a replica that lagged behind heals by itself', async () => {
      let primary = await ownRedis();
      const proxy = await TcpProxy.open(primary.port);
      ends.push(() => proxy.close());
      const it = await begin(`redis://127.0.0.1:${proxy.port}`);
      for (let round = 0; round < 2; round++) {
        await it.moreApplied();
        const replica = await ownRedis(primary);
        await until('the replica follows', async () => {
          return String(await replica.command('INFO', 'replication')).includes('master_link_status:up');
        });
        await it.moreApplied();
        // From here on it gets nothing any more: what it has is what a replica that lags would have.
        await replica.command('REPLICAOF', 'NO', 'ONE');
        await it.moreApplied();
        await primary.kill('SIGKILL');
        proxy.leadTo(replica.port);
        primary = replica;
      }
      await it.moreApplied();
      await expectRight(it);
    }, 240_000);
  },
);
