/**
 * The reader on a real broker. What it does not catch: batches that arrive from before a seek (kafka-log-reader.unit
 * scripts those), more than one broker, and anything that takes kafkajs longer than the tests wait.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import kafkajs from 'kafkajs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { AppendRecord } from '../event-log.ts';
import { OffsetOutOfRangeError } from '../log-errors.ts';
import { PartitionNotAssignedError, TopicMissingError } from './kafka-errors.ts';
import type { KafkaConnection } from './kafka-log.ts';
import { describeWithKafka } from './testing/describe-with-kafka.ts';
import { eventually, KafkaBench, readAll, textOf } from './testing/kafka-test.ts';

describeWithKafka('Kafka log reader', (brokers) => {
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
  const append = async (topic: string, records: readonly AppendRecord[]): Promise<number[]> => {
    const writer = connection.writer({ topic, source: 'events' });
    const offsets = await writer.append(records);
    await writer.close();
    return offsets;
  };
  const numbered = (count: number, partition = 0, prefix = ''): AppendRecord[] =>
    Array.from({ length: count }, (_, i) => record(`${prefix}${i}`, partition));
  const numbers = (count: number, from = 0): string[] =>
    Array.from({ length: count }, (_, i) => `${from + i}`);
  const deleteRecordsBelow = async (topic: string, offset: number): Promise<void> => {
    // kafkajs looks for the leader before it asks for the topic's metadata.
    await bench.admin.fetchTopicOffsets(topic);
    await bench.admin.deleteTopicRecords({ topic, partitions: [{ partition: 0, offset: String(offset) }] });
  };

  it('names the topic that is missing, and how to make it', async () => {
    const reader = connection.reader({ topic: 'test-nowhere', source: 'events' });
    const missing = reader.start();
    await expect(missing).rejects.toThrow(TopicMissingError);
    await expect(missing).rejects.toThrow(/no topic test-nowhere: start with --create-topics, or create it/);
    await expect(missing).rejects.toThrow(
      / test-nowhere\.dead_letters likewise\. Where a store was filled .* --redis-prefix/,
    );
    await reader.close();
    const letters = connection.info({ topic: 'test-nowhere.dead_letters', source: 'events' });
    await expect(letters.partitions()).rejects.toThrow(
      /no topic test-nowhere\.dead_letters: .*LogAppendTime\)$/,
    );
    await letters.close();
  });

  it('hands on key, headers, null values and stamps as they were produced', async () => {
    const topic = await bench.topic(1, { 'message.timestamp.type': 'CreateTime' });
    const producer = bench.kafka.producer({ createPartitioner: () => () => 0 });
    await producer.connect();
    await producer.send({
      topic,
      messages: [
        {
          key: 'k',
          value: 'v',
          timestamp: '1700000000000',
          headers: {
            b: ['1', '2'],
            a: Buffer.from([0, 255]),
            empty: '',
            constructor: 'own',
            ['__proto__']: 'own too',
            'millrace-stamp': 'stamp €',
          },
        },
        { key: null, value: null, headers: { 'millrace-stamp': 'x'.repeat(65) } },
        { key: Buffer.alloc(0), value: '', headers: { 'millrace-stamp': Buffer.from([0xff]) } },
      ],
    });
    await producer.disconnect();
    const reader = await bench.reader(connection, topic, 1);
    const [first, second, third] = (await readAll(reader, 0)).records;
    const text = (bytes: Uint8Array | null) =>
      bytes === null ? null : Buffer.from(bytes).toString('latin1');
    expect(first).toMatchObject({ offset: 0, appendedMs: 1_700_000_000_000, stamp: 'stamp €' });
    expect([text(first!.key), text(first!.value)]).toEqual(['k', 'v']);
    expect(first!.headers.map(([name, value]) => [name, text(value)])).toEqual([
      ['b', '1'],
      ['b', '2'],
      ['a', '\u0000\u00ff'],
      ['empty', ''],
      ['constructor', 'own'],
      ['__proto__', 'own too'],
      ['millrace-stamp', 'stamp \u00e2\u0082\u00ac'],
    ]);
    expect(second).toMatchObject({ key: null, value: null, stamp: null });
    expect([text(third!.key), text(third!.value), third!.stamp]).toEqual(['', '', null]);
    await reader.close();
  });

  it('fetches records that trickle in together', async () => {
    const RECORDS = 20;
    const topic = await bench.topic(1);
    // Longer than some of them take to be acknowledged one by one, also on a slow machine.
    const reader = await bench.reader(connection, topic, 1, { timings: { lingerMs: 1_000 } });
    const writer = connection.writer({ topic, source: 'events' });
    const trickle = async (records: readonly AppendRecord[]): Promise<void> => {
      for (const one of records) await writer.append([one]);
    };
    const [first, ...others] = numbered(RECORDS);
    await trickle([first!]);
    let writing: Promise<void> | null = null;
    const read: string[] = [];
    let chunks = 0;
    while (read.length < RECORDS) {
      // The reader must be at the end before the others come.
      if (read.length > 0) writing ??= trickle(others);
      await reader.waitFor(0, read.length, AbortSignal.timeout(20_000));
      const { records } = await reader.read({
        ...{ partition: 0, fromOffset: read.length, maxRecords: 1_000, maxBytes: 1 << 20 },
      });
      if (records.length > 0) chunks++;
      read.push(...textOf(records));
    }
    expect(read).toEqual(numbers(RECORDS));
    expect(chunks).toBeLessThan(RECORDS / 2);
    await writing;
    await Promise.all([reader.close(), writer.close()]);
  });

  it('shares the partitions of a topic with others, and takes over when one leaves', async () => {
    const topic = await bench.topic(4);
    await append(
      topic,
      [0, 1, 2, 3].flatMap((partition) => numbered(50, partition)),
    );
    const revoked: number[] = [];
    const one = await bench.reader(connection, topic, 4, {
      onRevoked: (partition) => revoked.push(partition),
    });
    expect(textOf((await readAll(one, 3)).records)).toEqual(numbers(50));
    const two = await bench.reader(connection, topic, 2);
    await eventually('two partitions each', () => one.status().assigned.length === 2);
    expect([...one.status().assigned, ...two.status().assigned].sort()).toEqual([0, 1, 2, 3]);
    expect(revoked.sort()).toEqual(two.status().assigned);
    await expect(
      one.read({ partition: two.status().assigned[0]!, fromOffset: 0, maxRecords: 1, maxBytes: 1 }),
    ).rejects.toThrow(PartitionNotAssignedError);
    for (const reader of [one, two]) {
      for (const partition of reader.status().assigned) {
        expect(textOf((await readAll(reader, partition)).records)).toEqual(numbers(50));
      }
    }
    const kept = one.status().assigned[0]!;
    await two.close();
    await eventually('all partitions again', () => one.status().assigned.length === 4);
    await append(topic, numbered(50, kept, 'more '));
    // The partition that was kept goes on where it was, through both rebalances.
    expect((await readAll(one, kept, 50)).records).toHaveLength(50);
    await one.close();
  });

  it('ends a wait when the partition is revoked', async () => {
    const topic = await bench.topic(2);
    const one = await bench.reader(connection, topic, 2);
    const waits = [0, 1].map((partition) =>
      one.waitFor(partition, 0, new AbortController().signal).then(
        () => 'resolved',
        (error: Error) => error.name,
      ),
    );
    const two = await bench.reader(connection, topic, 1);
    const [theirs] = two.status().assigned;
    expect(await waits[theirs!]).toBe('PartitionNotAssignedError');
    await Promise.all([one.close(), two.close()]);
    expect(await waits[1 - theirs!]).toBe('LogClosedError');
  });

  it('rewinds and skips exactly, also between two far places in turns', async () => {
    const topic = await bench.topic(2);
    await append(topic, [...numbered(3_000), ...numbered(100, 1)]);
    const reader = await bench.reader(connection, topic, 2);
    for (const from of [0, 2_990, 17, 0, 1_500, 1_499]) {
      const { records } = await readAll(reader, 0, from, { maxRecords: 10 });
      expect(textOf(records)).toEqual(numbers(10, from));
    }
    const places = [0, 1_500];
    for (let turn = 0; turn < 20; turn++) {
      const at = turn % 2;
      const { records, nextOffset } = await readAll(reader, 0, places[at]!, { maxRecords: 70 });
      expect(textOf(records)).toEqual(numbers(70, places[at]!));
      places[at] = nextOffset;
    }
    expect(places).toEqual([700, 2_200]);
    await reader.close();
  });

  it('keeps a bounded number of bytes for a slow reader, and loses nothing', async () => {
    const topic = await bench.topic(1);
    const value = (i: number) => Buffer.from(`${i} `.padEnd(50_000, '.'));
    await append(
      topic,
      Array.from({ length: 400 }, (_, i) => record(value(i))),
    );
    const reader = await bench.reader(connection, topic, 1, { maxQueuedBytes: { partition: 2_000_000 } });
    let most = 0;
    let offset = 0;
    while (offset < 400) {
      const chunk = await reader.read({ partition: 0, fromOffset: offset, maxRecords: 3, maxBytes: 1e9 });
      expect(chunk.records.map((one) => one.offset)).toEqual(
        Array.from({ length: chunk.records.length }, (_, i) => offset + i),
      );
      offset = chunk.nextOffset;
      if (chunk.records.length > 0) {
        // Let the fetcher run ahead as far as it may.
        await eventually('the queue is full or holds the rest', () => {
          most = Math.max(most, reader.counters().queuedBytes);
          return reader.counters().queuedBytes > 1_000_000 || offset > 375;
        });
      }
    }
    // One fetch more than the limit.
    expect(most).toBeGreaterThan(1_000_000);
    expect(most).toBeLessThan(2_000_000 + 1_100_000);
    await reader.close();
  });

  it('gets the partitions a topic grows by', async () => {
    const topic = await bench.topic(1);
    const assigned: number[] = [];
    const reader = await bench.reader(connection, topic, 1, {
      onAssigned: (partition) => assigned.push(partition),
    });
    expect(await reader.partitions()).toBe(1);
    await append(topic, numbered(10));
    expect(await readAll(reader, 0, 0, { maxRecords: 5 })).toMatchObject({ nextOffset: 5 });
    await bench.admin.createPartitions({ topicPartitions: [{ topic, count: 3 }] });
    await eventually('three partitions', () => assigned.length === 3);
    expect(assigned).toEqual([0, 1, 2]);
    await reader.ends(0);
    await append(topic, numbered(10, 2));
    expect(textOf((await readAll(reader, 2)).records)).toEqual(numbers(10));
    expect(textOf((await readAll(reader, 0, 5)).records)).toEqual(numbers(5, 5));
    await reader.close();
  });

  describe('when retention passes it', () => {
    it('hands out what it has, then says so, and goes on from the start', async () => {
      const topic = await bench.topic(1);
      await append(topic, numbered(100));
      const reader = await bench.reader(connection, topic, 1, { stallMs: 2_000 });
      expect(await readAll(reader, 0, 0, { maxRecords: 100 })).toMatchObject({ nextOffset: 100 });
      // Back to a place that is gone by the time it is fetched.
      await deleteRecordsBelow(topic, 60);
      let failure: unknown = null;
      await eventually('an error', async () => {
        try {
          await reader.read({ partition: 0, fromOffset: 50, maxRecords: 10, maxBytes: 1e9 });
        } catch (error) {
          failure = error;
        }
        return failure !== null;
      });
      expect(failure).toBeInstanceOf(OffsetOutOfRangeError);
      expect(await reader.ends(0)).toEqual({ startOffset: 60, endOffset: 100 });
      expect(textOf((await readAll(reader, 0, 60)).records)).toEqual(numbers(40, 60));
      await expect(reader.read({ partition: 0, fromOffset: 59, maxRecords: 1, maxBytes: 1 })).rejects.toThrow(
        OffsetOutOfRangeError,
      );
      await reader.close();
    });

    it('notices it also where nothing is left to be fetched', async () => {
      const topic = await bench.topic(1);
      // A full queue keeps the reader from fetching on.
      await append(
        topic,
        Array.from({ length: 200 }, (_, i) => record(`${i} `.padEnd(20_000, '.'))),
      );
      const reader = await bench.reader(connection, topic, 1, {
        maxQueuedBytes: { partition: 1_000_000 },
        stallMs: 2_000,
      });
      let offset = (await readAll(reader, 0, 0, { maxRecords: 1 })).nextOffset;
      await eventually('a full queue', () => reader.counters().queuedBytes > 900_000);
      await deleteRecordsBelow(topic, 200);
      const read = async (): Promise<void> => {
        for (;;) {
          const chunk = await reader.read({
            partition: 0,
            fromOffset: offset,
            maxRecords: 10,
            maxBytes: 1e9,
          });
          expect(chunk.records.every((one, i) => one.offset === offset + i)).toBe(true);
          offset = chunk.nextOffset;
        }
      };
      await expect(read()).rejects.toThrow(OffsetOutOfRangeError);
      expect(offset).toBeLessThan(200);
      await append(topic, [record('after')]);
      expect(textOf((await readAll(reader, 0, 200)).records)).toEqual(['after']);
      await reader.close();
    });
  });

  describe('where offsets have holes', () => {
    it('reads committed transactions, and passes markers and aborted ones to the end', async () => {
      const topic = await bench.topic(1);
      const producer = bench.kafka.producer({
        transactionalId: `tx-${topic}`,
        idempotent: true,
        maxInFlightRequests: 1,
        createPartitioner: () => () => 0,
      });
      await producer.connect();
      for (const [value, end] of [
        ['kept 1', 'commit'],
        ['dropped', 'abort'],
        ['kept 2', 'commit'],
        ['dropped too', 'abort'],
        ['dropped as well', 'abort'],
      ] as const) {
        const transaction = await producer.transaction();
        await transaction.send({ topic, messages: [{ value }, { value }] });
        await transaction[end]();
      }
      const reader = await bench.reader(connection, topic, 1);
      await eventually('markers written', async () => (await reader.ends(0)).endOffset === 15);
      const { records, nextOffset } = await readAll(reader, 0);
      expect(textOf(records)).toEqual(['kept 1', 'kept 1', 'kept 2', 'kept 2']);
      expect(nextOffset).toBe(15);
      for (let from = 0; from < 15; from++) {
        const rest = await readAll(reader, 0, from);
        expect(rest.nextOffset).toBe(15);
        expect(rest.records.map(({ offset }) => offset)).toEqual([0, 1, 6, 7].filter((at) => at >= from));
      }
      // An open transaction ends the log for us; what comes behind it is not yet readable.
      const open = await producer.transaction();
      await open.send({ topic, messages: [{ value: 'open' }] });
      await append(topic, [record('behind')]);
      expect(await reader.ends(0)).toEqual({ startOffset: 0, endOffset: 15 });
      expect(await reader.read({ partition: 0, fromOffset: 15, maxRecords: 9, maxBytes: 99 })).toEqual({
        records: [],
        nextOffset: 15,
      });
      await open.commit();
      await eventually('the end of the transaction', async () => (await reader.ends(0)).endOffset === 18);
      expect(textOf((await readAll(reader, 0, 15)).records)).toEqual(['open', 'behind']);
      await producer.disconnect();
      await reader.close();
    });

    it('reads what compaction left, from any offset', async () => {
      const topic = await bench.topic(1, {
        'cleanup.policy': 'compact',
        'min.cleanable.dirty.ratio': '0.001',
        // Each batch in a segment of its own: the one written to is not compacted.
        'segment.bytes': '150',
        'min.compaction.lag.ms': '0',
        'max.compaction.lag.ms': '100',
        'delete.retention.ms': '0',
      });
      const producer = bench.kafka.producer({ createPartitioner: () => () => 0 });
      await producer.connect();
      // Batches whose last records go, so that a batch ends in a hole, and one that goes altogether.
      const rounds = [
        ['a', 'b', 'c', 'd', 'e', 'f'],
        ['b', 'c', 'd', 'e', 'f'],
        ['c', 'x', 'd', 'e', 'f'],
        ['f', 'e'],
        ['z'],
      ];
      for (const [round, keys] of rounds.entries()) {
        await producer.send({ topic, messages: keys.map((key) => ({ key, value: `${key}${round}` })) });
      }
      const expected = ['a0', 'b1', 'c2', 'x2', 'd2', 'f3', 'e3'];
      const reader = await bench.reader(connection, topic, 1);
      let end = 0;
      await eventually('compaction', async () => {
        // Cleaning is looked for only where something is written.
        await producer.send({ topic, messages: [{ key: 'z', value: 'z' }] });
        const { records, nextOffset } = await readAll(reader, 0);
        end = nextOffset;
        return (
          textOf(records)
            .filter((value) => !value.startsWith('z'))
            .join() === expected.join()
        );
      });
      const offsets = [0, 6, 11, 12, 13, 16, 17];
      for (let from = 0; from <= 19; from++) {
        const rest = await readAll(reader, 0, from);
        // The filler behind them may still be compacted.
        expect(rest.records.map(({ offset }) => offset).filter((offset) => offset < 18)).toEqual(
          offsets.filter((offset) => offset >= from),
        );
        expect(rest.nextOffset).toBeGreaterThanOrEqual(end);
      }
      await producer.disconnect();
      await reader.close();
    });
  });

  it('shows its progress to the group, and never begins there', async () => {
    const topic = await bench.topic(1);
    await append(topic, numbered(10));
    const reader = await bench.reader(connection, topic, 1);
    await readAll(reader, 0);
    reader.commit(0, 7);
    await reader.close();
    const [offsets] = await bench.admin.fetchOffsets({ groupId: reader.groupId, topics: [topic] });
    expect(offsets!.partitions).toMatchObject([{ partition: 0, offset: '7' }]);
    expect(reader.counters().commitFailures).toBe(0);
    const again = await bench.reader(connection, topic, 1);
    expect(textOf((await readAll(again, 0)).records)).toEqual(numbers(10));
    await again.close();
  });

  it('reads what kcat compressed, with every codec', async () => {
    const topic = await bench.topic(1);
    const lines: string[] = [];
    for (const codec of ['none', 'gzip', 'snappy', 'lz4', 'zstd']) {
      const own = Array.from({ length: 300 }, (_, i) => `${codec} ${i} ${'compressible '.repeat(i % 50)}`);
      lines.push(...own);
      const kcat = spawn(
        'kcat',
        ['-P', '-b', brokers()[0]!, '-t', topic, '-p', '0', '-z', codec, '-X', 'linger.ms=50'],
        {
          stdio: ['pipe', 'ignore', 'inherit'],
        },
      );
      kcat.stdin.end(`${own.join('\n')}\n`);
      expect(await once(kcat, 'exit')).toEqual([0, null]);
    }
    const reader = await bench.reader(connection, topic, 1);
    expect(textOf((await readAll(reader, 0)).records)).toEqual(lines);
    // From within a batch: the broker sends all of it.
    expect(textOf((await readAll(reader, 0, 1_307)).records)).toEqual(lines.slice(1_307));
    await reader.close();
    expect(kafkajs.CompressionTypes.ZSTD).toBe(4);
  });

  it('agrees with a model under any interleaving of appends, reads and rewinds', async () => {
    const seed = Number(process.env.SEED ?? Date.now() % 1_000_000);
    const random = seeded(seed);
    const below = (n: number) => Math.floor(random() * n);
    const topic = await bench.topic(2);
    const writer = connection.writer({ topic, source: 'events' });
    const reader = await bench.reader(connection, topic, 2, { maxQueuedBytes: { partition: 100_000 } });
    const model: string[][] = [[], []];
    const at = [0, 0];
    try {
      for (let step = 0; step < 250; step++) {
        const partition = below(2);
        const log = model[partition]!;
        const what = below(10);
        if (what < 4) {
          const values = Array.from({ length: 1 + below(40) }, (_, i) =>
            `${step}.${i} `.padEnd(below(2_000), 'x'),
          );
          const offsets = await writer.append(values.map((value) => record(value, partition)));
          expect(offsets).toEqual(values.map((_, i) => log.length + i));
          log.push(...values);
        } else if (what < 6) {
          at[partition] = below(log.length + 1);
        } else {
          const limits = { maxRecords: 1 + below(60), maxBytes: 1 + below(60_000) };
          const { records, nextOffset } = await readAll(reader, partition, at[partition]!, limits);
          expect(textOf(records)).toEqual(log.slice(at[partition]!, nextOffset));
          expect(nextOffset > at[partition]! || at[partition] === log.length).toBe(true);
          at[partition] = nextOffset;
        }
      }
      for (const partition of [0, 1]) {
        expect(textOf((await readAll(reader, partition)).records)).toEqual(model[partition]);
      }
    } catch (error) {
      throw new Error(`SEED=${seed}`, { cause: error });
    }
    await Promise.all([writer.close(), reader.close()]);
  });
});

/** mulberry32 */
function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}
