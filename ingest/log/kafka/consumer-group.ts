/**
 * Our membership in a topic's consumer group: one kafkajs consumer at a time, made again when it crashes.
 *
 * It knows what kafkajs does behind our back, and nothing of records:
 *
 * - After every join kafkajs has forgotten positions; `joined` is called before it fetches again, so that seeks and
 *   pauses made there hold.
 * - A consumer that crashes stays crashed (kafkajs would restart it, but keeps what made it crash, see kafkajs
 *   issues 1513 and 659): it is dropped and another is made.
 * - Positions are never committed for kafkajs's sake. What is committed is for display (lag monitors).
 * - A group shares out the topics of all its members among all of them, also those that a member cannot read, and those
 *   that another deployment reads as well: half of the partitions would stand still, and nobody would say so. So the
 *   name of our assigner says for whom it assigns: brokers refuse a member that has none of the group's assigners.
 */

import { setTimeout as delay } from 'node:timers/promises';
import kafkajs, {
  type Batch,
  type Consumer,
  type EachBatchPayload,
  type Kafka,
  type KafkaMessage,
  type PartitionAssigner,
} from 'kafkajs';
import type { KafkaLogger } from './kafka-client.ts';
import { GroupOccupiedError, messageOf, protocolErrorOf } from './kafka-errors.ts';
import { DEFAULT_LINGER_MS } from './linger.ts';
import { settledWithin } from './within.ts';

export interface GroupTimings {
  /** Without a heartbeat for so long a member is dropped. @default 30000 */
  readonly sessionTimeoutMs?: number;
  /** @default 3000 */
  readonly heartbeatIntervalMs?: number;
  /** How long a rebalance waits for its members; below the time after which a reader is called stalled. @default 45000 */
  readonly rebalanceTimeoutMs?: number;
  /** Within this time a grown topic's partitions are noticed. @default 30000 */
  readonly metadataMaxAgeMs?: number;
  /** How long a broker waits for records before it answers a fetch with none. @default 50 */
  readonly maxWaitMs?: number;
  /**
   * How long after records at a partition's end the next fetch from its broker is held back, so that what comes meanwhile is
   * one fetch and one chunk. Partitions of that broker with a backlog wait too, for up to 16 MiB. @default `DEFAULT_LINGER_MS`
   */
  readonly lingerMs?: number;
}

export interface GroupMemberOptions {
  readonly kafka: Kafka;
  readonly topic: string;
  readonly groupId: string;
  /** That the topic has. */
  readonly partitions: number;
  /** Members of one group must agree in it. */
  readonly deployment: string;
  readonly logger: KafkaLogger;
  readonly timings?: GroupTimings;
  /** Largest batch of the topic: a fetch must have room for it, or kafkajs may never get past it. */
  readonly maxMessageBytes: number;
  readonly events: GroupEvents;
}

/** All calls are synchronous and must not throw. */
export interface GroupEvents {
  /** The partitions that are ours from now on. */
  joined(partitions: readonly number[]): void;
  /** The consumer is gone, and with it every partition; another is made. */
  crashed(error: Error): void;
  /** @returns where the partition goes on, or null to leave it where it was */
  batch(batch: FetchedBatch): number | null;
  /** A batch that held no record for us: transaction markers, aborted records, or only holes of compaction. */
  emptyBatch(batch: EmptyBatch): void;
  /** A fetch from this broker begins: all that came from it before has been handed on. */
  fetchStarted(nodeId: string): void;
  /** A sign of life: a fetch or a heartbeat was answered, be it by "rejoin". */
  alive(): void;
}

export interface FetchedBatch {
  readonly partition: number;
  readonly fetchedOffset: number;
  readonly messages: readonly KafkaMessage[];
  /** Behind everything the batch covers, records or not. */
  readonly nextOffset: number;
  /** The end of the log when it was fetched; records of open transactions included. */
  readonly highWatermark: number;
}

export interface EmptyBatch {
  readonly partition: number;
  /** First offset that was there; null: nothing was at or beyond the offset fetched, in a batch that covers it. */
  readonly firstOffset: number | null;
  readonly lastOffset: number;
}

export type MemberState = 'joining' | 'running' | 'crashed' | 'stopped';

const BACKOFF_MS = { first: 500, last: 10_000 };
const JOIN_BEFORE_LEAVING_MS = 3_000;
const LEAVE_TIMEOUT_MS = 8_000;
/**
 * Batches handled at a time, of all brokers: as many as there are partitions, as one that lingers must not keep those of
 * others waiting. kafkajs asks every one of its workers at every fetch, so not many more; at least some, as a topic may grow.
 */
const CONCURRENCY = { min: 16, max: 256 };
const FETCH_BYTES = 16 * 1024 * 1024;
const MIN_PARTITION_BYTES = 1024 * 1024;

