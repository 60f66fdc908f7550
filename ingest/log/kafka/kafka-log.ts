/**
 * The door to a Kafka cluster: what a role opens of a source's topic, closed all together.
 *
 * Writers, readers and dead letters of one topic share what is known of it (`KafkaLogInfo`).
 */
import type { Kafka } from 'kafkajs';
import { LogClosedError } from '../log-errors.ts';
import type { GroupedProducerOptions } from './grouped-producer.ts';
import {
  CONSUMER_CLIENT_RETRY,
  type KafkaLogger,
  type KafkaSettings,
  makeKafka,
  unreachable,
} from './kafka-client.ts';
import { deadLetterTopic, KafkaDeadLetters } from './kafka-dead-letters.ts';
import { KafkaLetterShelf, type KafkaLetterShelfOptions } from './kafka-letter-shelf.ts';
import { KafkaLogReader, type KafkaLogReaderOptions } from './kafka-log-reader.ts';
import { LoneReader, type LoneReaderOptions } from './lone-reader.ts';
import { KafkaLogInfo } from './topic-offsets.ts';
import { KafkaLogWriter } from './topic-writer.ts';
import { settledWithin, within } from './within.ts';

export type { KafkaLogReader, KafkaLogWriter };

/** Which topic holds the events of a source. */
export interface TopicOf {
  readonly topic: string;
  readonly source: string;
}

export type WriterOptions = Omit<GroupedProducerOptions, 'kafka' | 'info' | 'logger'>;
export type ReaderOptions = Omit<KafkaLogReaderOptions, 'kafka' | 'info' | 'logger'>;

const OPEN_TIMEOUT_MS = 30_000;

export class KafkaConnection {
  readonly clusterId: string;
  readonly #kafka: Kafka;
  readonly #consumerKafka: Kafka;
  readonly #logger: KafkaLogger;
  readonly #infos = new Map<string, KafkaLogInfo>();
  readonly #opened = new Set<{ close(): Promise<void> }>();
  #closing: Promise<void> | null = null;

  private constructor(kafka: Kafka, consumerKafka: Kafka, clusterId: string, logger: KafkaLogger) {
    this.#kafka = kafka;
    this.#consumerKafka = consumerKafka;
    this.clusterId = clusterId;
    this.#logger = logger;
  }

  /** @throws {KafkaUnreachableError} when no broker answers (for a blocked address after 30 s) */
  static async open(settings: KafkaSettings, logger: KafkaLogger): Promise<KafkaConnection> {
    const kafka = makeKafka(settings, logger);
    const admin = kafka.admin();
    try {
      const { clusterId } = await within(
        OPEN_TIMEOUT_MS,
        admin.connect().then(() => admin.describeCluster()),
        () => new Error(`no answer within ${OPEN_TIMEOUT_MS} ms`),
      );
      const consumerKafka = makeKafka(settings, logger, CONSUMER_CLIENT_RETRY);
      return new KafkaConnection(kafka, consumerKafka, clusterId, logger);
    } catch (error) {
      throw unreachable(settings, error);
    } finally {
      await settledWithin(5_000, admin.disconnect());
    }
  }

  /** The same object for every call with the same names; does not connect before it is asked something. */
  info({ topic, source }: TopicOf): KafkaLogInfo {
    if (this.#closing !== null) throw new LogClosedError('the connection to Kafka is closed');
    const name = `${topic}\n${source}`;
    let info = this.#infos.get(name);
    if (info === undefined) {
      info = new KafkaLogInfo({
        kafka: this.#kafka,
        clusterId: this.clusterId,
        topic,
        source,
        logger: this.#logger,
      });
      this.#infos.set(name, info);
    }
    return info;
  }

  /** Connects at the first append, or by `connect()`. */
  writer(of: TopicOf, options: WriterOptions = {}): KafkaLogWriter {
    return this.#own(new KafkaLogWriter({ ...this.#parts(of), ...options }));
  }

  /** Joins its group by `start()`. */
  reader(of: TopicOf, options: ReaderOptions = {}): KafkaLogReader {
    return this.#own(new KafkaLogReader({ ...this.#parts(of), kafka: this.#consumerKafka, ...options }));
  }

  /** For the records of this topic; they go to `deadLetterTopic(topic)`. */
  deadLetters({ topic, source }: TopicOf, options: WriterOptions = {}): KafkaDeadLetters {
    const parts = this.#parts({ topic: deadLetterTopic(topic), source });
    return this.#own(new KafkaDeadLetters({ ...parts, ...options, originTopic: topic }));
  }

  /** The dead letters of the topic, to look at and to replay. */
  letterShelf(of: TopicOf, options: Pick<KafkaLetterShelfOptions, 'group' | 'timings'>): KafkaLetterShelf {
    const letters = this.info({ ...of, topic: deadLetterTopic(of.topic) });
    const kafka = { client: this.#kafka, consumer: this.#consumerKafka };
    const shelf = { kafka, source: this.info(of), letters, logger: this.#logger, ...options };
    return this.#own(new KafkaLetterShelf(shelf));
  }

  /** Has all partitions of the topic when it returns, beside all who read it in groups. @throws as `LoneReader.open` */
  async loneReader(
    of: TopicOf,
    options: Omit<LoneReaderOptions, 'kafka' | 'info' | 'logger'>,
  ): Promise<LoneReader> {
    const kafka = { client: this.#kafka, consumer: this.#consumerKafka };
    return this.#own(await LoneReader.open({ kafka, info: this.info(of), logger: this.#logger, ...options }));
  }

  /** Closes all that was opened: readers leave their groups, writers finish what was accepted. Never rejects. */
  close(): Promise<void> {
    this.#closing ??= (async () => {
      await Promise.allSettled([...this.#opened].map((part) => part.close()));
      await Promise.allSettled([...this.#infos.values()].map((info) => info.close()));
    })();
    return this.#closing;
  }

  #own<T extends { close(): Promise<void> }>(part: T): T {
    this.#opened.add(part);
    return part;
  }

  #parts(of: TopicOf): { kafka: Kafka; info: KafkaLogInfo; logger: KafkaLogger } {
    return { kafka: this.#kafka, info: this.info(of), logger: this.#logger };
  }
}
