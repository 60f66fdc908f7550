import { type AddressInfo, createServer } from 'node:net';
import type { Kafka, ProducerRecord } from 'kafkajs';
import { expect, onTestFinished, test } from 'vitest';
import { GroupedProducer } from './grouped-producer.ts';
import { makeKafka } from './kafka-client.ts';
import { KafkaUnreachableError } from './kafka-errors.ts';
import { silent } from './testing/kafka-test.ts';
import type { KafkaLogInfo } from './topic-offsets.ts';

/** A producer over a broker that takes everything at once, and what it is sent. */
function recordedProducer(options: { readonly pauseMs?: number } = {}) {
  const requests: ProducerRecord[] = [];
  const kafka = {
    producer: () => ({
      connect: async () => {},
      disconnect: async () => {},
      send: async (request: ProducerRecord) => {
        requests.push(request);
        return [...new Set(request.messages.map(({ partition }) => partition))].map((partition) => ({
          partition,
          baseOffset: '7',
        }));
      },
    }),
  } as unknown as Kafka;
  const info = {
    topic: 'payments',
    source: 'payments',
    limits: async () => ({ maxMessageBytes: 1_000 }),
    noteEnd: () => {},
  } as unknown as KafkaLogInfo;
  return { requests, producer: new GroupedProducer({ kafka, info, logger: silent, ...options }) };
}

const recordOf = (partition: number, value = '{}') => ({
  ...{ partition, timestampMs: 1, key: null, value: Buffer.from(value), headers: {} },
});

test('a produce request asks for all in-sync replicas: the acknowledgement of one broker can be lost with it', async () => {
  const { requests, producer } = recordedProducer();
  expect(await producer.produce([recordOf(0)])).toEqual([7]);
  expect(requests).toMatchObject([{ topic: 'payments', acks: -1, messages: [{ partition: 0 }] }]);
  await producer.close();
});

test('what comes right behind a request shares the next one, turn by turn', async () => {
  const { requests, producer } = recordedProducer({ pauseMs: 200 });
  await producer.produce([recordOf(0)]);
  const second = producer.produce([recordOf(1)]);
  // Enough for a request of its own, if it did not wait.
  for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve));
  const third = Promise.all([producer.produce([recordOf(0)]), producer.produce([recordOf(1)])]);
  expect(await second).toEqual([7]);
  expect(await third).toEqual([[7], [8]]);
  expect(requests.map(({ messages }) => messages.map(({ partition }) => partition))).toEqual([
    [0],
    [0, 1, 1],
  ]);
  await producer.close();
});

test('without a pause every turn has a request of its own', async () => {
  const { requests, producer } = recordedProducer({ pauseMs: 0 });
  for (let i = 0; i < 3; i++) await producer.produce([recordOf(i)]);
  expect(requests).toHaveLength(3);
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
