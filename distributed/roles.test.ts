/**
 * Roles in processes of their own, which only the topics and Redis connect. What this does not catch: processes that
 * die or are paused (test/), servers that fail (outages.test.ts, redis-faults.test.ts).
 */
import { pino } from 'pino';
import { expect, test } from 'vitest';
import {
  both,
  card,
  cardService,
  decision,
  NOON_MS,
  payment,
  payments,
} from '../embedded/testing/test-repo.ts';
import { StoreFormatError } from '../engine/store/store-errors.ts';
import { count, featureService, featureView, sum } from '../index.ts';
import { ConsumerStalledError, TopicMissingError } from '../ingest/log/kafka/kafka-errors.ts';
import { describeWithServices } from '../services/index.ts';
import { openDistributed } from './runtime.ts';
import { linesOf, type TestProcess, until } from './testing/test-deployment.ts';
import { testDeployments } from './testing/test-deployments.ts';

const DEFINITIONS = [cardService, decision, both];
const LAG_BOUND_MS = 10_000;
const MINUTE_MS = 60_000;
const DAY_MS = 86_400_000;

describeWithServices(['kafka', 'redis'], 'roles over Kafka and Redis', () => {
  const { open } = testDeployments();

  const paymentsOf = async (
    process: TestProcess,
    at?: number,
  ): Promise<{ value: number; status: string }> => {
    const { status, body } = await process.read('card', {
      entities: { card: 'c1' },
      metadata: true,
      ...(at === undefined ? {} : { at }),
    });
    expect(status).toBe(200);
    return { value: body.features.payments_ever, status: body.metadata.features.payments_ever.status };
  };

  test.each(['the same topics into another store', 'other topics into the same store'])(
    'a second deployment in the group of the first is unready and says why: %s',
    async (what) => {
      const deployment = await open();
      const first = await deployment.start(['ingest']);
      const { group, redis: store } = deployment.processOptions(['ingest']);
      const second =
        what === 'other topics into the same store'
          ? await (await open()).open(['ingest'], { group, redis: store })
          : await deployment.open(['ingest'], { redis: { ...store, prefix: `${store.prefix}-other` } });
      const reasons = () => second.runtime.readiness().reasons.join('\n');
      await until('the second says why', () => reasons().includes('needs a --group of its own'));
      expect(reasons()).toContain(`consumer group ${group}.payments has members that read another topic`);
      // The first is not disturbed; the second joins when the group is empty.
      expect(first.runtime.readiness()).toMatchObject({ ready: true, reasons: [] });
      expect(await first.metric('millrace_partitions_assigned')).toBe(4);
      expect(await second.metric('millrace_partitions_assigned')).toBe(0);
      await first.close();
      await until('the group is the second’s', async () => {
        return !reasons().includes('--group') && (await second.metric('millrace_partitions_assigned')) === 4;
      });
    },
  );

  test('a consumer that stands still fails the process, which says so at once', async () => {
    const deployment = await open();
    await deployment.start(['ingest']);
    const lines: string[] = [];
    const logger = pino({ level: 'error' }, { write: (line: string) => void lines.push(line) });
    // The group does not let it in.
    const store = { ...deployment.processOptions(['ingest']).redis, prefix: `test-${deployment.id}-other` };
    const second = await deployment.open(['ingest'], { redis: store, stallMs: 1_000, logger });
    await expect(second.runtime.failed).rejects.toThrow(ConsumerStalledError);
    await expect(second.runtime.failed).rejects.toThrow(/stands still for 1000 ms: .*--group/);
    await expect(second.runtime.ready()).rejects.toThrow(ConsumerStalledError);
    expect(lines.join('')).toMatch(/stands still.*"the process cannot go on"/);
  });

  test('a process that only serves takes pushes, waits until others have applied them, and answers', async () => {
    const deployment = await open();
    const serve = await deployment.start(['serve']);
    const ingest = await deployment.start(['ingest']);
    const compact = await deployment.start(['compact']);

    const events = [1, 2, 3].map((amount) => payment({ amount, at: NOON_MS - amount * MINUTE_MS }));
    expect((await serve.push('payments', events)).body).toEqual({
      accepted: 3,
      duplicates: 0,
      rejected: [],
    });
    const { body } = await serve.read('card', { entities: { card: 'c1' }, metadata: true });
    expect(body.features).toMatchObject({ payments_1h: 3, amount_sum_1h: 6, amount_last_1h: 1, hour: 12 });
    expect(body.metadata.features.payments_1h).toEqual({
      status: 'present',
      window: { after: '2026-03-02T11:00:00.000Z', until: '2026-03-02T12:00:00.000Z' },
    });
    expect(body.metadata.features.refusals_1h.status).toBe('empty');

    const lag = ['payments', 'clicks'].flatMap((source) =>
      [0, 1].map((partition) => ({ source, partition, records: 0, seconds: 0 })),
    );
    for (const process of [serve, ingest, compact]) {
      // The others see it at their next look.
      await until('no lag is seen', () => process.lagRecords === 0);
      expect((await process.get('/readyz')).body).toEqual({ status: 'ready', warnings: [], lag });
      expect(await process.metric('millrace_ready')).toBe(1);
      expect(await process.metric('millrace_clock_seconds')).toBe(NOON_MS / 1_000);
      expect((await process.get('/healthz')).body).toEqual({ status: 'ok' });
    }
    expect(await ingest.metric('millrace_partitions_assigned', { source: 'payments' })).toBe(2);
    expect(await ingest.metric('millrace_partitions_assigned', { source: 'clicks' })).toBe(2);
    const applied = { view: 'spend', outcome: 'applied' };
    expect(await ingest.metric('millrace_events_applied_total', applied)).toBe(3);
    expect(await serve.metric('millrace_events_applied_total', applied)).toBe(0);
    expect(await serve.metric('millrace_push_events_total', { outcome: 'accepted' })).toBe(3);

    deployment.clock.advanceTo(NOON_MS + 3 * 60 * MINUTE_MS);
    await compact.runtime.compact();
    await until('states are compacted', async () => {
      return (await compact.metric('millrace_compaction_states_total', { outcome: 'compacted' })) > 0;
    });
    await until(
      'no state is due',
      async () => (await compact.metric('millrace_compaction_backlog_states')) === 0,
    );
    await until('the log is seen', async () => (await paymentsOf(serve, NOON_MS)).status === 'present');
    expect(await paymentsOf(serve, NOON_MS)).toEqual({ value: 3, status: 'present' });
    expect(await ingest.runtime.compact()).toBe(0);
  });

  test('processes that do not serve have operations routes only', async () => {
    const deployment = await open();
    for (const role of ['ingest', 'compact'] as const) {
      const process = await deployment.start([role]);
      expect(process.runtime.push).toBeNull();
      for (const url of ['/healthz', '/readyz', '/metrics'])
        expect((await process.get(url)).status, url).toBe(200);
      const { code, message } = (await process.get('/v1/catalog')).body.error;
      expect(code).toBe('not_found');
      expect(message).toMatch(
        new RegExp(`has the role ${role}, .*push to and read from a \`serve\` process`),
      );
      expect((await process.push('payments', [payment()])).body.error.code).toBe('not_found');
      expect((await process.read('card', { entities: { card: 'c1' } })).body.error.code).toBe('not_found');
    }
    expect(await deployment.ends('payments')).toEqual([0, 0]);
  });

  test('one process can have all roles', async () => {
    const deployment = await open();
    const process = await deployment.start(['ingest', 'compact', 'serve']);
    expect((await process.push('payments', [payment()])).status).toBe(200);
    expect(await paymentsOf(process)).toEqual({ value: 1, status: 'present' });
    deployment.clock.advanceTo(NOON_MS + 3 * 60 * MINUTE_MS);
    await process.runtime.compact();
    await until('states are compacted', async () => {
      return (await process.metric('millrace_compaction_states_total', { outcome: 'compacted' })) > 0;
    });
  });

  test('two members share the partitions, and one has all of them when the other has left', async () => {
    const deployment = await open({ partitions: 4 });
    const serve = await deployment.start(['serve']);
    const [one, two] = [await deployment.start(['ingest']), await deployment.start(['ingest'])];
    const assigned = () =>
      Promise.all(
        [one, two].map((process) => process.metric('millrace_partitions_assigned', { source: 'payments' })),
      );
    await until('the partitions are shared', async () => (await assigned()).join() === '2,2');
    await serve.push(
      'payments',
      Array.from({ length: 40 }, () => payment()),
    );
    await one.close();
    await serve.push(
      'payments',
      Array.from({ length: 40 }, () => payment()),
    );
    expect(await two.metric('millrace_partitions_assigned', { source: 'payments' })).toBe(4);
    expect(await paymentsOf(serve)).toEqual({ value: 80, status: 'present' });
  });

  test('features are catching_up while nobody ingests and the lag is beyond its bound', async () => {
    const deployment = await open({ process: { lagBoundMs: LAG_BOUND_MS } });
    const serve = await deployment.start(['serve']);
    const ingest = await deployment.start(['ingest']);
    await serve.push('payments', [payment()]);
    await ingest.close();
    await serve.push('payments', [payment()], 'durable');
    expect(await paymentsOf(serve)).toEqual({ value: 1, status: 'present' });

    deployment.clock.advanceTo(NOON_MS + LAG_BOUND_MS);
    await until('the log is seen', () => serve.runtime.readiness().ready);
    expect(await paymentsOf(serve)).toEqual({ value: 1, status: 'present' });

    deployment.clock.advanceTo(NOON_MS + LAG_BOUND_MS + 1);
    await until('the log is seen', () => serve.runtime.readiness().ready);
    expect(await paymentsOf(serve)).toEqual({ value: 1, status: 'catching_up' });
    // Also to those who asked for no metadata, and for the view of that source only.
    const { body } = await serve.read('both', { entities: { card: 'c1' } });
    expect(body).toMatchObject({
      features: { payments_1h: 1, clicks_1h: 0 },
      metadata: { features: { payments_1h: { status: 'catching_up' } } },
    });
    expect(Object.keys(body.metadata.features)).toEqual(['payments_1h']);
    const { lag } = (await serve.get('/readyz')).body;
    const behind = lag.filter(({ records }: { records: number }) => records > 0);
    expect(behind).toMatchObject([{ source: 'payments', records: 1, seconds: (LAG_BOUND_MS + 1) / 1_000 }]);
    expect(await serve.metric('millrace_consumer_lag_records', { source: 'payments' })).toBe(1);
    expect(await serve.metric('millrace_consumer_lag_seconds', { source: 'payments' })).toBe(10.001);

    await deployment.start(['ingest']);
    await until('it has caught up', async () => (await paymentsOf(serve)).status === 'present');
    expect(await paymentsOf(serve)).toEqual({ value: 2, status: 'present' });
    expect(await serve.metric('millrace_consumer_lag_seconds')).toBe(0);
  });

  test('a process that starts while the log is ahead says catching_up until it is applied', async () => {
    const deployment = await open();
    const former = await deployment.start(['serve']);
    await former.push('payments', [payment()], 'durable');
    const serve = await deployment.start(['serve']);
    expect(await paymentsOf(serve)).toEqual({ value: 0, status: 'catching_up' });
    expect(serve.lagRecords).toBe(1);
    await deployment.start(['ingest']);
    await until('it has caught up', async () => (await paymentsOf(serve)).status === 'present');
    expect(await paymentsOf(serve)).toEqual({ value: 1, status: 'present' });
  });

  test('wait=applied says so when nobody applies; the events are recorded', async () => {
    const deployment = await open({ process: { appliedTimeoutMs: 200 } });
    const serve = await deployment.start(['serve']);
    const event = payment();
    const { status, body, headers } = await serve.push('payments', [event]);
    expect([status, body.error.code, headers['retry-after']]).toEqual([503, 'not_applied_in_time', '1']);
    await deployment.start(['ingest']);
    await serve.caughtUp();
    expect((await serve.push('payments', [event])).body).toEqual({
      accepted: 0,
      duplicates: 1,
      rejected: [],
    });
    expect(await paymentsOf(serve)).toEqual({ value: 1, status: 'present' });
  });

  test('an event that is too large for the topic is refused with 413, and with it the whole push', async () => {
    const deployment = await open({ topicConfig: { 'max.message.bytes': '2000' } });
    const serve = await deployment.start(['serve', 'ingest']);
    const click = (page: string) => ({ at: NOON_MS, card: 'c1', page });
    const pushed = await serve.push('clicks', [click('start'), click('x'.repeat(5_000))]);
    const { code, message } = pushed.body.error;
    expect([pushed.status, code, pushed.headers['retry-after']]).toEqual([413, 'event_too_large', undefined]);
    expect(message).not.toContain('xxx');
    expect(await deployment.ends('clicks')).toEqual([0, 0]);
    // Together they are larger than one record may be.
    const many = Array.from({ length: 100 }, () => click('start'));
    expect((await serve.push('clicks', many)).body).toEqual({ accepted: 100, duplicates: 0, rejected: [] });
    const { body } = await serve.read('both', { entities: { card: 'c1' } });
    expect(body.features.clicks_1h).toBe(100);
  });

  test('a missing topic is an error that says what to do, or it is made', async () => {
    const deployment = await open({ makeTopics: false });
    const topic = deployment.topicOf('payments');
    for (const role of ['ingest', 'serve', 'compact'] as const) {
      const error = await openDistributed(deployment.processOptions([role])).catch(
        (thrown: unknown) => thrown,
      );
      expect(error).toBeInstanceOf(TopicMissingError);
      expect((error as Error).message).toContain(`there is no topic ${topic}: start with --create-topics`);
      expect((error as Error).message).toContain('kafka-topics.sh --create');
    }
    const createTopics = { partitions: 3, replicationFactor: -1 };
    const processes = await Promise.all([
      deployment.start(['ingest'], { createTopics }),
      deployment.start(['serve'], { createTopics }),
    ]);
    expect(await deployment.ends('payments')).toEqual([0, 0, 0]);
    expect(await deployment.admin.listTopics()).toContain(`${topic}.dead_letters`);
    const configOf = async (name: string) => {
      const { resources } = await deployment.admin.describeConfigs({
        includeSynonyms: false,
        resources: [{ type: 2, name, configNames: ['message.timestamp.type', 'retention.ms'] }],
      });
      return new Map(
        resources[0]!.configEntries.map(({ configName, configValue }) => [configName, configValue]),
      );
    };
    const config = await configOf(topic);
    expect(config.get('message.timestamp.type')).toBe('LogAppendTime');
    // The definitions have a lifetime window: every event may be needed again.
    expect(deployment.compile(DEFINITIONS).sources.get('payments')!.retentionMs).toBe(
      Number.POSITIVE_INFINITY,
    );
    expect(config.get('retention.ms')).toBe('-1');
    expect((await configOf(`${topic}.dead_letters`)).get('retention.ms')).toBe('-1');
    expect((await processes[1]!.push('payments', [payment()])).status).toBe(200);
  });

  test('dead letters are kept for 90 days where windows are shorter', async () => {
    const views = [
      featureView({ name: 'short', source: payments, entity: card, features: { n: count().over('1h') } }),
    ];
    const deployment = await open({ definitions: views, makeTopics: false });
    const createTopics = { partitions: 1, replicationFactor: -1 };
    await deployment.start(['ingest'], { createTopics });
    const retention = await Promise.all(
      ['', '.dead_letters'].map(async (suffix) => {
        const { resources } = await deployment.admin.describeConfigs({
          includeSynonyms: false,
          resources: [
            { type: 2, name: deployment.topicOf('payments') + suffix, configNames: ['retention.ms'] },
          ],
        });
        return Number(resources[0]!.configEntries[0]!.configValue) / 86_400_000;
      }),
    );
    expect(retention).toEqual([7, 90]);
  });

  test('a process that ingests warns of topics that lose events too early, and of a registry that does not answer', async () => {
    const deployment = await open({
      topicConfig: { 'retention.ms': '3600000', 'retention.bytes': '1000000' },
    });
    const { logger, lines } = linesOf();
    const registry = { urls: ['http://127.0.0.1:1'] };
    const ingest = await deployment.start(['ingest'], { logger, registry });
    const about = (pattern: RegExp) =>
      lines.filter(({ msg }) => pattern.test(String(msg))).map(({ topic }) => topic);
    // Of each source, never of its dead letters: their times are nobody's windows.
    const topics = ['payments', 'clicks'].map((source) => deployment.topicOf(source));
    expect(about(/is CreateTime/).sort()).toEqual([...topics].sort());
    const { warnings } = (await ingest.get('/readyz')).body;
    for (const warning of warnings) expect(lines.filter(({ msg }) => msg === warning)).toHaveLength(1);
    for (const [i, source] of ['payments', 'clicks'].entries()) {
      const of = `^source ${source}, topic ${topics[i]}: retention\\.`;
      expect(warnings).toContainEqual(expect.stringMatching(new RegExp(`${of}bytes is 1000000`)));
    }
    expect(warnings).toContainEqual(
      expect.stringMatching(/payments: retention\.ms is 3600000 .*set it to -1/),
    );
    await until('the registry was asked', () => about(/until the registry can be used/).length > 0);
    // Records in JSON do not need it.
    await deployment.produce('payments', 0, [{ value: JSON.stringify(payment()) }]);
    await until('it is applied', async () => (await ingest.metric('millrace_events_applied_total')) > 0);
    expect((await ingest.get('/readyz')).status).toBe(200);

    const compact = linesOf();
    await deployment.start(['compact'], { logger: compact.logger, registry });
    expect(compact.lines).toEqual([]);
  });

  test('a process that ingests notices when a topic is told to keep less, and what it has lost by that', async () => {
    const deployment = await open();
    const { logger, lines } = linesOf();
    const ingest = await deployment.start(['ingest'], { logger, reachEveryMs: 50 });
    const serve = await deployment.start(['serve']);
    await serve.push('payments', [payment(), payment(), payment(), payment()]);
    const warnings = async () => (await ingest.get('/readyz')).body.warnings as string[];
    const short = (source: string) => ingest.metric('millrace_log_too_short', { source });
    expect([await warnings(), await short('payments')]).toEqual([[], 0]);

    const topic = deployment.topicOf('payments');
    const keep = (value: string) =>
      deployment.admin.alterConfigs({
        validateOnly: false,
        resources: [{ type: 2, name: topic, configEntries: [{ name: 'retention.ms', value }] }],
      });
    // The records of this test are years old: they are gone at once when the brokers next look.
    await keep('86400000');
    await until('it is noticed', async () => (await warnings()).length > 0);
    const setting = new RegExp(`^source payments, topic ${topic}: retention\\.ms is 86400000 \\(1d\\), but`);
    expect(await warnings()).toContainEqual(expect.stringMatching(setting));
    expect(await short('payments')).toBe(1);
    expect(await short('clicks')).toBe(0);
    await keep('-1');
    const [end] = await deployment.ends('payments');
    await deployment.admin.deleteTopicRecords({ topic, partitions: [{ partition: 0, offset: String(end) }] });
    const lost = 'source payments: its log has lost records in partition 0 ';
    await until('what is gone is noticed', async () => {
      return (await warnings()).length === 1 && (await warnings())[0]!.startsWith(lost);
    });
    expect((await ingest.get('/readyz')).status).toBe(200);
    expect(await short('payments')).toBe(1);
    for (const pattern of [setting, new RegExp(`^${lost}`)]) {
      expect(lines.filter(({ msg }) => pattern.test(String(msg)))).toHaveLength(1);
    }
    // Nothing of it is missing in what is read.
    expect((await serve.get('/readyz')).body.warnings).toEqual([]);
    await ingest.close();
    const next = await deployment.start(['ingest']);
    expect((await next.get('/readyz')).body.warnings).toEqual([expect.stringContaining(lost)]);
  });

  test('another number of shards than the store was filled with is refused', async () => {
    const deployment = await open();
    const { redis: store } = deployment.processOptions(['serve']);
    const serve = await deployment.start(['serve'], { redis: { ...store, shards: 3 } });
    const error = await deployment
      .open(['ingest'], { redis: { ...store, shards: 2 } })
      .catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(StoreFormatError);
    expect((error as Error).message).toMatch(/were filled with 3 shards; start with --shards 3/);
    // Who does not say takes what is there.
    await deployment.start(['ingest']);
    const cards = Array.from({ length: 20 }, (_, i) => `card ${i}`);
    await serve.push(
      'payments',
      cards.map((card) => payment({ card })),
    );
    const { body } = await serve.post('/v1/services/card/features/batch', {
      rows: cards.map((card) => ({ entities: { card } })),
    });
    expect(
      body.rows.map((row: { features: { payments_ever: number } }) => row.features.payments_ever),
    ).toEqual(cards.map(() => 1));
  });

  test('a view added later is filled from the start of the topic while others go on', async () => {
    const deployment = await open();
    const serve = await deployment.start(['serve']);
    const former = await deployment.start(['ingest']);
    await serve.push(
      'payments',
      Array.from({ length: 30 }, (_, i) => payment({ amount: i })),
    );

    const added = featureView({
      name: 'added',
      source: payments,
      entity: card,
      features: { added_count: count().lifetime(), added_sum: sum('amount').over('1h') },
    });
    const repo = deployment.compile([...DEFINITIONS, featureService({ name: 'added', features: [added] })]);
    const ofAdded = async (process: TestProcess) => {
      const { body } = await process.read('added', { entities: { card: 'c1' }, metadata: true });
      return [body.features.added_count, body.features.added_sum, body.metadata.features.added_count.status];
    };

    // Serving knows it first; the other view of the process goes on as before.
    const newer = await deployment.start(['serve'], { repo });
    await newer.push('payments', [payment({ amount: 100 })], 'durable');
    await serve.caughtUp();
    expect(await ofAdded(newer)).toEqual([0, 0, 'catching_up']);
    await until('the old view is as it was', async () => (await paymentsOf(newer)).value === 31);
    expect(await paymentsOf(newer)).toEqual({ value: 31, status: 'present' });

    await former.close();
    const ingest = await deployment.start(['ingest'], { repo, consumer: { chunkRecords: 2 } });
    await newer.push('payments', [payment({ amount: 1_000 })], 'durable');
    // Within the bound of the lag a value is present though the newest event is still to come; and the store is ahead
    // of what the process has seen of it.
    await until('the new view is filled', async () => {
      const [value, , status] = await ofAdded(newer);
      return value === 32 && status === 'present';
    });
    expect(await ofAdded(newer)).toEqual([32, 29 * 15 + 1_100, 'present']);
    await until('the old view goes on', async () => (await paymentsOf(newer)).value === 32);
    expect(await paymentsOf(newer)).toEqual({ value: 32, status: 'present' });
    // The others went on where they were.
    const appliedTo = (view: string) =>
      ingest.metric('millrace_events_applied_total', { view, outcome: 'applied' });
    expect([await appliedTo('added'), await appliedTo('spend')]).toEqual([32, 1]);
    await serve.caughtUp();
    expect(await paymentsOf(serve)).toEqual({ value: 32, status: 'present' });
  });

  test('event time is the same in all processes, and does not go back with new ones', async () => {
    const deployment = await open({ process: { clock: 'event' } });
    const processes = [
      await deployment.start(['ingest']),
      await deployment.start(['compact']),
      await deployment.start(['serve']),
    ];
    const clocks = () => processes.map(({ runtime }) => runtime.clock.nowMs());
    const record = (at: number) => ({ value: JSON.stringify(payment({ at })) });
    await until('clocks without events', () => clocks().every((nowMs) => nowMs === 0));
    await deployment.produce('payments', 0, [record(NOON_MS + 5 * MINUTE_MS), record(NOON_MS)]);
    // A partition without events does not hold time back.
    await until('one partition', () => clocks().every((nowMs) => nowMs === NOON_MS + 5 * MINUTE_MS));
    await deployment.produce('payments', 1, [record(NOON_MS + 2 * MINUTE_MS)]);
    await deployment.produce('payments', 0, [record(NOON_MS + 9 * MINUTE_MS)]);
    await until('all is applied', () => processes.every((process) => process.lagRecords === 0));
    expect(clocks()).toEqual(clocks().map(() => NOON_MS + 5 * MINUTE_MS));
    await deployment.produce('payments', 1, [record(NOON_MS + 7 * MINUTE_MS)]);
    await until('both partitions', () => clocks().every((nowMs) => nowMs === NOON_MS + 7 * MINUTE_MS));
    processes.push(await deployment.start(['serve']), await deployment.start(['ingest', 'compact']));
    expect(clocks()).toEqual(clocks().map(() => NOON_MS + 7 * MINUTE_MS));

    const { body } = await processes[2]!.read('card', { entities: { card: 'c1' }, metadata: true });
    expect(body.metadata.at_ms).toBe(NOON_MS + 7 * MINUTE_MS);
    // The newest two are at or before 7 minutes past, the one at 9 minutes past is not.
    expect(body.features.payments_ever).toBe(4);
    expect(await processes[0]!.metric('millrace_clock_seconds')).toBe(NOON_MS / 1_000 + 420);
  });

  test('another clock than the store is filled by is refused, and gets into no watermark', async () => {
    const deployment = await open({ partitions: 1, process: { clock: 'event' } });
    const ingest = await deployment.start(['ingest']);
    const serve = await deployment.start(['serve']);
    const yearAgoMs = NOON_MS - 365 * DAY_MS;
    const push = (atMs: number) => serve.push('payments', [payment({ at: atMs })]);
    expect((await push(yearAgoMs)).status).toBe(200);
    for (const role of ['ingest', 'serve', 'compact'] as const) {
      const error = await openDistributed(deployment.processOptions([role], { clock: 'wall' })).then(
        (opened) => opened.close(),
        (thrown: unknown) => thrown,
      );
      expect(error).toBeInstanceOf(StoreFormatError);
      expect((error as Error).message).toMatch(/are filled by the event clock; start with --clock event,/);
    }
    expect((await push(yearAgoMs + MINUTE_MS)).status).toBe(200);
    const clocks = () => [ingest, serve].map(({ runtime }) => runtime.clock.nowMs());
    await until('the clocks', () => clocks().every((nowMs) => nowMs >= yearAgoMs + MINUTE_MS));
    expect(clocks()).toEqual([yearAgoMs + MINUTE_MS, yearAgoMs + MINUTE_MS]);
    expect((await serve.read('card', { entities: { card: 'c1' } })).body.features.payments_1h).toBe(2);
  });
});
