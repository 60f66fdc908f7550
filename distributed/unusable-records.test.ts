/**
 * What producers and operators can do to a topic: records that nobody can use, records that are gone, another topic
 * under the same name.
 *
 * What it does not catch: a topic made again so fast, with so many records, that a running member never sees it end
 * before its position. Brokers give such a topic another id, which kafkajs cannot ask for.
 */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, afterEach, beforeAll, expect, onTestFinished, test } from 'vitest';
import { both, cardService, decision, NOON_MS, payment, spend } from '../embedded/testing/test-repo.ts';
import { featureService } from '../index.ts';
import { describeWithServices, type RedisServer, sharedServices, startRedis } from '../services/index.ts';
import {
  linesOf,
  type ProducedRecord,
  TestDeployment,
  type TestDeploymentOptions,
  type TestProcess,
  until,
} from './testing/test-deployment.ts';

const MINUTE_MS = 60_000;
const DAY_MS = 86_400_000;

describeWithServices(['kafka', 'redis'], 'records that cannot be used, or are not there', () => {
  let brokers: string[];
  let redis: RedisServer;
  const opened: TestDeployment[] = [];

  beforeAll(async () => {
    brokers = await sharedServices().kafka();
    redis = await startRedis({ appendonly: 'everysec' });
  }, 180_000);
  afterEach(async () => {
    await Promise.all(opened.splice(0).map((deployment) => deployment.close()));
  });
  afterAll(() => redis?.stop());

  const open = async (options: Partial<TestDeploymentOptions> = {}): Promise<TestDeployment> => {
    const deployment = await TestDeployment.open({
      definitions: [cardService, decision, both],
      brokers,
      redisUrl: redis.url,
      startMs: NOON_MS,
      ...options,
    });
    opened.push(deployment);
    return deployment;
  };
  const record = (columns: Readonly<Record<string, unknown>> = {}): ProducedRecord => ({
    value: JSON.stringify(payment(columns)),
  });
  const paymentsOf = async (serve: TestProcess): Promise<number> => {
    const { body } = await serve.read('card', { entities: { card: 'c1' } });
    return body.features.payments_ever;
  };
  const reasonsOf = async (process: TestProcess): Promise<string> => {
    const { status, body } = await process.get('/readyz');
    return status === 200 ? '' : body.error.details.reasons.join('\n');
  };

  test('dead letters have key, value and headers as they were, and say why and whence', async () => {
    const deployment = await open();
    const serve = await deployment.start(['serve']);
    const ingest = await deployment.start(['ingest']);
    const topic = deployment.topicOf('payments');
    const bytes = Buffer.from([255, 0, 13, 10, 128]);
    const bad: ProducedRecord[] = [
      { key: bytes, value: bytes, headers: { trace: ['one', 'two'], empty: '', binary: bytes } },
      {
        key: 'a key',
        value: JSON.stringify({ ...payment(), at: 'noon' }),
        headers: { 'millrace-reason': 'mine' },
      },
      { value: JSON.stringify(payment({ at: NOON_MS + DAY_MS })) },
      { value: JSON.stringify(payment({ amount: -5, shop: 's9' })) },
      { key: 'tombstone', value: null },
    ];
    await deployment.produce('payments', 1, [record(), ...bad, record()]);

    const letters = await deployment.consume(`${topic}.dead_letters`, bad.length);
    expect(letters).toHaveLength(bad.length);
    const why = [
      { reason: 'undecodable' },
      { reason: 'breaks_schema' },
      { reason: 'too_far_in_future' },
      { reason: 'filter_or_projection', view: 'shops' },
      { reason: 'undecodable' },
    ];
    const asBuffer = (value: Buffer | string | null | undefined) =>
      typeof value === 'string' ? Buffer.from(value) : (value ?? null);
    letters.forEach(({ key, value, headers, timestamp }, i) => {
      const { reason, view } = why[i]!;
      expect(key).toEqual(asBuffer(bad[i]!.key));
      expect(value).toEqual(asBuffer(bad[i]!.value));
      expect(Number(timestamp)).toBe(NOON_MS);
      const own = Object.entries(headers!)
        .filter(([name]) => name.startsWith('millrace-') && name !== 'millrace-message')
        .map(([name, header]) => [name.slice('millrace-'.length), String([header].flat().at(-1))]);
      expect(Object.fromEntries(own)).toEqual({
        reason,
        source: 'payments',
        ...(view === undefined ? {} : { view }),
        topic,
        partition: '1',
        offset: String(i + 1),
        timestamp: String(NOON_MS),
      });
      expect(String(headers!['millrace-message'])).not.toBe('');
    });
    expect(letters[0]!.headers).toMatchObject({
      trace: [Buffer.from('one'), Buffer.from('two')],
      empty: Buffer.from(''),
      binary: bytes,
    });
    expect(letters[1]!.headers!['millrace-reason']).toEqual(
      ['mine', 'breaks_schema'].map((text) => Buffer.from(text)),
    );

    await serve.caughtUp();
    // The one whose projection threw counts in the other views.
    expect(await paymentsOf(serve)).toBe(3);
    const reasons = ['undecodable', 'breaks_schema', 'too_far_in_future', 'filter_or_projection'];
    const counts = await Promise.all(
      reasons.map((reason) => ingest.metric('millrace_dead_letters_total', { source: 'payments', reason })),
    );
    expect(counts).toEqual([2, 1, 1, 1]);
    expect(await reasonsOf(ingest)).toBe('');
    expect(await ingest.metric('millrace_partition_paused', { source: 'payments' })).toBe(0);
  });

  test('records whose registry is asked at a wrong path wait, and are dead letters only at the right one', async () => {
    let wrong = true;
    const server = createServer((_, response) => {
      response.writeHead(404, { 'content-type': 'application/json' });
      response.end(JSON.stringify(wrong ? { error_code: 404 } : { error_code: 40403, message: 'none' }));
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    onTestFinished(() => {
      server.closeAllConnections();
      server.close();
    });
    const { logger, lines } = linesOf();
    const deployment = await open({ partitions: 1 });
    const ingest = await deployment.start(['ingest'], {
      registry: { urls: [`http://127.0.0.1:${(server.address() as AddressInfo).port}`] },
      logger,
    });
    await deployment.produce('payments', 0, [{ value: Buffer.from([0, 0, 0, 0, 7, 1]) }]);
    await until('the partition is paused', async () => {
      return (await ingest.metric('millrace_partition_paused', { source: 'payments' })) === 1;
    });
    expect(await reasonsOf(ingest)).toMatch(/payments, partition 0: .*check the path of --registry/);
    expect(await ingest.metric('millrace_dead_letters_total')).toBe(0);
    expect(JSON.stringify(lines)).toMatch(/check the path of --registry.*until the registry can be used/);

    wrong = false;
    await until(
      'it is a dead letter',
      async () => (await ingest.metric('millrace_dead_letters_total', { reason: 'undecodable' })) === 1,
    );
    await until('it is ready', async () => (await reasonsOf(ingest)) === '');
    expect(lines).toContainEqual(
      expect.objectContaining({
        source: 'payments',
        reason: 'undecodable',
        letters: 1,
        partition: 0,
        offset: 0,
      }),
    );
  });

  test('records that retention took before they were applied are counted as a gap', async () => {
    // One view: each counts its own gap.
    const ever = featureService({ name: 'card', features: [spend.feature.payments_ever] });
    const deployment = await open({ definitions: [ever] });
    const serve = await deployment.start(['serve']);
    const former = await deployment.start(['ingest']);
    await deployment.produce('payments', 0, [record(), record(), record()]);
    await until('they are applied', async () => (await paymentsOf(serve)) === 3);
    await former.close();
    await deployment.produce(
      'payments',
      0,
      Array.from({ length: 10 }, () => record()),
    );
    await deployment.admin.deleteTopicRecords({
      topic: deployment.topicOf('payments'),
      partitions: [{ partition: 0, offset: '8' }],
    });
    const ingest = await deployment.start(['ingest']);
    await until('the rest is applied', async () => (await paymentsOf(serve)) === 3 + 5);
    expect(await ingest.metric('millrace_log_gap_records_total', { source: 'payments' })).toBe(5);
    await serve.caughtUp();
    expect(await reasonsOf(ingest)).toBe('');
  });

  /** Waits until the broker has forgotten the topic. */
  const replaceTopic = async (deployment: TestDeployment): Promise<void> => {
    const topic = deployment.topicOf('payments');
    await deployment.admin.deleteTopics({ topics: [topic, `${topic}.dead_letters`] });
    await until('the topic is gone', async () => !(await deployment.admin.listTopics()).includes(topic));
    await until('the topic is made again', async () => {
      await deployment.makeTopic('payments');
      return true;
    });
  };

  test('a topic made again while nobody ingested, with more records than before, is not taken for the old one', async () => {
    const deployment = await open({ partitions: 1 });
    const serve = await deployment.start(['serve']);
    const former = await deployment.start(['ingest']);
    await serve.push('payments', [payment(), payment()]);
    await former.close();
    deployment.clock.advanceTo(NOON_MS + MINUTE_MS);
    await replaceTopic(deployment);
    await deployment.produce(
      'payments',
      0,
      Array.from({ length: 5 }, () => record({ card: 'c2' })),
    );

    const ingest = await deployment.start(['ingest', 'serve']);
    await until('ingest stops', async () => (await reasonsOf(ingest)) !== '');
    expect(await reasonsOf(ingest)).toMatch(
      /^source payments, partition 0: .*holds another record at offset 1 than the one applied.*--redis-prefix\)\.$/,
    );
    expect(await ingest.metric('millrace_ready')).toBe(0);
    // The other source goes on.
    await ingest.push('clicks', [{ at: NOON_MS, card: 'c1', page: 'start' }]);
    const { body } = await ingest.read('both', { entities: { card: 'c1' } });
    expect(body.features).toMatchObject({ payments_1h: 2, clicks_1h: 1 });
    expect(await ingest.metric('millrace_events_applied_total', { view: 'spend' })).toBe(0);
  });

  test('a topic made again under a running member stops it', async () => {
    const deployment = await open({ partitions: 1 });
    const ingest = await deployment.start(['ingest', 'serve']);
    await ingest.push('payments', [payment(), payment(), payment()]);
    deployment.clock.advanceTo(NOON_MS + MINUTE_MS);
    await replaceTopic(deployment);
    await deployment.produce('payments', 0, [record({ card: 'c2' })]);
    await until('ingest stops', async () =>
      (await reasonsOf(ingest)).includes('ends at 1 but was applied up to 3'),
    );
    expect(await ingest.metric('millrace_events_applied_total', { view: 'spend', outcome: 'applied' })).toBe(
      3,
    );
  });
});
