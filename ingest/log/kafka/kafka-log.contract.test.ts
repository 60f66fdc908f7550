/** The event log contract over a writer and a reader of one topic, through a real broker. */
import { afterAll, beforeAll } from 'vitest';
import { describeEventLog } from '../event-log.contract.ts';
import { describeWithKafka } from './testing/describe-with-kafka.ts';
import { KafkaBench, QUICK, readAll } from './testing/kafka-test.ts';

describeWithKafka('Kafka log', (brokers) => {
  let bench: KafkaBench;

  beforeAll(async () => {
    bench = await KafkaBench.open(brokers());
  });
  afterAll(() => bench?.close());

  describeEventLog(
    'kafka',
    async () => {
      // Append times are given back only where they are the producer's.
      const topic = await bench.topic(3, { 'message.timestamp.type': 'CreateTime' });
      const connection = await bench.connect();
      const writer = connection.writer({ topic, source: 'events' });
      const reader = await bench.reader(connection, topic, 3, { timings: QUICK });
      return {
        log: {
          source: 'events',
          partitions: () => reader.partitions(),
          identity: (partition) => reader.identity(partition),
          ends: (partition) => reader.ends(partition),
          append: (records) => writer.append(records),
          read: (args) =>
            args.partition < 3 && args.maxRecords > 0 && args.fromOffset < 1e9
              ? readAll(reader, args.partition, args.fromOffset, args)
              : reader.read(args),
          waitFor: (partition, offset, signal) => reader.waitFor(partition, offset, signal),
          close: async () => {
            await Promise.all([writer.close(), reader.close()]);
          },
        },
        truncation: null,
        dispose: () => connection.close(),
      };
    },
    { truncates: false },
  );
});
