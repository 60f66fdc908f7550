/** Dead letters on a real broker. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { DeadLetter } from '../../dead-letter.ts';
import type { LogRecord } from '../event-log.ts';
import { deadLetterTopic } from './kafka-dead-letters.ts';
import type { KafkaConnection } from './kafka-log.ts';
import { describeWithKafka } from './testing/describe-with-kafka.ts';
import { KafkaBench, readAll } from './testing/kafka-test.ts';
import { makeTopics } from './testing/make-topics.ts';

describeWithKafka('Kafka dead letters', (brokers) => {
  let bench: KafkaBench;
  let connection: KafkaConnection;

  beforeAll(async () => {
    bench = await KafkaBench.open(brokers());
    connection = await bench.connect();
  });
  afterAll(() => bench?.close());

  const letter = (overrides: Partial<DeadLetter> = {}): DeadLetter => ({
    reason: 'undecodable',
    message: 'it is not JSON',
    source: 'events',
    partition: 3,
    offset: 17,
    readOffset: 17,
    view: null,
    appendedMs: 1_700_000_000_000,
    stamp: null,
    value: Buffer.from('{'),
    key: Buffer.from('key'),
    headers: [],
    ...overrides,
  });
  const written = async (
    letters: readonly DeadLetter[],
    maxMessageBytes: number,
  ): Promise<readonly LogRecord[]> => {
    const origin = await bench.topic(1);
    const topic = deadLetterTopic(origin);
    const configEntries = [{ name: 'max.message.bytes', value: String(maxMessageBytes) }];
    await makeTopics(bench.admin, [{ topic, numPartitions: 2, configEntries }]);
    const deadLetters = connection.deadLetters({ topic: origin, source: 'events' });
    await deadLetters.connect();
    await deadLetters.write([]);
    await deadLetters.write(letters);
    const reader = await bench.reader(connection, topic, 2);
    const { records } = await readAll(reader, 1);
    await Promise.all([reader.close(), deadLetters.close()]);
    await bench.admin.deleteTopics({ topics: [topic] });
    return records.map((record) => ({
      ...record,
      headers: record.headers.filter(
        ([name, value]) => name !== 'millrace-topic' || Buffer.from(value).toString() !== origin,
      ),
    }));
  };
  const textsOf = ({ headers }: LogRecord) =>
    headers.map(([name, value]) => `${name}=${Buffer.from(value).toString()}`);

  it('keep the record as it was, and say why and whence', async () => {
    const headers = [
      ['trace', Buffer.from('1')],
      ['__proto__', Buffer.from('2')],
      ['trace', Buffer.from('3')],
    ] as const;
    const [first, second] = await written(
      [letter({ headers, view: 'card_stats', thrown: 'TypeError: x' }), letter({ key: null, value: null })],
      1_000_000,
    );
    expect(Buffer.from(first!.value!).toString()).toBe('{');
    expect(Buffer.from(first!.key!).toString()).toBe('key');
    expect(textsOf(first!)).toEqual([
      'trace=1',
      'trace=3',
      '__proto__=2',
      'millrace-reason=undecodable',
      'millrace-message=it is not JSON',
      'millrace-thrown=TypeError: x',
      'millrace-source=events',
      'millrace-view=card_stats',
      'millrace-partition=3',
      'millrace-offset=17',
      'millrace-timestamp=1700000000000',
    ]);
    expect(second).toMatchObject({ key: null, value: null });
  });

  it('too large for their topic lose the message, then headers and key, then the end of the value', async () => {
    const trace = [['trace', Buffer.alloc(500)]] as const;
    const records = await written(
      [
        letter({ value: Buffer.alloc(1_300), message: 'm'.repeat(1_000) }),
        letter({ value: Buffer.alloc(1_300), headers: trace, stamp: 'a-stamp' }),
        letter({ value: Buffer.alloc(1_300), key: Buffer.alloc(400), headers: trace }),
        letter({ value: Buffer.alloc(9_000), headers: trace }),
      ],
      2_000,
    );
    const omitted = (record: LogRecord) =>
      textsOf(record).filter((text) => text.startsWith('millrace-omitted'));
    expect(records.map(omitted)).toEqual([
      ['millrace-omitted=message'],
      ['millrace-omitted=message,headers'],
      ['millrace-omitted=message,headers,key'],
      ['millrace-omitted=message,headers,key,value'],
    ]);
    expect(records.map(({ value }) => value!.length)).toEqual([
      1_300,
      1_300,
      1_300,
      records[3]!.value!.length,
    ]);
    expect(records[3]!.value!.length).toBeGreaterThan(1_000);
    expect(records.every((record) => textsOf(record).includes('millrace-offset=17'))).toBe(true);
    // As a header the stamp is gone with the others; what tells a repeat must not be.
    expect(records.map(({ stamp }) => stamp)).toEqual([null, 'a-stamp', null, null]);
  });
});
