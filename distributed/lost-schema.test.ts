/** A real registry that has lost its schemas: records become dead letters, and count when it has them again. */
import { SchemaRegistryClient } from '@confluentinc/schemaregistry/dist/schemaregistry-client.js';
import { Redis } from 'ioredis';
import { afterAll, expect, test } from 'vitest';
import { KafkaLetterDesk } from '../cli/dead-letters/kafka-letter-desk.ts';
import { mendableDefinitions } from '../embedded/testing/mendable-repo.ts';
import { NOON_MS } from '../embedded/testing/test-repo.ts';
import { serializeEvents } from '../ingest/decoding/testing/serialized-events.ts';
import { describeWithServices, sharedServices, startRedis, startRegistry } from '../services/index.ts';
import { TestDeployment, type TestProcess, until } from './testing/test-deployment.ts';

describeWithServices(['kafka', 'redis', 'registry'], 'a registry that has lost its schemas', () => {
  const closers: (() => Promise<unknown>)[] = [];
  afterAll(async () => {
    for (const close of closers.reverse()) await close();
  }, 60_000);

  test('what it had written down is replayed, and counts once, also when Redis is emptied afterwards', async () => {
    const brokers = await sharedServices().kafka();
    const redis = await startRedis({ appendonly: 'everysec' });
    closers.push(() => redis.stop());
    const definitions = mendableDefinitions(false);
    const deployment = await TestDeployment.open({
      ...{ definitions, brokers, redisUrl: redis.url, startMs: NOON_MS, partitions: 1 },
    });
    closers.push(() => deployment.close());
    const source = deployment.repo.sources.get('swipes')!.definition;
    const rows = [5, 7, 13].map((amount) => ({ at: NOON_MS, card: 'c1', amount }));
    /** Ids of schemas begin at 1: a registry that is empty gives the schema the id it had before. */
    const written = (url: string): Promise<Uint8Array[]> =>
      serializeEvents({
        ...{ source, format: 'avro', rows },
        client: SchemaRegistryClient.newClient({ baseURLs: [url] }),
      });
    const former = await startRegistry();
    const values = await written(former.url);
    await former.stop();

    const registry = await startRegistry();
    closers.push(() => registry.stop());
    const options = { registry: { urls: [registry.url] }, onLostSchema: 'continue' } as const;
    const broken = await deployment.start(['ingest', 'serve'], options);
    await deployment.produce(
      'swipes',
      0,
      values.map((value) => ({ value: Buffer.from(value) })),
    );
    await deployment.produce('swipes', 0, [
      { value: JSON.stringify({ at: NOON_MS, card: 'c1', amount: 1 }) },
    ]);
    const features = async (it: TestProcess): Promise<Record<string, number>> =>
      (await it.read('swipes_of_card', { entities: { card: 'c1' } })).body.features;
    await until('the rest is applied', async () => (await features(broken)).careful_ever === 1);
    const desk = await KafkaLetterDesk.open(
      deployment.repo,
      { brokers, clientId: 'test' },
      { group: `dlq-${deployment.id}` },
    );
    closers.push(() => desk.close());
    expect(await desk.list('swipes', {}, 0)).toMatchObject({ total: 3, counts: { unknown_schema: 3 } });
    await broken.close();

    expect(await written(registry.url)).toEqual(values);
    const mended = await deployment.start(['ingest', 'serve'], options);
    expect(await desk.replay('swipes', {}, () => {})).toEqual({ replayed: 3, unreplayable: [] });
    const right = { careful_ever: 4, careful_sum_1d: 26, plain_1d: 4 };
    await until('they count', async () => (await features(mended)).careful_ever === 4);
    expect(await features(mended)).toEqual(right);
    expect((await desk.list('swipes', {}, 0)).total).toBe(0);

    const client = new Redis(redis.url);
    await client.flushall();
    await client.quit();
    await until('the topic is applied again', async () => {
      return ((await features(mended)).careful_ever ?? 0) >= 4 && mended.lagRecords === 0;
    });
    expect(await features(mended)).toEqual(right);
  }, 240_000);
});
