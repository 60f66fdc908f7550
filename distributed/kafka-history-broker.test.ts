/** A history that is read from a broker of our own, which is killed meanwhile. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { ArchiveQuery } from '../archive/testing/archive-query.ts';
import {
  compileRepo,
  count,
  entity,
  featureService,
  featureView,
  integer,
  streamSource,
  string,
  timestamp,
} from '../index.ts';
import { KafkaUnreachableError } from '../ingest/log/kafka/kafka-errors.ts';
import { makeTopics } from '../ingest/log/kafka/testing/make-topics.ts';
import { deferred } from '../roles/deferred.ts';
import { describeWithServices, type KafkaBroker, startKafka } from '../services/index.ts';
import { kafkaClient } from '../test/topic-content.ts';
import { type KafkaHistoryOptions, kafkaHistory } from './kafka-history.ts';

const NOW_MS = Date.UTC(2026, 10, 30);
const PARTITIONS = 2;
/** More than is fetched ahead of what is read. */
const RECORDS = 30_000;
const TEXT = 'x'.repeat(1_000);

const letters = streamSource({
  name: 'letters',
  columns: { id: integer(), at: timestamp(), text: string() },
  eventTime: 'at',
  eventId: 'id',
});
const view = featureView({
  ...{ name: 'letters_of_id', source: letters, entity: entity('id') },
  features: { n: count().over('1d') },
});
const source = compileRepo([featureService({ name: 's', features: [view] })]).sources.get('letters')!;

describeWithServices(['kafka'], 'a history whose broker is killed', () => {
  let broker: KafkaBroker;

  beforeAll(async () => {
    broker = await startKafka({
      properties: { 'broker.session.timeout.ms': 2_000, 'broker.heartbeat.interval.ms': 500 },
    });
    const kafka = kafkaClient(broker.brokers);
    const admin = kafka.admin();
    const producer = kafka.producer();
    await Promise.all([admin.connect(), producer.connect()]);
    await makeTopics(admin, [{ topic: 'letters', numPartitions: PARTITIONS }]);
    for (let id = 0; id < RECORDS; ) {
      const messages = Array.from({ length: 1_000 }, () => ({
        partition: id % PARTITIONS,
        timestamp: String(NOW_MS),
        value: JSON.stringify({ id: id++, at: NOW_MS, text: TEXT }),
      }));
      await producer.send({ topic: 'letters', messages });
    }
    await Promise.all([admin.disconnect(), producer.disconnect()]);
  }, 180_000);
  afterAll(() => broker?.stop());

  /** Once something was read. */
  function killing(options: Partial<KafkaHistoryOptions>, onKilled: () => void) {
    let killed = false;
    return kafkaHistory({
      kafka: { brokers: broker.brokers, clientId: 'test' },
      onProgress: ({ records }) => {
        if (killed || records === 0) return;
        killed = true;
        void broker.kill('SIGKILL').then(onKilled);
      },
      ...options,
    });
  }

  async function directory(): Promise<string> {
    const home = await mkdtemp(join(tmpdir(), 'millrace-history-'));
    onTestFinished(() => rm(home, { recursive: true, force: true }));
    return home;
  }

  async function expectWhole(home: string): Promise<void> {
    const positions = await (await ArchiveQuery.open()).positions(home, 'letters');
    expect(new Set(positions).size).toBe(RECORDS);
    expect(positions).toHaveLength(RECORDS);
  }

  test('goes on when it is back, and has every record once', { timeout: 240_000 }, async () => {
    const home = await directory();
    const back = deferred<void>();
    const history = killing({}, () => void broker.restart().then(back.resolve, back.reject));
    const read = await history.writeTo(home, [source]);
    await back.promise;
    expect(read.get('letters')!.gone).toBe(0);
    await expectWhole(home);
  });

  test('says that it is away; another call goes on with what was read', { timeout: 240_000 }, async () => {
    const home = await directory();
    const stop = new AbortController();
    const troubles: unknown[] = [];
    const onTrouble = (error: unknown): void => {
      troubles.push(error);
      stop.abort(new Error('stopped'));
    };
    const gone = deferred<void>();
    const history = killing({ onTrouble, signal: stop.signal }, gone.resolve);
    await expect(history.writeTo(home, [source])).rejects.toThrow('stopped');
    await gone.promise;
    expect(troubles[0]).toBeInstanceOf(KafkaUnreachableError);
    expect(String(troubles[0])).toMatch(/topic letters cannot be read from Kafka: the consumer is /);
    await broker.restart();
    await kafkaHistory({ kafka: { brokers: broker.brokers, clientId: 'test' } }).writeTo(home, [source]);
    await expectWhole(home);
  });
});
