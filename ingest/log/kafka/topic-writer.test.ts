/** The writer on a real broker. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { AppendRecord } from '../event-log.ts';
import {
  AppendFailedError,
  AppendQueueFullError,
  RecordTooLargeError,
  TopicCompactedError,
  TopicMissingError,
} from './kafka-errors.ts';
import { KafkaConnection } from './kafka-log.ts';
import { describeWithKafka } from './testing/describe-with-kafka.ts';
import { eventually, KafkaBench, readAll, silent, textOf } from './testing/kafka-test.ts';

describeWithKafka('Kafka log writer', (brokers) => {
  let bench: KafkaBench;
  let connection: KafkaConnection;

  beforeAll(async () => {
    bench = await KafkaBench.open(brokers());
    connection = await bench.connect();
  });
  afterAll(() => bench?.close());

  const record = (value: string | Buffer, partition = 0): AppendRecord => ({
    partition,
    appendedMs: Date.now(),
    stamp: null,
    value: Buffer.from(value),
    eventTimeMs: 0,
  });

  it('makes a topic with the brokers’ clock, once', async () => {
    const topic = await bench.topic(1);
    const made = connection.info({ topic: `${topic}-made`, source: 'events' });
    await expect(made.partitions()).rejects.toThrow(TopicMissingError);
    expect(await made.ensureTopic({ partitions: 5 })).toBe(true);
    expect(await made.ensureTopic({ partitions: 7 })).toBe(false);
    expect(await made.partitions()).toBe(5);
    expect(await made.limits()).toEqual({ maxMessageBytes: 1_048_588, compacted: false });
    expect(await made.sourceSettings()).toMatchObject({ logAppendTime: true });
    // Set, not only the same as the default: a cluster's own may be to compact.
    const { resources } = await bench.admin.describeConfigs({
      includeSynonyms: false,
      resources: [{ type: 2, name: `${topic}-made`, configNames: ['cleanup.policy'] }],
    });
    expect(resources[0]!.configEntries[0]).toMatchObject({ configValue: 'delete', isDefault: false });
    await bench.admin.deleteTopics({ topics: [`${topic}-made`] });
  });

  it('knows the limits of its topic, and how long it keeps records', async () => {
    const topic = await bench.topic(1, { 'max.message.bytes': '2000', 'retention.ms': '3600000' });
    const info = connection.info({ topic, source: 'events' });
    expect(await info.limits()).toEqual({ maxMessageBytes: 2_000, compacted: false });
    expect(await info.sourceSettings()).toEqual({
      logAppendTime: false,
      retentionMs: 3_600_000,
      retentionBytes: Number.POSITIVE_INFINITY,
    });
    const missing = connection.info({ topic: `${topic}-missing`, source: 'events' });
    expect(await missing.sourceSettings()).toBeNull();
  });

  it('knows how safely its topic keeps records', async () => {
    const topic = await bench.topic(2, { 'unclean.leader.election.enable': 'true' });
    const info = connection.info({ topic, source: 'events' });
    expect(await info.durability()).toEqual({ replicas: 1, minInsyncReplicas: 1, uncleanElection: true });
    const missing = connection.info({ topic: `${topic}-missing`, source: 'events' });
    expect(await missing.durability()).toBeNull();
  });

  it.each(['compact', 'compact,delete'])(
    'refuses a topic that refuses records without a key: %s',
    async (policy) => {
      const topic = await bench.topic(1, { 'cleanup.policy': policy });
      const writer = connection.writer({ topic, source: 'events' });
      await expect(writer.connect()).rejects.toThrow(TopicCompactedError);
      await expect(writer.connect()).rejects.toThrow(/cleanup.policy=delete/);
      await expect(writer.append([record('a')])).rejects.toThrow(AppendFailedError);
      await writer.close();
    },
  );

  it('appends to partitions the topic has just grown by, each record once', async () => {
    const topic = await bench.topic(1);
    const writer = connection.writer({ topic, source: 'events' });
    const info = connection.info({ topic, source: 'events' });
    expect(await writer.append([record('before')])).toEqual([0]);
    await bench.admin.createPartitions({ topicPartitions: [{ topic, count: 3 }] });
    await eventually('the growth is known', async () => {
      await info.ends(0);
      return (await writer.partitions()) === 3;
    });
    // The producer has not asked for the topic's partitions since it connected.
    const offsets = await writer.append([record('a', 0), record('b', 2), record('c', 1), record('d', 0)]);
    expect(offsets).toEqual([1, 0, 0, 2]);
    const reader = await bench.reader(connection, topic, 3);
    const logs = await Promise.all(
      [0, 1, 2].map(async (partition) => textOf((await readAll(reader, partition)).records)),
    );
    expect(logs).toEqual([['before', 'a', 'd'], ['c'], ['b']]);
    await Promise.all([writer.close(), reader.close()]);
  });

  it('appends concurrent calls, every record where its offset says', async () => {
    const topic = await bench.topic(3);
    const writer = connection.writer({ topic, source: 'events' });
    const calls = Array.from({ length: 400 }, (_, call) =>
      Array.from({ length: 5 }, (_, i) => record(`${call}:${i}`, (call + i) % 3)),
    );
    const offsets = await Promise.all(calls.map((records) => writer.append(records)));
    const reader = await bench.reader(connection, topic, 3);
    const logs = await Promise.all(
      [0, 1, 2].map(async (partition) => textOf((await readAll(reader, partition)).records)),
    );
    expect(logs.map((log) => log.length)).toEqual([667, 667, 666]);
    calls.forEach((records, call) => {
      records.forEach(({ value, partition }, i) => {
        expect(logs[partition]![offsets[call]![i]!]).toBe(Buffer.from(value).toString());
      });
      // Those of one partition keep the order of the call.
      const [first, , , fourth] = offsets[call]!;
      expect(first).toBeLessThan(fourth!);
    });
    expect(writer.queuedBytes).toBe(0);
    await Promise.all([writer.close(), reader.close()]);
  });

  it('splits what does not fit into one request, in order', async () => {
    const topic = await bench.topic(1);
    const writer = connection.writer({ topic, source: 'events' });
    const values = Array.from({ length: 60 }, (_, i) => Buffer.alloc(100_000, i));
    expect(await writer.append(values.map((value) => record(value)))).toEqual(values.map((_, i) => i));
    const many = Array.from({ length: 3_500 }, (_, i) => record(`${i}`));
    expect(await writer.append(many)).toEqual(many.map((_, i) => 60 + i));
    await writer.close();
  });

  it('refuses a record no request can hold, and takes one that just fits', async () => {
    const topic = await bench.topic(1, { 'max.message.bytes': '20000' });
    const writer = connection.writer({ topic, source: 'events' });
    const large = writer.append([record('a'), record(Buffer.alloc(20_000))]);
    await expect(large).rejects.toThrow(RecordTooLargeError);
    await expect(large).rejects.toThrow(/takes 19939 \(max.message.bytes\)/);
    expect(await writer.append([record(Buffer.alloc(19_900))])).toEqual([0]);
    await writer.close();
  });

  it('finds out that the topic takes less than before', async () => {
    const topic = await bench.topic(1, { 'max.message.bytes': '100000' });
    const writer = connection.writer({ topic, source: 'events' });
    expect(await writer.append([record('a')])).toEqual([0]);
    await bench.admin.alterConfigs({
      validateOnly: false,
      resources: [{ type: 2, name: topic, configEntries: [{ name: 'max.message.bytes', value: '5000' }] }],
    });
    // The broker answers before it works by the new limit; `writer` must not be the one to find out when it does.
    const probe = bench.kafka.producer();
    await probe.connect();
    let taken = 0;
    await eventually('the lower limit holds', async () => {
      const messages = [{ value: Buffer.alloc(50_000) }];
      const refused = await probe.send({ topic, messages }).then(
        () => false,
        () => true,
      );
      if (!refused) taken++;
      return refused;
    });
    await probe.disconnect();
    const offsets = await Promise.allSettled([
      writer.append([record(Buffer.alloc(3_000)), record(Buffer.alloc(3_000))]),
      writer.append([record(Buffer.alloc(50_000))]),
      writer.append([record('c')]),
    ]);
    expect(offsets[0]).toEqual({ status: 'fulfilled', value: [taken + 1, taken + 2] });
    expect(offsets[1]).toMatchObject({ status: 'rejected', reason: expect.any(RecordTooLargeError) });
    expect(offsets[2]).toEqual({ status: 'fulfilled', value: [taken + 3] });
    await expect(writer.append([record(Buffer.alloc(50_000))])).rejects.toThrow(RecordTooLargeError);
    expect(writer.queuedBytes).toBe(0);
    await writer.close();
  });

  it('finds out that the topic takes more than before, as soon as something would be refused', async () => {
    const topic = await bench.topic(1, { 'max.message.bytes': '2000' });
    const writer = connection.writer({ topic, source: 'events' });
    await expect(writer.append([record(Buffer.alloc(50_000))])).rejects.toThrow(RecordTooLargeError);
    await bench.admin.alterConfigs({
      validateOnly: false,
      resources: [{ type: 2, name: topic, configEntries: [{ name: 'max.message.bytes', value: '100000' }] }],
    });
    await eventually('the higher limit holds', () =>
      writer.append([record(Buffer.alloc(50_000))]).then(
        () => true,
        (error: unknown) => {
          if (error instanceof RecordTooLargeError) return false;
          throw error;
        },
      ),
    );
    await writer.close();
  });

  it('says what to do about a topic that is gone, or made again with fewer partitions', async () => {
    const topic = await bench.topic(2);
    const info = connection.info({ topic, source: 'events' });
    expect(await info.partitions()).toBe(2);
    await bench.admin.deleteTopics({ topics: [topic] });
    const failure = (): Promise<string> =>
      info.ends(1).then(
        () => '',
        (error: Error) => error.message,
      );
    await eventually('it is gone', async () => (await failure()).includes('there is no topic'));
    expect(await failure()).toMatch(/restore the topic, or start afresh with another --redis-prefix$/);
    await eventually('it is made again', () =>
      bench.admin.createTopics({ topics: [{ topic, numPartitions: 1 }] }).catch(() => false),
    );
    await eventually('it is there', async () => !(await failure()).includes('there is no topic'));
    expect(await failure()).toBe(
      `topic ${topic} has 1 partitions and had 2: it was deleted and made again. Restore it; or start afresh with ` +
        'another store (--redis-prefix)',
    );
  });

  it('gzips where asked to', async () => {
    const topic = await bench.topic(1);
    const writer = connection.writer({ topic, source: 'events' }, { gzip: true });
    await writer.append(Array.from({ length: 10 }, (_, i) => record(`compressible ${i} `.repeat(100))));
    const reader = await bench.reader(connection, topic, 1);
    expect((await readAll(reader, 0)).records).toHaveLength(10);
    await Promise.all([writer.close(), reader.close()]);
  });

  it('bounds what waits, and counts it off again', async () => {
    const topic = await bench.topic(1);
    const writer = connection.writer({ topic, source: 'events' }, { maxQueuedBytes: 100_000 });
    const results = await Promise.allSettled(
      Array.from({ length: 10 }, () => writer.append([record(Buffer.alloc(30_000))])),
    );
    const failures = results.filter((result) => result.status === 'rejected');
    expect(failures).toHaveLength(7);
    expect(failures.every(({ reason }) => reason instanceof AppendQueueFullError)).toBe(true);
    expect(writer.queuedBytes).toBe(0);
    expect(await writer.append([record('again')])).toEqual([3]);
    await writer.close();
  });

  it('finishes what it accepted before it closes, and takes nothing afterwards', async () => {
    const topic = await bench.topic(1);
    const writer = connection.writer({ topic, source: 'events' });
    await writer.connect();
    const appended = Array.from({ length: 20 }, (_, i) => writer.append([record(`${i}`)]));
    await new Promise((resolve) => setImmediate(resolve));
    await writer.close();
    expect(await Promise.all(appended)).toHaveLength(20);
    await expect(writer.append([record('late')])).rejects.toThrow(/closed/);
  });

  it('names the brokers that do not answer, and the option', async () => {
    const open = KafkaConnection.open({ brokers: ['127.0.0.1:1', '127.0.0.1:2'], clientId: 'test' }, silent);
    await expect(open).rejects.toThrow(/no Kafka broker answers at 127.0.0.1:1, 127.0.0.1:2 \(--kafka\)/);
  });

  it('fails the call when its topic is gone', async () => {
    const topic = await bench.topic(1);
    const writer = connection.writer({ topic, source: 'events' }, { deliveryTimeoutMs: 1_000 });
    await writer.append([record('a')]);
    await bench.admin.deleteTopics({ topics: [topic] });
    await expect(writer.append([record('b')])).rejects.toThrow(AppendFailedError);
    await writer.close();
  });
});
