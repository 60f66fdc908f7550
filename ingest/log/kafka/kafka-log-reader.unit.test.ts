/**
 * The reader's rules against a kafkajs moved by hand: what a real broker shows once in a million fetches. What it
 * does not catch: that kafkajs behaves as played here (kafka-log-reader.test runs the real one).
 */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { LogChunk } from '../event-log.ts';
import { KafkaLogReader, type KafkaLogReaderOptions } from './kafka-log-reader.ts';
import { FakeKafka } from './testing/fake-kafka.ts';
import { silent, textOf } from './testing/kafka-test.ts';
import { KafkaLogInfo } from './topic-offsets.ts';

describe('Kafka log reader', () => {
  let kafka: FakeKafka;
  let ends: { low: number; high: number }[];
  let info: KafkaLogInfo;
  let reader: KafkaLogReader;
  let events: string[];

  const open = async (options: Partial<KafkaLogReaderOptions> = {}): Promise<void> => {
    info = new KafkaLogInfo({
      kafka: kafka.asKafka(),
      clusterId: 'c',
      topic: 't',
      source: 's',
      logger: silent,
    });
    reader = new KafkaLogReader({
      kafka: kafka.asKafka(),
      info,
      logger: silent,
      onAssigned: (partition) => events.push(`+${partition}`),
      onRevoked: (partition) => events.push(`-${partition}`),
      onStalled: (error) => events.push(error.message),
      ...options,
    });
    await reader.start();
    // kafkajs's promises of connecting.
    await vi.advanceTimersByTimeAsync(0);
  };
  const read = (fromOffset: number, partition = 0): Promise<LogChunk> => {
    const chunk = reader.read({ partition, fromOffset, maxRecords: 100, maxBytes: 1e9 });
    chunk.catch(() => {});
    return chunk;
  };
  /** Lets promises and the short waits of reads pass. */
  const settle = () => vi.advanceTimersByTimeAsync(300);
  const textsOf = async (chunk: Promise<LogChunk>): Promise<string[]> => {
    await settle();
    return textOf((await chunk).records);
  };

  const nextOf = async (chunk: Promise<LogChunk>): Promise<number> => {
    await settle();
    return (await chunk).nextOffset;
  };

  beforeEach(() => {
    vi.useFakeTimers({
      toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'performance'],
    });
    ends = [
      { low: 0, high: 100 },
      { low: 0, high: 100 },
    ];
    kafka = new FakeKafka('t', ends);
    events = [];
  });
  afterEach(async () => {
    const closing = reader.close();
    await vi.advanceTimersByTimeAsync(30_000);
    await closing;
    vi.useRealTimers();
  });

  it('fetches nothing before the first read, then from where that asks for', async () => {
    await open();
    kafka.consumer.join([0, 1]);
    expect(events).toEqual(['+0', '+1']);
    expect(kafka.consumer.paused).toEqual(new Set([0, 1]));
    const chunk = read(7);
    await vi.advanceTimersByTimeAsync(0);
    expect(kafka.consumer.seeks).toEqual([{ partition: 0, offset: 7 }]);
    expect(kafka.consumer.paused).toEqual(new Set([1]));
    await kafka.consumer.batch(0, 7, { 7: 'a', 8: 'b' }, { end: 100 });
    expect(await textsOf(chunk)).toEqual(['a', 'b']);
    expect(kafka.consumer.resolved).toEqual(['8']);
  });

  it('refuses a batch that was fetched before a seek', async () => {
    await open();
    kafka.consumer.join([0]);
    await textsOf(read(50));
    await kafka.consumer.batch(0, 50, { 50: 'x' }, { end: 100 });
    const rewound = read(0);
    await vi.advanceTimersByTimeAsync(0);
    // It was under way, and begins where the read before would have gone on.
    await kafka.consumer.batch(0, 51, { 51: 'y' }, { end: 100 });
    expect(await textsOf(rewound)).toEqual([]);
    expect(kafka.consumer.seeks.at(-1)).toEqual({ partition: 0, offset: 0 });
    expect(kafka.consumer.paused).toEqual(new Set());
    await kafka.consumer.batch(0, 0, { 0: 'a' }, { end: 100 });
    expect(await textsOf(read(0))).toEqual(['a']);
    expect(kafka.consumer.resolved).toEqual(['50', '0']);
  });

  it('refuses an empty batch that may be from before a seek', async () => {
    await open();
    kafka.consumer.join([0]);
    kafka.consumer.fetchStarted();
    await textsOf(read(50));
    kafka.consumer.fetchStarted();
    kafka.consumer.emptyBatch(0, 50, 59);
    expect(await nextOf(read(50))).toBe(60);
    void read(0);
    await vi.advanceTimersByTimeAsync(0);
    const seeks = kafka.consumer.seeks.length;
    kafka.consumer.emptyBatch(0, 60, 69);
    expect(kafka.consumer.seeks.slice(seeks)).toEqual([{ partition: 0, offset: 0 }]);
    await settle();
    expect(await nextOf(read(0))).toBe(0);
    kafka.consumer.fetchStarted();
    kafka.consumer.emptyBatch(0, 0, 9);
    expect(await nextOf(read(0))).toBe(10);
  });

  it('waits for every broker’s round before it believes an empty batch', async () => {
    await open();
    kafka.consumer.join([0]);
    kafka.consumer.fetchStarted('1');
    kafka.consumer.fetchStarted('2');
    await textsOf(read(10));
    kafka.consumer.fetchStarted('1');
    kafka.consumer.emptyBatch(0, 10, 19);
    expect(await nextOf(read(10))).toBe(10);
    kafka.consumer.fetchStarted('1');
    kafka.consumer.fetchStarted('2');
    kafka.consumer.emptyBatch(0, 10, 19);
    expect(await nextOf(read(10))).toBe(20);
  });

  it('passes a hole of compaction, one that is not retention', async () => {
    await open();
    kafka.consumer.join([0]);
    await textsOf(read(10));
    kafka.consumer.fetchStarted();
    kafka.consumer.emptyBatch(0, 30, 39);
    // While it looks at the log's start nothing is fetched.
    expect(kafka.consumer.paused).toEqual(new Set([0]));
    await settle();
    expect(kafka.consumer.seeks.at(-1)).toEqual({ partition: 0, offset: 40 });
    expect(kafka.consumer.paused).toEqual(new Set());
    expect(await nextOf(read(10))).toBe(40);
    ends[0]!.low = 70;
    kafka.consumer.fetchStarted();
    kafka.consumer.emptyBatch(0, 70, 79);
    await settle();
    await expect(read(40)).rejects.toThrow(/does not hold offset 40: it goes from 70 to 100/);
    expect(kafka.consumer.paused).toEqual(new Set([0]));
  });

  it('passes one offset where a batch covers only what was compacted', async () => {
    await open();
    kafka.consumer.join([0]);
    await textsOf(read(10));
    kafka.consumer.fetchStarted();
    kafka.consumer.emptyBatch(0, null, 10);
    expect(await nextOf(read(10))).toBe(11);
    kafka.consumer.emptyBatch(0, null, 10);
    expect(await nextOf(read(11))).toBe(11);
  });

  it('goes on behind what the last batch on disk covers', async () => {
    await open();
    kafka.consumer.join([0]);
    const chunk = read(0);
    await vi.advanceTimersByTimeAsync(0);
    await kafka.consumer.batch(0, 0, { 3: 'a', 5: 'b' }, { behind: 20, end: 20 });
    expect(await nextOf(chunk)).toBe(20);
    expect(kafka.consumer.resolved).toEqual(['19']);
  });

  it('tells a jump to the start of the log from records, after what it has', async () => {
    await open();
    kafka.consumer.join([0]);
    const first = read(0);
    await vi.advanceTimersByTimeAsync(0);
    await kafka.consumer.batch(0, 0, { 0: 'a', 1: 'b' }, { end: 100 });
    expect(await textsOf(first)).toEqual(['a', 'b']);
    await kafka.consumer.batch(0, 2, { 2: 'c' }, { end: 100 });
    ends[0]!.low = 50;
    await kafka.consumer.batch(0, 50, { 50: 'x' }, { end: 100 });
    await settle();
    expect(await textsOf(read(2))).toEqual(['c']);
    await expect(read(3)).rejects.toThrow(/does not hold offset 3/);
    await expect(read(3)).rejects.toThrow(/does not hold offset 3/);
    const again = read(50);
    await vi.advanceTimersByTimeAsync(0);
    await kafka.consumer.batch(0, 50, { 50: 'x' }, { end: 100 });
    expect(await textsOf(again)).toEqual(['x']);
  });

  it('notices that the log lost its start or its end although nothing comes', async () => {
    await open();
    kafka.consumer.join([0, 1]);
    await textsOf(read(100, 0));
    await textsOf(read(100, 1));
    ends[0] = { low: 120, high: 120 };
    ends[1] = { low: 0, high: 99 };
    const waits = [0, 1].map((partition) => reader.waitFor(partition, 100, new AbortController().signal));
    await vi.advanceTimersByTimeAsync(5_000);
    await Promise.all(waits);
    await expect(read(100, 0)).rejects.toThrow(/it goes from 120 to 120/);
    await expect(read(100, 1)).rejects.toThrow(/it goes from 0 to 99/);
    expect(await nextOf(read(100, 1))).toBe(100);
  });

  it('seeks to where every partition was, after each join, before anything is fetched', async () => {
    await open();
    kafka.consumer.join([0, 1]);
    void read(5, 0);
    void read(6, 1);
    await vi.advanceTimersByTimeAsync(0);
    await kafka.consumer.batch(0, 5, { 5: 'a' }, { end: 100 });
    kafka.consumer.seeks.length = 0;
    kafka.consumer.join([0, 1]);
    expect(kafka.consumer.seeks).toEqual([
      { partition: 0, offset: 6 },
      { partition: 1, offset: 6 },
    ]);
    kafka.consumer.join([1]);
    expect(events).toEqual(['+0', '+1', '-0']);
    await settle();
    await expect(read(6, 0)).rejects.toThrow(/partition 0 of topic t is not assigned/);
    kafka.consumer.join([0, 1]);
    expect(events.at(-1)).toBe('+0');
    expect(kafka.consumer.paused).toEqual(new Set([0]));
  });

  it('makes another consumer after a crash, with growing pauses', async () => {
    await open();
    kafka.consumer.join([0]);
    const wait = expect(reader.waitFor(0, 100, new AbortController().signal)).rejects.toThrow(/not assigned/);
    kafka.consumer.crash(new Error('broken'));
    await wait;
    expect(events).toEqual(['+0', '-0']);
    expect(reader.status()).toEqual({ state: 'crashed', assigned: [], reason: 'broken' });
    await vi.advanceTimersByTimeAsync(500);
    expect(kafka.consumers).toHaveLength(2);
    kafka.consumer.crash(new Error('broken'));
    await vi.advanceTimersByTimeAsync(999);
    expect(kafka.consumers).toHaveLength(2);
    await vi.advanceTimersByTimeAsync(1);
    expect(kafka.consumers).toHaveLength(3);
    // What the one before still says does not count.
    kafka.consumers[1]!.join([0]);
    expect(reader.status().assigned).toEqual([]);
    kafka.consumer.join([0]);
    expect(reader.status()).toEqual({ state: 'running', assigned: [0] });
    expect(reader.counters().crashes).toBe(2);
  });

  it('gives up when no partitions come back', async () => {
    await open({ stallMs: 20_000 });
    kafka.consumer.join([0]);
    kafka.consumer.crash(new Error('broken'));
    for (let i = 0; i < 5; i++) {
      await vi.advanceTimersByTimeAsync(5_000);
      if (i < 3) kafka.consumer.crash(new Error('broken'));
    }
    expect(events.at(-1)).toBe(
      'the consumer of topic t stands still for 20000 ms: no partitions were assigned (broken)',
    );
    expect(events.filter((event) => event.includes('stands still'))).toHaveLength(1);
  });

  it('gives up when records that are there do not come, and not while nobody reads', async () => {
    await open({ stallMs: 20_000 });
    kafka.consumer.join([0, 1]);
    const wait = async (ms: number): Promise<void> => {
      for (let i = 0; i < ms / 1_000; i++) {
        kafka.consumer.heartbeat();
        await vi.advanceTimersByTimeAsync(1_000);
      }
    };
    await wait(60_000);
    expect(events).toEqual(['+0', '+1']);
    void read(40, 0);
    await wait(15_000);
    await kafka.consumer.batch(0, 40, { 40: 'a' }, { end: 100 });
    void read(40, 0);
    await wait(15_000);
    expect(events).toEqual(['+0', '+1']);
    await wait(15_000);
    expect(events.at(-1)).toMatch(/partition 0 stays at offset 41, while its log reaches 100/);
  });

  it('does not give up on records behind an open transaction', async () => {
    await open({ stallMs: 20_000 });
    kafka.consumer.join([0]);
    void read(100);
    // Appended by this process; the brokers say that committed records end at 100.
    info.noteEnd(0, 120);
    for (let i = 0; i < 60; i++) {
      kafka.consumer.heartbeat();
      await vi.advanceTimersByTimeAsync(1_000);
    }
    expect(events).toEqual(['+0']);
    ends[0]!.high = 120;
    for (let i = 0; i < 60; i++) {
      kafka.consumer.heartbeat();
      await vi.advanceTimersByTimeAsync(1_000);
    }
    expect(events.at(-1)).toMatch(/partition 0 stays at offset 100, while its log reaches 120/);
  });

  it('gives up when there is no sign of life', async () => {
    await open({ stallMs: 20_000 });
    kafka.consumer.join([0]);
    await vi.advanceTimersByTimeAsync(26_000);
    expect(events.at(-1)).toMatch(/no fetch and no heartbeat was answered/);
  });

  it('pauses a partition whose queue is full until half of it is read', async () => {
    await open({ maxQueuedBytes: { partition: 2_000 } });
    kafka.consumer.join([0]);
    void read(0);
    await vi.advanceTimersByTimeAsync(0);
    const many = Object.fromEntries(Array.from({ length: 20 }, (_, i) => [i, 'x']));
    await kafka.consumer.batch(0, 0, many, { end: 100 });
    await settle();
    expect(reader.counters().queuedBytes).toBe(0);
    const next = Object.fromEntries(Array.from({ length: 20 }, (_, i) => [i + 20, 'x']));
    await kafka.consumer.batch(0, 20, next, { end: 100 });
    expect(kafka.consumer.paused).toEqual(new Set([0]));
    const some = (fromOffset: number, maxRecords: number) =>
      reader.read({ partition: 0, fromOffset, maxRecords, maxBytes: 1e9 });
    await some(20, 10);
    expect(kafka.consumer.paused).toEqual(new Set([0]));
    await some(30, 5);
    expect(kafka.consumer.paused).toEqual(new Set());
  });

  it('commits what it was told last, after a while, for whom it still has', async () => {
    await open();
    kafka.consumer.join([0, 1]);
    reader.commit(0, 5);
    reader.commit(1, 6);
    reader.commit(0, 7);
    reader.commit(3, 9);
    kafka.consumer.join([0]);
    await vi.advanceTimersByTimeAsync(5_000);
    expect(kafka.consumer.commits).toEqual([{ topic: 't', partition: 0, offset: '7' }]);
  });

  it('reads nothing beyond the end, and wakes when the log gets there', async () => {
    await open();
    kafka.consumer.join([0]);
    expect(await read(500)).toEqual({ records: [], nextOffset: 500 });
    expect(kafka.consumer.seeks).toEqual([]);
    const wait = reader.waitFor(0, 500, new AbortController().signal);
    ends[0]!.high = 501;
    await vi.advanceTimersByTimeAsync(5_000);
    await wait;
    void read(500);
    await vi.advanceTimersByTimeAsync(0);
    expect(kafka.consumer.seeks).toEqual([{ partition: 0, offset: 500 }]);
  });
});