/** Members that are there at run time and not in kafkajs's types. */
type RawMessage = KafkaMessage & {
  readonly batchContext?: { readonly firstOffset: string; readonly lastOffsetDelta: number };
};
interface RawBatch extends Batch {
  readonly fetchedOffset: string;
  /** Also control records and those of aborted transactions; also below the offset fetched. */
  readonly rawMessages: readonly RawMessage[];
}

export class GroupMember {
  readonly #options: GroupMemberOptions;
  #consumer: Consumer | null = null;
  #state: MemberState = 'joining';
  #backoffMs = BACKOFF_MS.first;
  #relaunch: NodeJS.Timeout | null = null;
  #onJoined: (() => void) | null = null;

  constructor(options: GroupMemberOptions) {
    this.#options = options;
  }

  get state(): MemberState {
    return this.#state;
  }

  start(): void {
    this.#launch();
  }

  /** Forgets what was fetched and not handed on; the next fetch begins at `offset`. */
  seek(partition: number, offset: number): void {
    this.#whileRunning((consumer, topic) => consumer.seek({ topic, partition, offset: String(offset) }));
  }

  pause(partition: number): void {
    this.#whileRunning((consumer, topic) => consumer.pause([{ topic, partitions: [partition] }]));
  }

  resume(partition: number): void {
    this.#whileRunning((consumer, topic) => consumer.resume([{ topic, partitions: [partition] }]));
  }

