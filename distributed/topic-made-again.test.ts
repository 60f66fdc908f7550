/**
 * A topic that was deleted and made again under its name: what the store holds was applied from another log.
 *
 * What it does not catch: a topic made again so fast, with so many records, that a running process never sees it end
 * before what was applied. Brokers give such a topic another id, which kafkajs cannot ask for.
 */
import { expect, test } from 'vitest';
import { NOON_MS, payment } from '../embedded/testing/test-repo.ts';
import { describeWithServices } from '../services/index.ts';
import {
  type ProducedRecord,
  type TestDeployment,
  type TestProcess,
  until,
} from './testing/test-deployment.ts';
import { testDeployments } from './testing/test-deployments.ts';

const MINUTE_MS = 60_000;

describeWithServices(['kafka', 'redis'], 'a topic made again', () => {
  const { open } = testDeployments();
  const record = (columns: Readonly<Record<string, unknown>> = {}): ProducedRecord => ({
    value: JSON.stringify(payment(columns)),
  });
  const reasonsOf = async (process: TestProcess): Promise<string> => {
    const { status, body } = await process.get('/readyz');
    return status === 200 ? '' : body.error.details.reasons.join('\n');
  };

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

  test('a topic made again is no log that anything is applied from, to processes that only serve too', async () => {
    const deployment = await open({ partitions: 1 });
    const serve = await deployment.start(['serve'], { appliedTimeoutMs: 500 });
    const ingest = await deployment.start(['ingest']);
    const compact = await deployment.start(['compact']);
    expect((await serve.push('payments', [payment(), payment(), payment()])).status).toBe(200);
    deployment.clock.advanceTo(NOON_MS + MINUTE_MS);
    await replaceTopic(deployment);

    // Whether or not anybody has looked: the place that the log gives to the record tells as well.
    const answer = await serve.push('payments', [payment()]);
    const taken = await deployment.ends('payments');
    expect([answer.status, answer.body.error.code]).toEqual([503, 'log_unavailable']);
    expect(answer.body.error.message).toMatch(
      /source payments, partition 0, ends at 0 but was applied up to 3/,
    );

    const short =
      /^source payments, partition 0: the log of .* ends at \d but was applied up to 3: it lost records or is another log/m;
    const later = await deployment.open(['serve']);
    for (const process of [serve, compact, ingest, later]) {
      await until('it says why', async () => short.test(await reasonsOf(process)));
      expect(await process.metric('millrace_consumer_lag_records', { source: 'payments' })).toBeGreaterThan(
        0,
      );
    }
    for (const process of [serve, later]) {
      for (const wait of ['durable', 'applied'] as const) {
        const refused = await process.push('payments', [payment()], wait);
        expect([refused.status, refused.body.error.code]).toEqual([503, 'log_unavailable']);
      }
      const { body } = await process.read('both', { entities: { card: 'c1' }, metadata: true });
      expect(body.metadata.features.payments_1h.status).toBe('catching_up');
      // The other source goes on.
      expect((await process.push('clicks', [{ at: NOON_MS, card: 'c1', page: 'start' }])).status).toBe(200);
      expect(body.metadata.features.clicks_1h.status).not.toBe('catching_up');
    }
    // None of them was taken.
    expect(await deployment.ends('payments')).toEqual(taken);
  });

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
      /^source payments, partition 0: .*holds another record at offset 1 than the one applied.*--redis-prefix\): a rebuild cannot go on with it either$/,
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
