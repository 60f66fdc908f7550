import RequestQueue from 'kafkajs/src/network/requestQueue/index.js';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { describeWithServices, type KafkaBroker, startKafka, TcpProxy } from '../../../services/index.ts';
import { freePorts, HOST } from '../../../services/process/free-port.ts';
import { waitUntil } from '../../../services/process/wait-until.ts';
import { makeKafka } from './kafka-client.ts';
import { repairKafkajs } from './kafkajs-repairs.ts';

const WAIT_MS = 60_000;
const silent = { error: () => {}, warn: () => {}, info: () => {}, debug: () => {} };

describeWithServices(['kafka'], 'a connection to Kafka', () => {
  let broker: KafkaBroker;
  let proxy: TcpProxy;
  beforeAll(async () => {
    const ports = await freePorts(2);
    proxy = await TcpProxy.open(ports[0]!);
    broker = await startKafka({
      ports,
      properties: { 'advertised.listeners': `PLAINTEXT://${HOST}:${proxy.port}` },
    });
  }, 180_000);
  afterAll(async () => {
    proxy?.close();
    await broker?.stop();
  });

  test('that ended within an answer does not spoil the next one', async () => {
    const settings = { brokers: [`${HOST}:${proxy.port}`], clientId: 'test', requestTimeoutMs: 1_000 };
    const admin = makeKafka(settings, silent).admin();
    await admin.connect();
    try {
      await admin.createTopics({ waitForLeaders: false, topics: [{ topic: 'here' }] });
      for (let bytes = 1; bytes <= 40; bytes += 3) {
        proxy.cutAfter('replies', bytes);
        await admin.listTopics().catch(() => {});
        await waitUntil(async () => (await admin.listTopics()).includes('here'), {
          what: `the broker is heard again, cut after ${bytes} bytes`,
          timeoutMs: WAIT_MS,
        });
      }
    } finally {
      await admin.disconnect();
    }
  }, 300_000);
});

describe("the requests of kafkajs' connections", () => {
  let queue: RequestQueue;
  beforeEach(() => {
    repairKafkajs();
    queue = new RequestQueue({
      maxInFlightRequests: null,
      requestTimeout: 1_000,
      enforceRequestTimeout: false,
      clientId: 'test',
      broker: 'none',
      logger: silent,
    });
  });
  afterEach(() => queue.destroy());

  /** Resolves when the request is sent. */
  const push = (correlationId: number): Promise<void> =>
    new Promise((resolve) =>
      queue.push({ entry: { correlationId, resolve: () => {} }, expectResponse: true, sendRequest: resolve }),
    );
  const answer = (correlationId: number): void =>
    queue.fulfillRequest({ correlationId, payload: Buffer.alloc(0), size: 0 });

  test('are not looked for where none waits', async () => {
    await push(1);
    answer(1);
    expect(queue.throttleCheckTimeoutId).toBeNull();
  });

  test('that the broker wants to wait are sent when it does not any more', async () => {
    await push(1);
    queue.maybeThrottle(50);
    answer(1);
    const second = push(2);
    const third = push(3);
    expect(queue.pending).toHaveLength(2);
    await Promise.all([second, third]);
    expect(queue.pending).toHaveLength(0);
    expect(queue.throttleCheckTimeoutId).toBeNull();
  });
});
