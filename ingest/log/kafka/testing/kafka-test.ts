/** What the tests with a real broker share: topics of their own, waiting for a condition, reading all there is. */
import { randomUUID } from 'node:crypto';
import kafkajs, { type Admin, type Kafka } from 'kafkajs';
import type { LogChunk, LogReader, LogRecord, ReadArgs } from '../../event-log.ts';
import type { KafkaLogger } from '../kafka-client.ts';
import { KafkaConnection, type ReaderOptions } from '../kafka-log.ts';
import type { KafkaLogReader } from '../kafka-log-reader.ts';
import { makeTopics } from './make-topics.ts';

export const silent: KafkaLogger = { error: () => {}, warn: () => {}, info: () => {}, debug: () => {} };

/** Quick to notice what the defaults take half a minute for. */
export const QUICK = {
  sessionTimeoutMs: 10_000,
  heartbeatIntervalMs: 300,
  rebalanceTimeoutMs: 15_000,
  metadataMaxAgeMs: 500,
} as const;

/** Polls until the condition holds; fails after `timeoutMs` with what was waited for. */
export async function eventually(
  what: string,
  condition: () => boolean | Promise<boolean>,
  timeoutMs = 45_000,
): Promise<void> {
  const startedMs = performance.now();
  while (!(await condition())) {
    if (performance.now() - startedMs > timeoutMs) throw new Error(`not within ${timeoutMs} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** One broker address for a test file, and what the tests made on it. */
export class KafkaBench {
  readonly brokers: readonly string[];
  readonly kafka: Kafka;
  readonly #admin: Admin;
  readonly #connections: KafkaConnection[] = [];
  readonly #topics: string[] = [];

  private constructor(brokers: readonly string[]) {
    this.brokers = brokers;
    this.kafka = new kafkajs.Kafka({
      brokers: [...brokers],
      clientId: 'test',
      logLevel: kafkajs.logLevel.NOTHING,
      retry: { retries: 10, maxRetryTime: 1000 },
    });
    this.#admin = this.kafka.admin();
  }

  static async open(brokers: readonly string[]): Promise<KafkaBench> {
    const bench = new KafkaBench(brokers);
    await bench.#admin.connect();
    return bench;
  }

  get admin(): Admin {
    return this.#admin;
  }

  async topic(partitions: number, config: Readonly<Record<string, string>> = {}): Promise<string> {
    const topic = `test-${randomUUID()}`;
    const configEntries = Object.entries(config).map(([name, value]) => ({ name, value }));
    await makeTopics(this.#admin, [{ topic, numPartitions: partitions, configEntries }]);
    this.#topics.push(topic);
    return topic;
  }

  async connect(logger: KafkaLogger = silent): Promise<KafkaConnection> {
    const connection = await KafkaConnection.open({ brokers: this.brokers, clientId: 'test' }, logger);
    this.#connections.push(connection);
    return connection;
  }

  /** A member of the topic's group that has got `partitions` of its partitions. */
  async reader(
    connection: KafkaConnection,
    topic: string,
    partitions: number,
    options: ReaderOptions = {},
  ): Promise<KafkaLogReader> {
    const reader = connection.reader(
      { topic, source: 'events' },
      { groupId: `group-${topic}`, timings: QUICK, ...options },
    );
    await reader.start();
    await eventually(
      `${partitions} partitions assigned`,
      () => reader.status().assigned.length === partitions,
    );
    return reader;
  }

  async close(): Promise<void> {
    await Promise.all(this.#connections.splice(0).map((connection) => connection.close()));
    if (this.#topics.length > 0)
      await this.#admin.deleteTopics({ topics: this.#topics.splice(0) }).catch(() => {});
    await this.#admin.disconnect();
  }
}

/** Reads on until the limits are met or the end that the log had at the call is reached. */
export async function readAll(
  log: LogReader,
  partition: number,
  fromOffset = 0,
  limits: { maxRecords?: number; maxBytes?: number } = {},
): Promise<LogChunk> {
  const { maxRecords = Number.POSITIVE_INFINITY, maxBytes = 1e9 } = limits;
  const { endOffset } = await log.ends(partition);
  const records: LogRecord[] = [];
  let nextOffset = fromOffset;
  let bytes = 0;
  const startedMs = performance.now();
  while (
    nextOffset < endOffset &&
    records.length < maxRecords &&
    (records.length === 0 || bytes < maxBytes)
  ) {
    if (performance.now() - startedMs > 45_000) throw new Error(`reading stays at offset ${nextOffset}`);
    const args: ReadArgs = {
      partition,
      fromOffset: nextOffset,
      maxRecords: Math.min(maxRecords - records.length, 100_000),
      maxBytes: maxBytes - bytes,
    };
    const chunk = await log.read(args);
    const first = chunk.records[0];
    if (records.length > 0 && first !== undefined && bytes + (first.value?.length ?? 0) > maxBytes) break;
    records.push(...chunk.records);
    for (const { value } of chunk.records) bytes += value?.length ?? 0;
    nextOffset = chunk.nextOffset;
  }
  return { records, nextOffset };
}

export function textOf(records: readonly LogRecord[]): string[] {
  return records.map(({ value }) => (value === null ? 'null' : Buffer.from(value).toString()));
}
