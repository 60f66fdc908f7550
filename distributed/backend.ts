/**
 * What the roles of a process run on: one Kafka client, one or two connections to Redis (reads that somebody waits for
 * have a profile of their own), the schema registry where one is configured.
 */
import type { FastifyBaseLogger } from 'fastify';
import { pino } from 'pino';
import type { ClockKind } from '../engine/clock.ts';
import type { CompiledRepo, CompiledSource } from '../engine/definitions/compiled.ts';
import type { RedisProfile } from '../engine/store/redis/redis-connection.ts';
import { DEFAULT_REDIS_PREFIX } from '../engine/store/redis/redis-keys.ts';
import { RedisTileStore, type RedisTileStoreOptions } from '../engine/store/redis/redis-tile-store.ts';
import type { TileStore } from '../engine/store/tile-store.ts';
import type { DeadLetters } from '../ingest/dead-letter.ts';
import type { RecordDecoder } from '../ingest/decoding/record-decoder.ts';
import { recordDecoder } from '../ingest/decoding/registry-record-decoder.ts';
import {
  openSchemaRegistry,
  type RegistryOptions,
  type SchemaRegistry,
} from '../ingest/decoding/schema-registry.ts';
import type { LogWriter } from '../ingest/log/event-log.ts';
import type { GroupTimings } from '../ingest/log/kafka/consumer-group.ts';
import type { KafkaSettings } from '../ingest/log/kafka/kafka-client.ts';
import { deadLetterTopic, type KafkaDeadLetters } from '../ingest/log/kafka/kafka-dead-letters.ts';
import { KafkaConnection } from '../ingest/log/kafka/kafka-log.ts';
import type { KafkaLogReader } from '../ingest/log/kafka/kafka-log-reader.ts';
import { appendTimeProblem } from '../ingest/log/kafka/source-topic.ts';
import type { KafkaLogInfo } from '../ingest/log/kafka/topic-offsets.ts';
import type { KafkaLogWriter } from '../ingest/log/kafka/topic-writer.ts';
import { sourceAppendReachMs } from '../roles/log-reach.ts';
import { reasonOf } from '../roles/reason-of.ts';
import type { Role } from './runtime.ts';

export interface BackendSettings {
  /**
   * What `now` is. `event`: the least of the partitions' highest event times, for replays; the same in every process,
   * but for the time between two looks at the watermarks. All processes over a store have the same. @default 'wall'
   */
  readonly clock?: ClockKind;
  readonly kafka: KafkaSettings;
  /** Consumer groups are named `group.source`. Deployments of other topics or another store need another. */
  readonly group: string;
  /** Makes missing topics; null: a missing topic is an error. */
  readonly createTopics: {
    readonly partitions: number;
    /** −1: the brokers' default. */
    readonly replicationFactor: number;
  } | null;
  readonly redis: Omit<RedisTileStoreOptions, 'profile' | 'onConnectionError' | 'onBreaker' | 'clock'>;
  /** null: records are JSON. */
  readonly registry: RegistryOptions | null;
  /** What becomes of records whose schema the registry does not have: see `RecordDecoderOptions`. @default 'stop' */
  readonly onLostSchema?: 'stop' | 'continue';
  /** How long a consumer may stand still before the process gives up, ms. @default 60 s */
  readonly stallMs?: number;
  /** Timeouts of the consumer groups. @default those of `GroupTimings` */
  readonly groupTimings?: GroupTimings;
  readonly logger?: FastifyBaseLogger;
}

export interface Backend {
  /** Shards of the store. */
  readonly shards: number;
  /** For ingest and compaction; null in a process that only serves. */
  readonly writingStore: TileStore | null;
  /** For reads that somebody waits for; null in a process that does not serve. */
  readonly servingStore: TileStore | null;
  /** The store's nodes that reads were sent to: HOST:PORT, and whether they are not asked for now. */
  breakers(): readonly { readonly address: string; readonly isOpen: boolean }[];
  /**
   * Whether the store is still laid out as this process found it.
   * @throws StoreFormatError where it is not: the process must not go on
   */
  confirmLayout(): Promise<void>;
  logInfo(source: CompiledSource): KafkaLogInfo;
  logWriter(source: CompiledSource): LogWriter;
  /** Not yet a member of its group: see `start`. */
  logReader(source: CompiledSource, listener: ReaderListener, reading?: ReadingApart): KafkaLogReader;
  deadLetters(source: CompiledSource): DeadLetters;
  decoder(source: CompiledSource): RecordDecoder;
  close(): Promise<void>;
}

