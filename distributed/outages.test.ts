/**
 * Kafka or Redis do not answer for a while, and answer again: what is told meanwhile, and that everything goes on by
 * itself. What it does not catch: a cluster that moves leaders or masters, and a network that loses packets.
 */
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { both, cardService, decision, NOON_MS, payment } from '../embedded/testing/test-repo.ts';
import { StoreUnavailableError } from '../engine/store/store-errors.ts';
import { deadLetterTopic } from '../ingest/log/kafka/kafka-dead-letters.ts';
import { KafkaUnreachableError } from '../ingest/log/kafka/kafka-errors.ts';
import {
  describeWithServices,
  type KafkaBroker,
  type RedisServer,
  startKafka,
  startRedis,
} from '../services/index.ts';
import { openDistributed } from './runtime.ts';
import { TestDeployment, type TestProcess, until } from './testing/test-deployment.ts';

const LAG_BOUND_MS = 10_000;

describeWithServices(['kafka', 'redis'], 'Kafka or Redis that does not answer', () => {
  let broker: KafkaBroker;
  let redis: RedisServer;
  let deployment: TestDeployment;

  beforeAll(async () => {
    [broker, redis] = await Promise.all([startKafka(), startRedis({ appendonly: 'everysec' })]);
  }, 180_000);
  afterEach(async () => {
    // A test that failed may have left them stopped.
    await Promise.all([broker.kill('SIGCONT'), redis.kill('SIGCONT')]);
    await deployment.close();
  });
  afterAll(() => Promise.all([broker?.stop(), redis?.stop()]));

  const open = async (): Promise<TestDeployment> => {
    deployment = await TestDeployment.open({
      definitions: [cardService, decision, both],
      brokers: broker.brokers,
      redisUrl: redis.url,
      // Quicker than the defaults to take a silent server for unavailable.
      redis: { commandTimeoutMs: 500, readTimeoutMs: 500, connectTimeoutMs: 500 },
      startMs: NOON_MS,
      process: {
        lagBoundMs: LAG_BOUND_MS,
        kafka: {
          brokers: broker.brokers,
          clientId: 'millrace-test',
          requestTimeoutMs: 2_000,
          connectionTimeoutMs: 1_000,
        },
      },
    });
    return deployment;
  };
  const payments = (count: number) => Array.from({ length: count }, () => payment());
  const reasonsOf = async (process: TestProcess): Promise<string> => {
    const { status, body } = await process.get('/readyz');
    return status === 200 ? '' : body.error.details.reasons.join('\n');
  };
  const paymentsOf = async (serve: TestProcess): Promise<number> =>
    (await serve.read('card', { entities: { card: 'c1' } })).body.features?.payments_ever;

  test.each([
    {
      fault: 'is paused and goes on',
      begin: () => redis.kill('SIGSTOP'),
      end: () => redis.kill('SIGCONT'),
    },
    { fault: 'is killed and comes back', begin: () => redis.kill(), end: () => redis.restart() },
  ])('a Redis that $fault pauses partitions; nothing is dropped or counted twice', async ({ begin, end }) => {
    await open();
    const serve = await deployment.start(['serve']);
    const ingest = await deployment.start(['ingest']);
    const compact = await deployment.start(['compact']);
    await serve.push('payments', payments(10));
    await begin();

    // Pushes need Kafka only.
    const pushed = await serve.push('payments', payments(20), 'durable');
    expect(pushed.body).toEqual({ accepted: 20, duplicates: 0, rejected: [] });
    await until('partitions are paused', async () => {
      return (await ingest.metric('millrace_partition_paused', { source: 'payments' })) === 2;
    });
    expect(await reasonsOf(ingest)).toMatch(/^source payments, partition 0: Redis /m);
    expect(await reasonsOf(ingest)).toMatch(/^source payments, partition 1: Redis /m);
    expect(await ingest.metric('millrace_ready')).toBe(0);
    expect(await ingest.metric('millrace_consumer_errors_total', { source: 'payments' })).toBeGreaterThan(0);
    await until('compaction says so too', async () => /^compaction: Redis /m.test(await reasonsOf(compact)));
    const { status, body, headers } = await serve.read('card', { entities: { card: 'c1' } });
    expect([status, body.error.code, headers['retry-after']]).toEqual([503, 'store_unavailable', '1']);
    await until('reads of the node are refused at once', async () => {
      await paymentsOf(serve);
      return (await serve.metric('millrace_store_breaker_open')) === 1;
    });
    // At once, for load balancers; the clock by which values are fresh stands still.
    await until('serving says so too', async () =>
      /^positions in the log: Redis /m.test(await reasonsOf(serve)),
    );
    // Not seen for too long, be it that all is applied.
    deployment.clock.advanceTo(NOON_MS + LAG_BOUND_MS + 1);
    expect(await reasonsOf(serve)).toMatch(/^positions in the log: /m);

    await end();
    await until('all is applied', async () => (await paymentsOf(serve)) === 30);
    await serve.caughtUp();
    for (const process of [serve, ingest, compact]) {
      await until('it is ready again', async () => (await reasonsOf(process)) === '');
    }
    expect(await serve.metric('millrace_store_breaker_open')).toBe(0);
    expect(await ingest.metric('millrace_partition_paused')).toBe(0);
    expect(await ingest.metric('millrace_dead_letters_total')).toBe(0);
    const letters = await deployment.admin.fetchTopicOffsets(deadLetterTopic(deployment.topicOf('payments')));
    expect(letters.map(({ high }) => high)).toEqual(['0']);
    expect((await serve.push('payments', payments(5))).status).toBe(200);
    expect(await paymentsOf(serve)).toBe(35);
  });

  test('a Kafka that is paused: pushes are refused, features answered, and it goes on', async () => {
    await open();
    const serve = await deployment.start(['serve'], { maxInFlightBytes: 2_000 });
    const ingest = await deployment.start(['ingest']);
    await serve.push('payments', payments(10));
    await broker.kill('SIGSTOP');

    const events = payments(20);
    const pushedAtMs = performance.now();
    const refused = serve.push('payments', events, 'durable');
    await until('it is in flight', async () => (await serve.metric('millrace_push_in_flight_bytes')) > 0);
    const overload = await serve.push('payments', payments(30), 'durable');
    expect([overload.status, overload.body.error.code, overload.headers['retry-after']]).toEqual([
      429,
      'overloaded',
      '1',
    ]);
    expect(await paymentsOf(serve)).toBe(10);
    deployment.clock.advanceTo(NOON_MS + LAG_BOUND_MS + 1);
    // Whether there is more in the log nobody knows.
    const { body } = await serve.read('card', { entities: { card: 'c1' } });
    expect(body.features.payments_ever).toBe(10);
    expect(body.metadata.features.payments_ever.status).toBe('catching_up');
    await until('readiness says so', async () => /positions in the log/.test(await reasonsOf(serve)));
    const { status, body: answer, headers } = await refused;
    expect([status, answer.error.code, headers['retry-after']]).toEqual([503, 'log_unavailable', '1']);
    // 10 s, as README says, and what a busy machine adds.
    expect(performance.now() - pushedAtMs).toBeLessThan(20_000);
    expect(await serve.metric('millrace_push_in_flight_bytes')).toBe(0);

    await broker.kill('SIGCONT');
    // It may have been written all the same; pushed again it counts once.
    await until('pushes are taken', async () => {
      const { body } = await serve.push('payments', events, 'durable');
      return body.accepted + body.duplicates === events.length;
    });
    await until('all is applied', async () => (await paymentsOf(serve)) === 30);
    await serve.caughtUp();
    for (const process of [serve, ingest]) {
      await until('it is ready again', async () => (await reasonsOf(process)) === '');
    }
    const again = await serve.read('card', { entities: { card: 'c1' } });
    expect([again.body.features.payments_ever, again.body.metadata]).toEqual([30, undefined]);
    expect(await ingest.metric('millrace_dead_letters_total')).toBe(0);
  }, 180_000);

  test('servers that cannot be reached at the start are named, with the setting', async () => {
    await open();
    const options = deployment.processOptions(['ingest', 'serve', 'compact']);
    const failureOf = (changed: object) =>
      openDistributed({ ...options, ...changed }).then(
        () => null,
        (error: unknown) => error,
      );
    const store = await failureOf({ redis: { ...options.redis, nodes: 'redis://127.0.0.1:1' } });
    expect(store).toBeInstanceOf(StoreUnavailableError);
    expect((store as Error).message).toContain('127.0.0.1:1');
    const log = await failureOf({ kafka: { ...options.kafka, brokers: ['127.0.0.1:1'] } });
    expect(log).toBeInstanceOf(KafkaUnreachableError);
    expect((log as Error).message).toContain('no Kafka broker answers at 127.0.0.1:1 (--kafka)');
  });
});
