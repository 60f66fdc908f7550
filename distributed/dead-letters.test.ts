/**
 * Dead letters in topics, over a real Kafka and Redis: found, mended, replayed by `millrace dlq`'s desk, and counted once
 * whatever is lost afterwards.
 */
import { Redis } from 'ioredis';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { KafkaLetterDesk } from '../cli/dead-letters/kafka-letter-desk.ts';
import { mendableDefinitions } from '../embedded/testing/mendable-repo.ts';
import { NOON_MS } from '../embedded/testing/test-repo.ts';
import { describeWithServices, type RedisServer, sharedServices, startRedis } from '../services/index.ts';
import { type ProducedRecord, TestDeployment, type TestProcess, until } from './testing/test-deployment.ts';

const TIMINGS = {
  sessionTimeoutMs: 10_000,
  heartbeatIntervalMs: 300,
  rebalanceTimeoutMs: 15_000,
  metadataMaxAgeMs: 500,
} as const;

describeWithServices(['kafka', 'redis'], 'dead letters in topics', () => {
  let brokers: string[];
  let redis: RedisServer;
  let deployment: TestDeployment;
  let desk: KafkaLetterDesk;

  beforeAll(async () => {
    brokers = await sharedServices().kafka();
    redis = await startRedis({ appendonly: 'everysec' });
    const definitions = mendableDefinitions(true);
    deployment = await TestDeployment.open({ definitions, brokers, redisUrl: redis.url, startMs: NOON_MS });
    const kafka = { brokers, clientId: 'test' };
    const options = { group: `dlq-${deployment.id}`, timings: TIMINGS };
    desk = await KafkaLetterDesk.open(deployment.repo, kafka, options);
  }, 180_000);
  afterAll(async () => {
    await desk?.close();
    await deployment?.close();
    await redis?.stop();
  });

  const swipe = (amount: number, overrides: Partial<ProducedRecord> = {}): ProducedRecord => ({
    value: JSON.stringify({ at: NOON_MS, card: 'c1', amount }),
    ...overrides,
  });
  const features = async (serve: TestProcess): Promise<unknown> =>
    (await serve.read('swipes_of_card', { entities: { card: 'c1' } })).body.features;
  const settles = async (serve: TestProcess, careful: number, sum: number, plain: number): Promise<void> => {
    await serve.caughtUp();
    const right = { careful_ever: careful, careful_sum_1d: sum, plain_1d: plain };
    await until(`features are ${JSON.stringify(right)}`, async () => {
      return JSON.stringify(await features(serve)) === JSON.stringify(right);
    }).catch(() => {});
    expect(await features(serve)).toEqual(right);
  };

  test('poison → mended → replayed → counted once, also when Redis is emptied and letters are replayed again', async () => {
    const broken = await deployment.start(['ingest', 'serve']);
    const headers = { trace: ['1', '2'], 'millrace-reason': 'mine' };
    await deployment.produce('swipes', 0, [swipe(1), swipe(13, { key: 'k', headers }), swipe(2)]);
    await deployment.produce('swipes', 1, [swipe(13), { value: '{"at":' }, { value: null }]);
    await settles(broken, 2, 3, 4);
    const listed = await desk.list('swipes', {}, 10);
    expect(listed).toMatchObject({ total: 4, counts: { filter_or_projection: 2, undecodable: 2 } });
    expect(listed.letters.map(({ partition, offset, view }) => [partition, offset, view])).toEqual(
      expect.arrayContaining([
        [0, 1, 'careful'],
        [1, 0, 'careful'],
        [1, 1, null],
        [1, 2, null],
      ]),
    );
    const [shown] = await desk.show('swipes', { partition: 0, offset: 1 }, true);
    expect(Buffer.from(shown!.value!).toString()).toBe(swipe(13).value);
    expect(shown!.message).toBe('view careful, filter: it threw an error (Error)');
    expect(shown!.thrown).toBe('Error: an unlucky number');
    expect(JSON.stringify(listed)).not.toContain('unlucky');
    expect((await desk.show('swipes', { partition: 0, offset: 1 }, false))[0]!.value).toBeNull();
    await broken.close();

    const repo = deployment.compile(mendableDefinitions(false));
    const mended = await deployment.start(['ingest', 'serve'], { repo });
    expect(await features(mended)).toMatchObject({ careful_ever: 2 });
    const progress: number[] = [];
    const reason = 'filter_or_projection';
    expect(await desk.replay('swipes', { reason }, (done) => progress.push(done))).toEqual({
      replayed: 2,
      unreplayable: [],
    });
    expect(progress.reduce((sum, done) => sum + done, 0)).toBe(2);
    await settles(mended, 4, 29, 4);
    const copies = await deployment.consume(deployment.topicOf('swipes'), 8);
    const copy = copies.find(({ headers = {} }) => 'millrace-origin' in headers && 'trace' in headers)!;
    expect(String(copy.key)).toBe('k');
    expect(copy.headers!.trace).toEqual([Buffer.from('1'), Buffer.from('2')]);
    expect(String(copy.headers!['millrace-reason'])).toBe('mine');
    expect(copy.headers).not.toHaveProperty('millrace-thrown');
    expect(String(copy.headers!['millrace-origin'])).toBe(`${deployment.topicOf('swipes')}/0/1`);

    // What cannot be mended is a letter again, and named.
    expect(await desk.replay('swipes', {}, () => {})).toEqual({
      replayed: 1,
      unreplayable: [{ partition: 1, offset: 2, why: 'no_value' }],
    });
    await mended.caughtUp();
    await until('it is a letter again', async () => (await desk.list('swipes', {}, 10)).total === 2);

    // Nor ever will be: it is no letter that somebody has to look at any more.
    const hopeless = { partition: 1, offset: 2 };
    expect(await desk.discard('swipes', [hopeless, { partition: 1, offset: 99 }])).toBe(1);
    expect((await desk.list('swipes', {}, 10)).letters).toMatchObject([{ partition: 1, offset: 1 }]);
    expect(await desk.show('swipes', hopeless, false)).toMatchObject([{ state: 'discarded' }]);
    expect(await desk.replay('swipes', { origins: [hopeless] }, () => {})).toEqual({
      replayed: 0,
      unreplayable: [],
    });

    // As if the replay had been killed before it noted what it did.
    await deployment.produce('swipes', 0, [{ ...swipe(13), headers: copy.headers! }]);
    await settles(mended, 4, 29, 4);
    const client = new Redis(redis.url);
    await client.flushall();
    await client.quit();
    await until('the topic is applied again', async () => {
      const { careful_ever: ever } = (await features(mended)) as { careful_ever: number };
      return ever >= 4 && mended.lagRecords === 0;
    });
    await settles(mended, 4, 29, 4);
    // The original has been counted since Redis was emptied.
    await deployment.produce('swipes', 0, [{ ...swipe(13), headers: copy.headers! }, swipe(5)]);
    await settles(mended, 5, 34, 5);
  });
});