export interface ReaderListener {
  readonly onAssigned: (partition: number) => void;
  readonly onRevoked: (partition: number) => void;
  /** The process should end and be started again. */
  readonly onStalled: (error: Error) => void;
}

/** Readers that have the log for themselves, beside those who ingest. */
export interface ReadingApart {
  /** Their group is named `group.source.groupSuffix`. */
  readonly groupSuffix: string;
  /** As in `KafkaLogReaderOptions`. */
  readonly maxQueuedBytes: { readonly partition: number; readonly total: number };
  /** As in `GroupTimings`. @default that of those who ingest */
  readonly lingerMs?: number;
}

/** @throws errors that name the server that cannot be used, and the setting it comes from */
export async function openBackend(
  settings: BackendSettings,
  repo: CompiledRepo,
  roles: ReadonlySet<Role>,
): Promise<Backend> {
  const backend = new KafkaRedisBackend(settings);
  try {
    await backend.open(repo, roles);
    return backend;
  } catch (error) {
    await backend.close().catch(() => {});
    throw error;
  }
}

/** Kafka's own default: topics of short windows are for looking into as well. */
const RETENTION_MIN_MS = 7 * 86_400_000;
/** Whoever looks for what went wrong comes late. */
const LETTERS_RETENTION_MIN_MS = 90 * 86_400_000;

class KafkaRedisBackend implements Backend {
  shards = 0;
  writingStore: RedisTileStore | null = null;
  servingStore: RedisTileStore | null = null;
  readonly #settings: BackendSettings;
  readonly #logger: FastifyBaseLogger;
  readonly #writers = new Map<CompiledSource, KafkaLogWriter>();
  readonly #deadLetters = new Map<CompiledSource, KafkaDeadLetters>();
  readonly #decoders = new Map<CompiledSource, RecordDecoder>();
  #kafka: KafkaConnection | null = null;
  #registry: SchemaRegistry | null = null;
  #closed = false;

  constructor(settings: BackendSettings) {
    this.#settings = settings;
    this.#logger = settings.logger ?? pino({ level: 'silent' });
  }

