/**
 * What is known of a topic without reading it: its partitions, their ends, its limits.
 *
 * Each topic has an admin connection of its own: kafkajs asks for the metadata of all topics an admin was ever asked
 * about at once, and fails all of it when one of them was deleted.
 */
import kafkajs, { type Admin, type Kafka } from 'kafkajs';
import { checkPartition } from '../append-record.ts';
import type { LogEnds, LogInfo } from '../event-log.ts';
import { InvalidRecordError, LogClosedError } from '../log-errors.ts';
import { CLIENT_RETRY, type KafkaLogger } from './kafka-client.ts';
import { deadLetterTopic, isDeadLetterTopic } from './kafka-dead-letters.ts';
import { KafkaUnreachableError, messageOf, protocolErrorOf, TopicMissingError } from './kafka-errors.ts';
import { SharedRequest } from './shared-request.ts';
import type { SourceTopicSettings } from './source-topic.ts';
import { minInsyncReplicasOf, type TopicDurability } from './topic-durability.ts';
import { settledWithin } from './within.ts';

export interface TopicLimits {
  /** Limit of a record batch as written, bytes. */
  readonly maxMessageBytes: number;
  /** Whether records with one key replace each other; records without a key are refused then. */
  readonly compacted: boolean;
}

export interface KafkaLogInfoOptions {
  readonly kafka: Kafka;
  readonly clusterId: string;
  readonly topic: string;
  readonly source: string;
  readonly logger: KafkaLogger;
  /** Time that only goes on, ms, for how old limits are. @default that of the process */
  readonly monotonicMs?: () => number;
}

/** Told whenever a partition is known to reach further; synchronous, must not throw. */
export type EndListener = (partition: number, endOffset: number) => void;

const DEFAULT_MAX_MESSAGE_BYTES = 1_048_588;
/** How long a number of partitions is taken for current. */
const PARTITIONS_FRESH_MS = 10_000;
/** Answers that only say that the cluster is busy with itself. */
const TRIES = 5;
const FIRST_BACKOFF_MS = 50;
/** A request may itself take the whole request timeout. */
const TRY_FOR_MS = 5_000;
/** How long limits are taken for current. */
const LIMITS_FRESH_MS = 60_000;
/** Nothing is refused for its size by limits older than this. */
const LIMITS_RECENT_MS = 1_000;
const CLOSE_TIMEOUT_MS = 5_000;

export class KafkaLogInfo implements LogInfo {
  readonly source: string;
  readonly topic: string;
  readonly #clusterId: string;
  readonly #logger: KafkaLogger;
  readonly #admin: Admin;
  readonly #ends: SharedRequest<LogEnds[]>;
  readonly #limits: SharedRequest<TopicLimits>;
  readonly #listeners = new Set<EndListener>();
  /** What was seen; all only grow. */
  readonly #knownEnds: number[] = [];
  readonly #readableEnds: number[] = [];
  readonly #knownStarts: number[] = [];
  readonly #monotonicMs: () => number;
  #knownLimits: TopicLimits | null = null;
  /** When they were last asked for. */
  #limitsAtMs = Number.NEGATIVE_INFINITY;
  #connected: Promise<void> | null = null;
  #partitions = 0;
  #partitionsAtMs = Number.NEGATIVE_INFINITY;
  #closed = false;

  constructor(options: KafkaLogInfoOptions) {
    this.source = options.source;
    this.topic = options.topic;
    this.#clusterId = options.clusterId;
    this.#logger = options.logger;
    this.#admin = options.kafka.admin({ retry: { ...CLIENT_RETRY, retries: 0 } });
    this.#ends = new SharedRequest(() => this.#retrying(() => this.#fetchEnds()));
    this.#limits = new SharedRequest(() => this.#fetchLimits());
    this.#monotonicMs = options.monotonicMs ?? (() => performance.now());
  }

  /**
   * The number of partitions, up to 10 s old.
   * @throws {TopicMissingError}
   * @throws {KafkaUnreachableError} when no number is known yet
   */
  async partitions(): Promise<number> {
    this.#assertOpen();
    const known = this.#partitions;
    if (known === 0) await this.#ends.get();
    else if (performance.now() - this.#partitionsAtMs > PARTITIONS_FRESH_MS) {
      // It only grows, and what is known stays true: nobody has to wait, nor to fail.
      this.#partitionsAtMs = performance.now();
      this.#ends.get().catch(() => {});
    }
    return this.#partitions;
  }

