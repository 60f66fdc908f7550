import { randomUUID } from 'node:crypto';
import { Kafka, logLevel } from 'kafkajs';
import { expect, test } from 'vitest';
import { describeWithServices } from '../testing/describe-with-services.ts';
import { sharedServices } from '../testing/shared-services.ts';
import { startKafka } from './kafka-broker.ts';

const TIMEOUT_MS = 180_000;

async function topicsOf(brokers: string[], create?: string): Promise<string[]> {
  const admin = new Kafka({ brokers, logLevel: logLevel.NOTHING }).admin();
  await admin.connect();
  try {
    if (create !== undefined) await admin.createTopics({ topics: [{ topic: create }], waitForLeaders: true });
    return await admin.listTopics();
  } finally {
    await admin.disconnect();
  }
}

describeWithServices(['kafka'], 'startKafka', () => {
  test('a killed broker comes back at its address with its topics', { timeout: TIMEOUT_MS }, async () => {
    const kafka = await startKafka();
    try {
      await topicsOf(kafka.brokers, 'events');
      await kafka.kill();
      await kafka.restart();
      expect(await topicsOf(kafka.brokers)).toContain('events');
    } finally {
      await kafka.stop();
    }
  });
});

describeWithServices(['kafka'], 'sharedServices', () => {
  test('is one broker, whoever asks', { timeout: TIMEOUT_MS }, async () => {
    const [first, second] = await Promise.all([sharedServices().kafka(), sharedServices().kafka()]);
    expect(second).toEqual(first);
    const topic = randomUUID();
    expect(await topicsOf(first!, topic)).toContain(topic);
  });
});
