import { type AddressInfo, createServer } from 'node:net';
import type { Kafka, ProducerRecord } from 'kafkajs';
import { expect, onTestFinished, test } from 'vitest';
import { GroupedProducer } from './grouped-producer.ts';
import { makeKafka } from './kafka-client.ts';
import { KafkaUnreachableError } from './kafka-errors.ts';
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

test('a broker that cuts the connection at the start is not reached: no defect, and no error of kafkajs', async () => {
  const server = createServer((socket) => socket.once('data', () => socket.end()));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => void server.close());
  const broker = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  const kafka = makeKafka({ brokers: [broker], clientId: 'test' }, silent, { retries: 0 });
  const info = { topic: 'payments', source: 'payments' } as unknown as KafkaLogInfo;
  const producer = new GroupedProducer({ kafka, info, logger: silent });
  const failure: unknown = await producer.connect().catch((error: unknown) => error);
  expect(failure).toBeInstanceOf(KafkaUnreachableError);
  expect((failure as Error).message).toMatch(
    /^Kafka was not reached for topic payments: .*Closed connection/,
  );
  await producer.close();
});