  /** Names cluster, topic and partition. A topic made again under its name has the same identity: see PartitionConsumer. */
  async identity(partition: number): Promise<string> {
    checkPartition(partition, await this.partitions());
    return `kafka/${this.#clusterId}/${this.topic}/${partition}`;
  }

  /**
   * Asked for after the call, never before; concurrent calls share requests. The end is where a reader of committed
   * records comes to: below the oldest transaction still open.
   */
  async ends(partition: number): Promise<LogEnds> {
    return (await this.allEnds(partition))[partition]!;
  }

  /** The ends of all partitions, at least up to `partition`. */
  async allEnds(partition = 0): Promise<readonly LogEnds[]> {
    this.#assertOpen();
    if (this.#partitions > 0 && (partition < 0 || !Number.isInteger(partition))) {
      checkPartition(partition, this.#partitions);
    }
    const ends = await this.#ends.get();
    if (ends.length < this.#partitions && ends.length <= partition) {
      throw new InvalidRecordError(
        `topic ${this.topic} has ${ends.length} partitions and had ${this.#partitions}: it was deleted and made again. ` +
          'Restore it; or start afresh with another store (--redis-prefix)',
      );
    }
    checkPartition(partition, ends.length);
    return ends;
  }

  /** The highest end seen so far, 0 where none was; asks nobody. */
  knownEnd(partition: number): number {
    return this.#knownEnds[partition] ?? 0;
  }

  /**
   * The highest end seen so far of what a reader of committed records gets; 0 where none was. Records of a transaction
   * that is still open lie behind it, and so does what was appended behind them.
   */
  readableEnd(partition: number): number {
    return this.#readableEnds[partition] ?? 0;
  }

  /** The highest start seen so far; null where none was. */
  knownStart(partition: number): number | null {
    return this.#knownStarts[partition] ?? null;
  }

  /** Somebody learned in another way that the partition reaches `endOffset`. */
  noteEnd(partition: number, endOffset: number): void {
    if (endOffset <= this.knownEnd(partition)) return;
    this.#knownEnds[partition] = endOffset;
    for (const listener of this.#listeners) listener(partition, endOffset);
  }

  /** @returns stops listening */
  onEnd(listener: EndListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /**
   * Up to a minute old, or what was known last; Kafka's default where the cluster never let us read them. Fails only when
   * closed.
   */
  async limits(): Promise<TopicLimits> {
    this.#assertOpen();
    const known = this.#knownLimits;
    if (known === null) return this.#limits.get();
    if (this.#limitsAgeMs() > LIMITS_FRESH_MS) {
      // What is known is good enough to go on with: nobody has to wait, nor to fail.
      this.#limitsAtMs = this.#monotonicMs();
      void this.#limits.get();
    }
    return known;
  }

  /**
   * Up to a second old: asked before something is refused for its size, as the limit may have been raised. However much
   * is refused, the cluster is asked once a second.
   */
  async recentLimits(): Promise<TopicLimits> {
    this.#assertOpen();
    const known = this.#knownLimits;
    return known !== null && this.#limitsAgeMs() <= LIMITS_RECENT_MS ? known : this.#limits.get();
  }

  /** The limits as they are now: somebody changed them, if a request failed for its size. */
  async refreshLimits(): Promise<TopicLimits> {
    this.#assertOpen();
    return this.#limits.get();
  }

  /** How safe a record is that the brokers acknowledged; null where the cluster does not let us read it. */
  durability(): Promise<TopicDurability | null> {
    return this.#ifReadable('how safely the topic keeps events could not be read', async () => {
      const [{ topics }, config] = await Promise.all([
        this.#admin.fetchTopicMetadata({ topics: [this.topic] }),
        this.#config(['min.insync.replicas', 'unclean.leader.election.enable']),
      ]);
      return {
        replicas: Math.min(...topics[0]!.partitions.map(({ replicas }) => replicas.length)),
        minInsyncReplicas: Number(config.get('min.insync.replicas')),
        uncleanElection: config.get('unclean.leader.election.enable') === 'true',
      };
    });
  }

  /** What matters of a topic that events are read from; null where the cluster does not let us read it. */
  sourceSettings(): Promise<SourceTopicSettings | null> {
    return this.#ifReadable('how long the topic keeps events could not be read', async () => {
      const config = await this.#config(['message.timestamp.type', 'retention.ms', 'retention.bytes']);
      const limit = (name: string): number => {
        const value = Number(config.get(name) ?? -1);
        return value < 0 ? Number.POSITIVE_INFINITY : value;
      };
      return {
        logAppendTime: config.get('message.timestamp.type') === 'LogAppendTime',
        retentionMs: limit('retention.ms'),
        retentionBytes: limit('retention.bytes'),
      };
    });
  }

  /** By partition: the first offset of a record appended at `timeMs` or later; the end where there is none. */
  async offsetsAt(timeMs: number): Promise<readonly number[]> {
    return this.#retrying(async () => {
      await this.#connect();
      const offsets: number[] = [];
      const answer = await this.#admin.fetchTopicOffsetsByTimestamp(this.topic, timeMs);
      for (const { partition, offset } of answer) offsets[partition] = Number(offset);
      return offsets;
    });
  }

  /**
   * Makes the topic, with the brokers' clock for append times, unless it exists.
   * @param replicationFactor −1: the cluster's default
   * @returns whether it was made
   */
  async ensureTopic({ partitions, replicationFactor = -1, retentionMs }: EnsureTopic): Promise<boolean> {
    this.#assertOpen();
    const minInsyncReplicas = minInsyncReplicasOf(replicationFactor);
    return this.#retrying(async () => {
      try {
        await this.#fetchEnds();
        return false;
      } catch (error) {
        if (!(error instanceof TopicMissingError)) throw error;
      }
      const made = await this.#admin.createTopics({
        topics: [
          {
            topic: this.topic,
            numPartitions: partitions,
            replicationFactor,
            configEntries: [
              { name: 'message.timestamp.type', value: 'LogAppendTime' },
              { name: 'cleanup.policy', value: 'delete' },
              ...(minInsyncReplicas === null
                ? []
                : [{ name: 'min.insync.replicas', value: String(minInsyncReplicas) }]),
              ...(retentionMs === undefined
                ? []
                : [{ name: 'retention.ms', value: Number.isFinite(retentionMs) ? `${retentionMs}` : '-1' }]),
            ],
          },
        ],
      });
      await this.#waitUntilSeen();
      return made;
    });
  }

  /** Bounded by 5 s. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#listeners.clear();
    await settledWithin(CLOSE_TIMEOUT_MS, this.#admin.disconnect());
  }

  async #fetchEnds(): Promise<LogEnds[]> {
    await this.#connect();
    let answer: Awaited<ReturnType<Admin['fetchTopicOffsets']>>;
    try {
      answer = await this.#admin.fetchTopicOffsets(this.topic);
    } catch (error) {
      throw protocolErrorOf(error) === 'UNKNOWN_TOPIC_OR_PARTITION' ? topicMissing(this.topic, error) : error;
    }
    const ends: LogEnds[] = [];
    for (const { partition, high, low } of answer) {
      // The start is asked for after the end: retention may have passed it in between.
      ends[partition] = { startOffset: Number(low), endOffset: Math.max(Number(high), Number(low)) };
    }
    if (ends.length === 0 || ends.length !== answer.length) {
      throw new KafkaUnreachableError(`some partitions of topic ${this.topic} have no leader in Kafka`);
    }
    this.#partitions = Math.max(this.#partitions, ends.length);
    this.#partitionsAtMs = performance.now();
    ends.forEach(({ startOffset, endOffset }, partition) => {
      this.#readableEnds[partition] = Math.max(endOffset, this.readableEnd(partition));
      this.#knownStarts[partition] = Math.max(startOffset, this.#knownStarts[partition] ?? 0);
      this.noteEnd(partition, endOffset);
    });
    return ends;
  }

  /** Not every broker knows of a topic just made. */
  async #waitUntilSeen(): Promise<void> {
    const startedMs = performance.now();
    for (;;) {
      try {
        await this.#fetchEnds();
        return;
      } catch (error) {
        if (performance.now() - startedMs > TRY_FOR_MS) throw error;
        await new Promise((resolve) => setTimeout(resolve, FIRST_BACKOFF_MS));
      }
    }
  }

  #limitsAgeMs(): number {
    return this.#monotonicMs() - this.#limitsAtMs;
  }

  async #fetchLimits(): Promise<TopicLimits> {
    const atMs = this.#monotonicMs();
    const first = this.#knownLimits === null;
    let limits = this.#knownLimits ?? { maxMessageBytes: DEFAULT_MAX_MESSAGE_BYTES, compacted: false };
    try {
      await this.#connect();
      const config = await this.#config(['max.message.bytes', 'cleanup.policy']);
      limits = {
        maxMessageBytes: Number(config.get('max.message.bytes') ?? DEFAULT_MAX_MESSAGE_BYTES),
        compacted: /\bcompact\b/.test(config.get('cleanup.policy') ?? ''),
      };
    } catch (error) {
      if (first) {
        this.#logger.warn(
          { topic: this.topic, reason: messageOf(error) },
          'the configuration of the topic could not be read: assuming records of up to 1 MB',
        );
      }
    }
    this.#knownLimits = limits;
    this.#limitsAtMs = atMs;
    return limits;
  }

  /** Only for warnings: where it cannot be read, that is said and nothing else changes. */
  async #ifReadable<T>(otherwise: string, read: () => Promise<T>): Promise<T | null> {
    this.#assertOpen();
    try {
      return await this.#retrying(async () => {
        await this.#connect();
        return read();
      });
    } catch (error) {
      this.#logger.info({ topic: this.topic, reason: messageOf(error) }, otherwise);
      return null;
    }
  }

  async #config(configNames: string[]): Promise<Map<string, string>> {
    const { resources } = await this.#admin.describeConfigs({
      includeSynonyms: false,
      resources: [{ type: kafkajs.ConfigResourceTypes.TOPIC, name: this.topic, configNames }],
    });
    const entries = resources[0]?.configEntries ?? [];
    return new Map(entries.map(({ configName, configValue }) => [configName, configValue]));
  }

  #connect(): Promise<void> {
    this.#connected ??= this.#admin.connect().catch((error: unknown) => {
      this.#connected = null;
      throw new KafkaUnreachableError(`Kafka was not reached for topic ${this.topic}: ${messageOf(error)}`, {
        cause: error,
      });
    });
    return this.#connected;
  }

  /** A topic just made, a leader just moved: such answers change by themselves within moments. */
  async #retrying<T>(request: () => Promise<T>): Promise<T> {
    const startedMs = performance.now();
    for (let attempt = 1; ; attempt++) {
      try {
        return await request();
      } catch (error) {
        if (error instanceof TopicMissingError || this.#closed) throw error;
        if (attempt === TRIES || performance.now() - startedMs > TRY_FOR_MS) {
          if (error instanceof KafkaUnreachableError) throw error;
          throw new KafkaUnreachableError(
            `the offsets of topic ${this.topic} could not be read from Kafka: ${messageOf(error)}`,
            { cause: error },
          );
        }
        await new Promise((resolve) => setTimeout(resolve, FIRST_BACKOFF_MS * 2 ** attempt));
      }
    }
  }

  #assertOpen(): void {
    if (this.#closed) throw new LogClosedError(`the log of source ${this.source} is closed`);
  }
}

export interface EnsureTopic {
  readonly partitions: number;
  readonly replicationFactor?: number;
  /** How long records are kept, ms; Infinity: for ever. @default the brokers' */
  readonly retentionMs?: number;
}

function topicMissing(topic: string, cause: unknown): TopicMissingError {
  // Whoever makes the topic by hand would be stopped by the next one that is missing.
  const letters = isDeadLetterTopic(topic)
    ? ''
    : `, and for what cannot be used ${deadLetterTopic(topic)} likewise`;
  // The letters of a topic are appended to, never counted on.
  const ifDeleted = isDeadLetterTopic(topic)
    ? ''
    : '. Where a store was filled from a topic of that name, one made again does not go on with it: restore the topic, or ' +
      'start afresh with another --redis-prefix';
  return new TopicMissingError(
    `there is no topic ${topic}: start with --create-topics, or create it (kafka-topics.sh --create --topic ${topic} ` +
      `--partitions 4 --config message.timestamp.type=LogAppendTime)${letters}${ifDeleted}`,
    { cause },
  );
}
