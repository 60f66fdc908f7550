/** Topics as a client of Kafka sees them, which is not ours: what the tests hold the engine against. */
import { randomUUID } from 'node:crypto';
import kafkajs, { type IHeaders, type Kafka } from 'kafkajs';
import { onTestFinished } from 'vitest';
import { repairKafkajs } from '../ingest/log/kafka/kafkajs-repairs.ts';
import { waitUntil } from '../services/process/wait-until.ts';

export interface TopicRecord {
  readonly partition: number;
  readonly offset: number;
  readonly key: Buffer | null;
  readonly value: Buffer | null;
  readonly headers: IHeaders;
}

const READ_TIMEOUT_MS = 45_000;

export function kafkaClient(brokers: readonly string[], config: object = {}): Kafka {
  // kafkajs all the same: connections that are cut would end the test.
  repairKafkajs();
  return new kafkajs.Kafka({
    brokers: [...brokers],
    clientId: 'test',
    logLevel: kafkajs.logLevel.NOTHING,
    retry: { retries: 10, maxRetryTime: 1_000 },
    ...config,
  });
}

/** All that the topic holds now, partition after partition, in order. */
export async function readTopic(kafka: Kafka, topic: string): Promise<TopicRecord[]> {
  const admin = kafka.admin();
  const consumer = kafka.consumer({ groupId: `reader-${randomUUID()}`, maxWaitTimeInMs: 50 });
  onTestFinished(async () => {
    await Promise.allSettled([admin.disconnect(), consumer.disconnect()]);
  });
  await admin.connect();
  const ends = new Map<number, number>();
  for (const { partition, low, high } of await admin.fetchTopicOffsets(topic)) {
    if (Number(high) > Number(low)) ends.set(partition, Number(high));
  }
  await admin.disconnect();
  const records: TopicRecord[] = [];
  const next = new Map<number, number>();
  if (ends.size > 0) {
    await consumer.connect();
    await consumer.subscribe({ topic, fromBeginning: true });
    await consumer.run({
      autoCommit: false,
      eachMessage: async ({ partition, message: { offset, key, value, headers = {} } }) => {
        records.push({ partition, offset: Number(offset), key, value, headers });
        next.set(partition, Number(offset) + 1);
      },
    });
    await waitUntil(() => [...ends].every(([partition, end]) => (next.get(partition) ?? 0) >= end), {
      what: `all of ${topic} is read`,
      timeoutMs: READ_TIMEOUT_MS,
    });
    await consumer.disconnect();
  }
  return records
    .filter(({ partition, offset }) => offset < (ends.get(partition) ?? 0))
    .sort((a, b) => a.partition - b.partition || a.offset - b.offset);
}