  /** For display only; rejects where the group moved on. */
  async commit(offsets: ReadonlyMap<number, number>): Promise<void> {
    const { topic } = this.#options;
    await this.#consumer?.commitOffsets(
      [...offsets].map(([partition, offset]) => ({ topic, partition, offset: String(offset) })),
    );
  }

  /** Leaves the group, so that the others need not wait for the session to end. Bounded by 11 s; never rejects. */
  async stop(): Promise<void> {
    if (this.#state === 'stopped') return;
    const consumer = this.#consumer;
    if (this.#relaunch !== null) clearTimeout(this.#relaunch);
    if (consumer !== null && this.#state === 'joining') {
      // kafkajs can not leave a group it is about to join: the others would wait for a member that is gone.
      await settledWithin(
        JOIN_BEFORE_LEAVING_MS,
        new Promise<void>((resolve) => {
          this.#onJoined = resolve;
        }),
      );
    }
    // One that crashed meanwhile would come again.
    if (this.#relaunch !== null) clearTimeout(this.#relaunch);
    this.#state = 'stopped';
    this.#consumer = null;
    if (consumer !== null) await settledWithin(LEAVE_TIMEOUT_MS, consumer.disconnect());
  }

  /** What is lost between two consumers, `joined` says again. */
  #whileRunning(act: (consumer: Consumer, topic: string) => void): void {
    if (this.#state !== 'running' || this.#consumer === null) return;
    try {
      act(this.#consumer, this.#options.topic);
    } catch {
      // It is stopping already, and its crash about to be reported.
    }
  }

  #launch(): void {
    this.#relaunch = null;
    this.#state = 'joining';
    const { kafka, groupId, topic, partitions, deployment, timings = {}, maxMessageBytes } = this.#options;
    const lingerMs = timings.lingerMs ?? DEFAULT_LINGER_MS;
    const consumer = kafka.consumer({
      groupId,
      partitionAssigners: [roundRobinNamed(`millrace ${topic} ${deployment}`)],
      sessionTimeout: timings.sessionTimeoutMs ?? 30_000,
      heartbeatInterval: timings.heartbeatIntervalMs ?? 3_000,
      rebalanceTimeout: timings.rebalanceTimeoutMs ?? 45_000,
      metadataMaxAge: timings.metadataMaxAgeMs ?? 30_000,
      maxWaitTimeInMs: timings.maxWaitMs ?? 50,
      maxBytes: FETCH_BYTES,
      // Only the first partition of an answer may exceed its limit: a larger batch elsewhere would have to wait
      // until all partitions before it are at their end.
      maxBytesPerPartition: Math.max(MIN_PARTITION_BYTES, maxMessageBytes + 1024),
      allowAutoTopicCreation: false,
      // Of requests; connections have the client's.
      retry: { initialRetryTime: 200, maxRetryTime: 3_000, retries: 8, restartOnFailure: async () => false },
    });
    this.#consumer = consumer;
    this.#observe(consumer);
    const isCurrent = (): boolean => this.#consumer === consumer;
    void (async () => {
      await consumer.connect();
      if (isCurrent()) await consumer.subscribe({ topic, fromBeginning: true });
      if (!isCurrent()) return consumer.disconnect();
      await consumer.run({
        autoCommit: false,
        eachBatchAutoResolve: false,
        partitionsConsumedConcurrently: Math.min(Math.max(partitions, CONCURRENCY.min), CONCURRENCY.max),
        // What it awaits, the next fetch from the same broker awaits as well.
        eachBatch: async (payload) => {
          if (isCurrent() && this.#onBatch(payload)) await delay(lingerMs);
        },
      });
      // Stopped while it was joining: a member that nobody listens to would hold partitions for ever.
      if (!isCurrent()) await consumer.disconnect();
    })().catch((error: unknown) => this.#onCrash(consumer, error));
  }

  #observe(consumer: Consumer): void {
    const { events, topic } = this.#options;
    const names = consumer.events;
    const whileCurrent =
      <T>(handle: (event: T) => void) =>
      (event: T): void => {
        if (this.#consumer === consumer) handle(event);
      };
    consumer.on(
      names.GROUP_JOIN,
      whileCurrent(({ payload }) => {
        this.#state = 'running';
        const assigned = Object.hasOwn(payload.memberAssignment, topic)
          ? [...payload.memberAssignment[topic]!]
          : [];
        events.alive();
        events.joined(assigned.sort((a, b) => a - b));
        this.#onJoined?.();
      }),
    );
    consumer.on(
      names.FETCH_START,
      whileCurrent(({ payload }) => {
        // The types say number; it is a key of an object.
        events.fetchStarted(String(payload.nodeId));
      }),
    );
    consumer.on(
      names.END_BATCH_PROCESS,
      whileCurrent(({ payload }) => {
        if (payload.topic !== topic || payload.batchSize !== 0) return;
        const firstOffset: unknown = payload.firstOffset;
        events.emptyBatch({
          partition: payload.partition,
          firstOffset: typeof firstOffset === 'string' ? Number(firstOffset) : null,
          lastOffset: Number(payload.lastOffset),
        });
      }),
    );
    consumer.on(
      names.FETCH,
      whileCurrent(() => events.alive()),
    );
    consumer.on(
      names.REBALANCING,
      whileCurrent(() => events.alive()),
    );
    consumer.on(
      names.HEARTBEAT,
      whileCurrent(() => events.alive()),
    );
    consumer.on(names.CRASH, ({ payload }) => this.#onCrash(consumer, payload.error));
  }

  /** @returns whether the partition was read to its end */
  #onBatch({ batch, resolveOffset }: EachBatchPayload): boolean {
    const { topic, partition, messages, highWatermark } = batch;
    if (topic !== this.#options.topic) return false;
    const raw = batch as RawBatch;
    const nextOffset = this.#options.events.batch({
      partition,
      fetchedOffset: Number(raw.fetchedOffset),
      messages,
      nextOffset: offsetBehind(raw),
      highWatermark: Number(highWatermark),
    });
    if (nextOffset === null) return false;
    // Not on joining: what crashes every consumer that fetches it lets them all join.
    this.#backoffMs = BACKOFF_MS.first;
    try {
      resolveOffset(String(nextOffset - 1));
    } catch {
      // A join in between took the partition from us; the next batch shows whether positions agree.
    }
    return nextOffset >= Number(highWatermark);
  }

  #onCrash(consumer: Consumer, cause: unknown): void {
    if (this.#consumer !== consumer || this.#state === 'stopped') return;
    this.#consumer = null;
    this.#state = 'crashed';
    const { logger, groupId, topic, events } = this.#options;
    const error =
      protocolErrorOf(cause) === 'INCONSISTENT_GROUP_PROTOCOL'
        ? new GroupOccupiedError(
            `consumer group ${groupId} has members that read another topic, or fill another store: ` +
              'a second deployment needs a --group of its own',
            { cause },
          )
        : cause;
    logger.warn(
      { groupId, topic, reason: messageOf(error), backoffMs: this.#backoffMs },
      'the Kafka consumer crashed: making another',
    );
    // A consumer that never joined has no partitions to lose, and may still hold its connections.
    consumer.disconnect().catch(() => {});
    events.crashed(error instanceof Error ? error : new Error(String(error)));
    this.#relaunch = setTimeout(() => this.#launch(), this.#backoffMs);
    this.#backoffMs = Math.min(2 * this.#backoffMs, BACKOFF_MS.last);
  }
}

function roundRobinNamed(name: string): PartitionAssigner {
  return (config) => ({ ...kafkajs.PartitionAssigners.roundRobin(config), name });
}

/**
 * The offset behind a batch. The last record's batch on disk may cover more offsets than it has records: those a
 * compacted topic dropped, which nobody has to fetch again to learn that they are gone.
 */
function offsetBehind(batch: RawBatch): number {
  const behind = Number(batch.lastOffset()) + 1;
  const context = batch.rawMessages.at(-1)?.batchContext;
  if (context === undefined) return behind;
  return Math.max(behind, Number(context.firstOffset) + context.lastOffsetDelta + 1);
}
