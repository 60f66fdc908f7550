import type { Kafka, ProducerRecord } from 'kafkajs';
import { expect, test } from 'vitest';
import { GroupedProducer } from './grouped-producer.ts';
import { silent } from './testing/kafka-test.ts';
import type { KafkaLogInfo } from './topic-offsets.ts';

test('a produce request asks for all in-sync replicas: the acknowledgement of one broker can be lost with it', async () => {
  const requests: ProducerRecord[] = [];
  const kafka = {
    producer: () => ({
      connect: async () => {},
      disconnect: async () => {},
      send: async (request: ProducerRecord) => {
        requests.push(request);
        return [{ partition: 0, baseOffset: '7' }];
      },
    }),
  } as unknown as Kafka;
  const info = {
    topic: 'payments',
    source: 'payments',
    limits: async () => ({ maxMessageBytes: 1_000 }),
    noteEnd: () => {},
  } as unknown as KafkaLogInfo;
  const producer = new GroupedProducer({ kafka, info, logger: silent });
  const record = { partition: 0, timestampMs: 1, key: null, value: Buffer.from('{}'), headers: {} };
  expect(await producer.produce([record])).toEqual([7]);
  expect(requests).toMatchObject([{ topic: 'payments', acks: -1, messages: [{ partition: 0 }] }]);
  await producer.close();
});