  async open(repo: CompiledRepo, roles: ReadonlySet<Role>): Promise<void> {
    const { kafka, registry } = this.#settings;
    const ingests = roles.has('ingest');
    if (ingests || roles.has('compact')) this.writingStore = await this.#store('writing');
    if (roles.has('serve')) this.servingStore = await this.#store('serving');
    this.#kafka = await KafkaConnection.open(kafka, this.#logger);
    if (registry !== null && ingests) {
      this.#registry = await openSchemaRegistry(registry);
      void this.#tryRegistry(this.#registry);
    }
    for (const source of repo.sources.values()) {
      // At least what a window can ask for, so that a store that was lost can be filled again.
      const retentionMs = Math.max(sourceAppendReachMs(source), RETENTION_MIN_MS);
      const topic = this.#connection.info(topicOf(source));
      await this.#topic(topic, { retentionMs });
      if (roles.has('serve')) await this.#writer(source).connect();
      if (!ingests) continue;
      await this.#warnOf(topic);
      await this.#topic(
        this.#connection.info({ ...topicOf(source), topic: deadLetterTopic(topicOf(source).topic) }),
        { retentionMs: Math.max(source.retentionMs, LETTERS_RETENTION_MIN_MS) },
      );
      await this.#letters(source).connect();
    }
  }

  breakers(): readonly { readonly address: string; readonly isOpen: boolean }[] {
    return this.servingStore?.breakers() ?? [];
  }

  async confirmLayout(): Promise<void> {
    await (this.servingStore ?? this.writingStore)?.confirmLayout();
  }

  logInfo(source: CompiledSource): KafkaLogInfo {
    return this.#connection.info(topicOf(source));
  }

  logWriter(source: CompiledSource): LogWriter {
    return this.#writer(source);
  }

  logReader(source: CompiledSource, listener: ReaderListener, reading?: ReadingApart): KafkaLogReader {
    const { group, redis, stallMs, groupTimings } = this.#settings;
    return this.#connection.reader(topicOf(source), {
      groupId: `${group}.${source.name}${reading === undefined ? '' : `.${reading.groupSuffix}`}`,
      deployment: redis.prefix ?? DEFAULT_REDIS_PREFIX,
      maxQueuedBytes: reading?.maxQueuedBytes ?? { partition: 1024 * 1024, total: 16 * 1024 * 1024 },
      ...(stallMs === undefined ? {} : { stallMs }),
      timings: {
        ...groupTimings,
        ...(reading?.lingerMs === undefined ? {} : { lingerMs: reading.lingerMs }),
      },
      ...listener,
    });
  }

  deadLetters(source: CompiledSource): DeadLetters {
    return this.#letters(source);
  }

  decoder(source: CompiledSource): RecordDecoder {
    const { onLostSchema } = this.#settings;
    return remembered(this.#decoders, source, () =>
      recordDecoder({
        source: source.definition,
        registry: this.#registry,
        ...(onLostSchema === undefined ? {} : { onLostSchema }),
      }),
    );
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#registry?.close();
    await Promise.all([this.#kafka?.close(), this.servingStore?.close(), this.writingStore?.close()]);
  }

  get #connection(): KafkaConnection {
    if (this.#kafka === null) throw new Error('the backend is not open');
    return this.#kafka;
  }

  async #store(profile: RedisProfile): Promise<RedisTileStore> {
    const store = await RedisTileStore.open({
      ...this.#settings.redis,
      clock: this.#settings.clock ?? 'wall',
      profile,
      onConnectionError: (error) =>
        this.#logger.warn({ profile, reason: error.message }, 'Redis: a connection was lost or refused'),
      onBreaker: (node, reason) =>
        reason === null
          ? this.#logger.warn({ node }, 'Redis: a node answers again')
          : this.#logger.warn({ node, reason }, 'Redis: a node does not answer; reads of it fail at once'),
    });
    for (const warning of store.warnings) this.#logger.warn({ profile }, `Redis: ${warning}`);
    this.shards = store.shards;
    return store;
  }

  /**
   * A wrong address shows at the start, not with the first record that needs a schema. Only a warning, for which nobody
   * waits: records in JSON do without. It is the question that will be asked; whether there is a schema 1 does not matter.
   */
  async #tryRegistry(registry: SchemaRegistry): Promise<void> {
    try {
      await registry.schemaById(1);
    } catch (error) {
      if (this.#closed) return;
      this.#logger.warn(
        { reason: reasonOf(error) },
        'records with a schema wait until the registry can be used',
      );
    }
  }

  async #warnOf(info: KafkaLogInfo): Promise<void> {
    const settings = await info.sourceSettings();
    const problem = settings === null ? null : appendTimeProblem(settings);
    if (problem !== null) this.#logger.warn({ topic: info.topic }, `Kafka: ${problem}`);
  }

  async #topic(info: KafkaLogInfo, retention: { readonly retentionMs: number }): Promise<void> {
    const { createTopics } = this.#settings;
    if (createTopics !== null && (await info.ensureTopic({ ...createTopics, ...retention }))) {
      this.#logger.info({ topic: info.topic, ...createTopics }, 'a topic was created');
    }
    await info.partitions();
  }

  #writer(source: CompiledSource): KafkaLogWriter {
    return remembered(this.#writers, source, () => this.#connection.writer(topicOf(source)));
  }

  #letters(source: CompiledSource): KafkaDeadLetters {
    return remembered(this.#deadLetters, source, () => this.#connection.deadLetters(topicOf(source)));
  }
}

const topicOf = ({ name, definition }: CompiledSource) => ({ topic: definition.topic, source: name });

function remembered<K, V>(map: Map<K, V>, key: K, make: () => V): V {
  let value = map.get(key);
  if (value === undefined) {
    value = make();
    map.set(key, value);
  }
  return value;
}
