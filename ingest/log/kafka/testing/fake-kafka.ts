/**
 * kafkajs as the reader sees it, moved by hand: joins, batches, empty batches, fetch rounds and crashes happen when
 * the test says so. It does not fetch: what kafkajs would do with a seek or a pause is the test's to play.
 */
import type { Consumer, EachBatchPayload, Kafka } from 'kafkajs';

type Listener = (event: { payload: unknown }) => void;

export class FakeConsumer {
  readonly seeks: { partition: number; offset: number }[] = [];
  readonly paused = new Set<number>();
  readonly resolved: string[] = [];
  readonly commits: { partition: number; offset: string }[] = [];
  disconnected = false;
  readonly #topic: string;
  readonly #listeners = new Map<string, Listener[]>();
  #eachBatch: ((payload: EachBatchPayload) => Promise<void>) | null = null;

  constructor(topic: string) {
    this.#topic = topic;
  }

  join(partitions: readonly number[]): void {
    this.#emit('consumer.group_join', { memberAssignment: { [this.#topic]: [...partitions] } });
  }

  fetchStarted(nodeId = '1'): void {
    this.#emit('consumer.fetch_start', { nodeId });
  }

  /** A batch of records `offset: value`, covering everything below `behind`. */
  async batch(
    partition: number,
    fetchedOffset: number,
    records: Readonly<Record<number, string>>,
    { behind, end }: { behind?: number; end?: number } = {},
  ): Promise<void> {
    const offsets = Object.keys(records).map(Number);
    const last = offsets.at(-1)!;
    const messages = offsets.map((offset) => ({
      offset: String(offset),
      timestamp: '1700000000000',
      key: null,
      value: Buffer.from(records[offset]!),
      headers: {},
      batchContext: {
        firstOffset: String(offsets[0]),
        lastOffsetDelta: (behind ?? last + 1) - 1 - offsets[0]!,
      },
    }));
    const batch = {
      topic: this.#topic,
      partition,
      fetchedOffset: String(fetchedOffset),
      highWatermark: String(end ?? behind ?? last + 1),
      messages,
      rawMessages: messages,
      lastOffset: () => String(last),
    };
    const resolveOffset = (offset: string) => this.resolved.push(offset);
    await this.#eachBatch!({ batch, resolveOffset } as unknown as EachBatchPayload);
  }

  /** A batch without records for us. */
  emptyBatch(partition: number, firstOffset: number | null, lastOffset: number): void {
    this.#emit('consumer.end_batch_process', {
      topic: this.#topic,
      partition,
      batchSize: 0,
      firstOffset: firstOffset === null ? null : String(firstOffset),
      lastOffset: String(lastOffset),
    });
  }

  crash(error: Error): void {
    this.#emit('consumer.crash', { error });
  }

  heartbeat(): void {
    this.#emit('consumer.heartbeat', {});
  }

  asConsumer(): Consumer {
    const fake = {
      events: {
        GROUP_JOIN: 'consumer.group_join',
        FETCH_START: 'consumer.fetch_start',
        FETCH: 'consumer.fetch',
        HEARTBEAT: 'consumer.heartbeat',
        REBALANCING: 'consumer.rebalancing',
        END_BATCH_PROCESS: 'consumer.end_batch_process',
        CRASH: 'consumer.crash',
      },
      on: (name: string, listener: Listener) => {
        this.#listeners.set(name, [...(this.#listeners.get(name) ?? []), listener]);
      },
      connect: async () => {},
      subscribe: async () => {},
      run: async ({ eachBatch }: { eachBatch: (payload: EachBatchPayload) => Promise<void> }) => {
        this.#eachBatch = eachBatch;
      },
      seek: ({ partition, offset }: { partition: number; offset: string }) => {
        this.seeks.push({ partition, offset: Number(offset) });
      },
      pause: ([{ partitions }]: [{ partitions: number[] }]) => {
        for (const partition of partitions) this.paused.add(partition);
      },
      resume: ([{ partitions }]: [{ partitions: number[] }]) => {
        for (const partition of partitions) this.paused.delete(partition);
      },
      commitOffsets: async (offsets: { partition: number; offset: string }[]) => {
        this.commits.push(...offsets);
      },
      disconnect: async () => {
        this.disconnected = true;
      },
    };
    return fake as unknown as Consumer;
  }

  #emit(name: string, payload: unknown): void {
    for (const listener of this.#listeners.get(name) ?? []) listener({ payload });
  }
}

export class FakeKafka {
  readonly consumers: FakeConsumer[] = [];
  /** What the brokers answer for the ends; a rejection is an outage. */
  ends: () => Promise<{ low: number; high: number }[]>;
  readonly #topic: string;

  constructor(topic: string, ends: { low: number; high: number }[]) {
    this.#topic = topic;
    this.ends = async () => ends;
  }

  /** The consumer made last. */
  get consumer(): FakeConsumer {
    return this.consumers.at(-1)!;
  }

  asKafka(): Kafka {
    const fake = {
      admin: () => ({
        connect: async () => {},
        disconnect: async () => {},
        describeConfigs: async () => ({ resources: [] }),
        fetchTopicOffsets: async () =>
          (await this.ends()).map(({ low, high }, partition) => ({
            partition,
            offset: String(high),
            high: String(high),
            low: String(low),
          })),
      }),
      consumer: () => {
        const consumer = new FakeConsumer(this.#topic);
        this.consumers.push(consumer);
        return consumer.asConsumer();
      },
    };
    return fake as unknown as Kafka;
  }
}
