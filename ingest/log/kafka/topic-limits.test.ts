/** When a topic's limits are asked for: with an answer of the cluster made here, and a time that is moved by hand. */
import type { Kafka, ProducerRecord } from 'kafkajs';
import { beforeEach, expect, it } from 'vitest';
import type { DeadLetter } from '../../dead-letter.ts';
import { KafkaDeadLetters } from './kafka-dead-letters.ts';
import { silent } from './testing/kafka-test.ts';
import { KafkaLogInfo } from './topic-offsets.ts';

let nowMs: number;
let asked: number;
/** null: the cluster does not answer. */
let maxMessageBytes: number | null;
let sent: ProducerRecord[];
let kafka: Kafka;
let info: KafkaLogInfo;

beforeEach(() => {
  nowMs = 0;
  asked = 0;
  maxMessageBytes = 2_000_000;
  sent = [];
  const admin = {
    connect: async () => {},
    fetchTopicOffsets: async () => [{ partition: 0, high: '0', low: '0' }],
    describeConfigs: async () => {
      asked++;
      if (maxMessageBytes === null) throw new Error('no answer');
      const configEntries = [{ configName: 'max.message.bytes', configValue: String(maxMessageBytes) }];
      return { resources: [{ configEntries }] };
    },
  };
  const producer = {
    connect: async () => {},
    disconnect: async () => {},
    send: async (request: ProducerRecord) => {
      sent.push(request);
      return [{ partition: 0, baseOffset: '0' }];
    },
  };
  kafka = { admin: () => admin, producer: () => producer } as unknown as Kafka;
  info = new KafkaLogInfo({
    kafka,
    clusterId: 'c',
    topic: 'payments',
    source: 'payments',
    logger: silent,
    monotonicMs: () => nowMs,
  });
});

const limit = async (): Promise<number> => (await info.limits()).maxMessageBytes;
const recent = async (): Promise<number> => (await info.recentLimits()).maxMessageBytes;
const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

it('limits are asked for again when they are older than a minute, and nobody waits for that', async () => {
  expect(await limit()).toBe(2_000_000);
  maxMessageBytes = 3_000_000;
  nowMs = 60_000;
  expect(await limit()).toBe(2_000_000);
  await settled();
  expect(asked).toBe(1);
  nowMs = 60_001;
  expect(await limit()).toBe(2_000_000);
  await settled();
  expect(await limit()).toBe(3_000_000);
  expect(asked).toBe(2);
});

it('what something is refused by is at most a second old, and asked for once a second', async () => {
  expect(await limit()).toBe(2_000_000);
  maxMessageBytes = 3_000_000;
  nowMs = 1_000;
  expect(await recent()).toBe(2_000_000);
  expect(asked).toBe(1);
  nowMs = 1_001;
  const refused = await Promise.all(Array.from({ length: 100 }, () => recent()));
  expect(new Set(refused)).toEqual(new Set([3_000_000]));
  for (let i = 0; i < 100; i++) await recent();
  // Those that came while a request was under way share another.
  expect(asked).toBe(3);
});

it('what was known last stays known where the cluster does not answer', async () => {
  expect(await limit()).toBe(2_000_000);
  maxMessageBytes = null;
  nowMs = 100_000;
  expect(await recent()).toBe(2_000_000);
  expect(await limit()).toBe(2_000_000);
  expect(asked).toBe(2);
});

it('the default of Kafka is assumed until the cluster answers', async () => {
  maxMessageBytes = null;
  expect(await limit()).toBe(1_048_588);
  maxMessageBytes = 3_000_000;
  nowMs = 1_001;
  expect(await recent()).toBe(3_000_000);
});

it('a letter is cut by no older limit', async () => {
  maxMessageBytes = 2_000;
  const letters = new KafkaDeadLetters({ kafka, info, logger: silent, originTopic: 'payments' });
  const letter: DeadLetter = {
    reason: 'undecodable',
    message: 'it is not JSON',
    source: 'payments',
    partition: 0,
    offset: 17,
    readOffset: 17,
    view: null,
    appendedMs: 0,
    stamp: null,
    value: Buffer.alloc(9_000),
    key: null,
    headers: [],
  };
  const written = async (): Promise<number> => {
    await letters.write([letter]);
    return sent.at(-1)!.messages[0]!.value!.length;
  };
  expect(await written()).toBeLessThan(2_000);
  maxMessageBytes = 20_000;
  nowMs = 1_001;
  expect(await written()).toBe(9_000);
  await letters.close();
});
