/**
 * Reads a source's topic through a consumer group.
 *
 * kafkajs pushes, a log is pulled: batches go into a bounded feed per partition (`PartitionFeed`), and a partition
 * whose feed is full is paused. A partition is fetched from the first read on, at the offset that read asks for;
 * reading elsewhere than where the last read ended seeks. The rules that keep records from being skipped:
 *
 * 1. A batch counts only if it was fetched at the offset expected (`fetchedOffset`). Otherwise the partition is
 *    paused, the log's start is compared, and it seeks again.
 * 2. A batch without records does not say where it was fetched: it counts only when no fetch from before the last
 *    seek can be under way (`FetchRounds`), and, where it begins beyond the offset expected, only after the log is
 *    known to hold that offset still (a hole of compaction, not a jump of kafkajs).
 * 3. After a join, every partition seeks to its offset expected before anything is fetched.
 */
import { checkPartition } from '../append-record.ts';
import type { LogChunk, LogEnds, LogReader, ReadArgs } from '../event-log.ts';
import { LogClosedError, OffsetOutOfRangeError } from '../log-errors.ts';
import {
  type EmptyBatch,
  type FetchedBatch,
  GroupMember,
  type GroupTimings,
  type MemberState,
} from './consumer-group.ts';
import { ConsumerHealth } from './consumer-health.ts';
import { FetchRounds, type RoundMark } from './fetch-rounds.ts';
import type { KafkaLogger } from './kafka-client.ts';
import { ConsumerStalledError, messageOf, PartitionNotAssignedError } from './kafka-errors.ts';
import { toLogRecords } from './kafka-record.ts';
import { PartitionFeed } from './partition-feed.ts';
import type { KafkaLogInfo, KafkaLogInfoOptions } from './topic-offsets.ts';
import { settledWithin } from './within.ts';

export interface KafkaLogReaderOptions {
  readonly kafka: KafkaLogInfoOptions['kafka'];
  readonly info: KafkaLogInfo;
  readonly logger: KafkaLogger;
  /** @default `millrace.<source>` */
  readonly groupId?: string;
  /**
   * Names whoever shares the partitions: a member joins only a group whose other members have the same name, and read
   * the same topic. @default none
   */
  readonly deployment?: string;
  /** The partition is ours from now on. */
  readonly onAssigned?: (partition: number) => void;
  /** The partition is another's; reads of it fail from now on. Called before they do. */
  readonly onRevoked?: (partition: number) => void;
  /** It does not move and did not recover: the process should end. Called once. */
  readonly onStalled?: (error: ConsumerStalledError) => void;
  /** How long it may stand still before `onStalled`. @default 60000 */
  readonly stallMs?: number;
  /** Bytes of records waiting in one partition, all partitions together, at about which fetching pauses. */
  readonly maxQueuedBytes?: { readonly partition?: number; readonly total?: number };
  readonly timings?: GroupTimings;
}

export interface ReaderStatus {
  readonly state: MemberState;
  readonly assigned: readonly number[];
  /** Why it crashed last, or stalls. */
  readonly reason?: string;
}

const DEFAULT_PARTITION_BYTES = 8 * 1024 * 1024;
const DEFAULT_TOTAL_BYTES = 64 * 1024 * 1024;
const LEAST_PARTITION_BYTES = 1024 * 1024;
const MAX_QUEUED_RECORDS = 50_000;
/** How long a read waits for records that are known to be there. */
const READ_WAIT_MS = 250;
const CHECK_MS = 5_000;
const COMMIT_MS = 5_000;
const LAST_COMMIT_TIMEOUT_MS = 2_000;

/** A partition that is ours. */
interface Assigned {
  readonly feed: PartitionFeed;
  /** Reads of one partition take turns. */
  turn: Promise<unknown>;
  paused: boolean;
  /** Its position is being compared with the log's ends; nothing may be fetched meanwhile. */
  checking: boolean;
  sought: RoundMark | null;
  highWatermark: number;
}

export class KafkaLogReader implements LogReader {
  readonly source: string;
  readonly groupId: string;
  readonly #options: KafkaLogReaderOptions;
  readonly #info: KafkaLogInfo;
  readonly #assigned = new Map<number, Assigned>();
  readonly #rounds = new FetchRounds();
  readonly #commits = new Map<number, number>();
  readonly #stallMs: number;
  #member: GroupMember | null = null;
  #health: ConsumerHealth;
  #stopListening: (() => void) | null = null;
  #checkTimer: NodeJS.Timeout | null = null;
  #commitTimer: NodeJS.Timeout | null = null;
  #committing: Promise<void> | null = null;
  #commitFailures = 0;
  #crashes = 0;
  #reason: string | null = null;
  #stalled = false;
  #checkingEnds = false;
  #closing: Promise<void> | null = null;

  constructor(options: KafkaLogReaderOptions) {
    this.#options = options;
    this.#info = options.info;
    this.source = options.info.source;
    this.groupId = options.groupId ?? `millrace.${this.source}`;
    this.#stallMs = options.stallMs ?? 60_000;
    this.#health = new ConsumerHealth(this.#stallMs, performance.now());
  }

  /**
   * Joins the group; partitions come by `onAssigned`.
   * @throws {TopicMissingError}
   * @throws {KafkaUnreachableError}
   */
  async start(): Promise<void> {
    this.#assertOpen();
    const partitions = await this.#info.partitions();
    const { maxMessageBytes } = await this.#info.limits();
    this.#assertOpen();
    if (this.#member !== null) return;
    const { kafka, logger, timings, deployment = '' } = this.#options;
    this.#health = new ConsumerHealth(this.#stallMs, performance.now());
    this.#member = new GroupMember({
      kafka,
      topic: this.#info.topic,
      partitions,
      groupId: this.groupId,
      deployment,
      logger,
      ...(timings === undefined ? {} : { timings }),
      maxMessageBytes,
      events: {
        joined: (partitions) => this.#onJoined(partitions),
        crashed: (error) => this.#onCrashed(error),
        batch: (batch) => this.#onBatch(batch),
        emptyBatch: (batch) => this.#onEmptyBatch(batch),
        fetchStarted: (nodeId) => this.#rounds.fetchStarted(nodeId, performance.now()),
        alive: () => this.#health.alive(performance.now()),
      },
    });
    this.#stopListening = this.#info.onEnd((partition, endOffset) => {
      this.#assigned.get(partition)?.feed.waiters.wake(partition, endOffset);
    });
    this.#checkTimer = setInterval(
      () => {
        void this.#checkEnds();
        this.#checkHealth();
      },
      Math.min(CHECK_MS, this.#stallMs / 4),
    );
    this.#checkTimer.unref();
    this.#member.start();
  }

  status(): ReaderStatus {
    const state = this.#closing !== null ? 'stopped' : (this.#member?.state ?? 'joining');
    const assigned = [...this.#assigned.keys()].sort((a, b) => a - b);
    return this.#reason === null ? { state, assigned } : { state, assigned, reason: this.#reason };
  }

  /** Of this instance; for metrics. */
  counters(): { readonly crashes: number; readonly commitFailures: number; readonly queuedBytes: number } {
    let queuedBytes = 0;
    for (const { feed } of this.#assigned.values()) queuedBytes += feed.queuedBytes;
    return { crashes: this.#crashes, commitFailures: this.#commitFailures, queuedBytes };
  }

  partitions(): Promise<number> {
    return this.#info.partitions();
  }

  identity(partition: number): Promise<string> {
    return this.#info.identity(partition);
  }

  ends(partition: number): Promise<LogEnds> {
    return this.#info.ends(partition);
  }

  /**
   * See `LogReader`. Where the log is known to go on but nothing was fetched yet, it waits up to 250 ms and may
   * return nothing all the same; `waitFor` resolves then.
   *
   * @throws {PartitionNotAssignedError}
   * @throws {OffsetOutOfRangeError} below the log's start, or when the log lost what it had; compare `ends()`
   * @throws {LogClosedError}
   */
  async read(args: ReadArgs): Promise<LogChunk> {
    this.#assertOpen();
    checkPartition(args.partition, await this.#info.partitions());
    const assigned = this.#ours(args.partition);
    const turn = assigned.turn.then(
      () => this.#read(assigned, args),
      () => this.#read(assigned, args),
    );
    assigned.turn = turn;
    return turn;
  }

  /**
   * Also resolves when the log is known to go on (the records may still be on their way), when the position passed
   * `offset` without records, and when the next read will fail.
   * @throws {PartitionNotAssignedError} also when it is revoked meanwhile
   */
  async waitFor(partition: number, offset: number, signal: AbortSignal): Promise<void> {
    this.#assertOpen();
    const { feed, highWatermark } = this.#ours(partition);
    if (feed.failure !== null || (feed.expected ?? 0) > offset) return;
    if (Math.max(highWatermark, this.#info.knownEnd(partition)) > offset) return;
    await feed.waiters.wait(partition, offset, signal);
  }

  /** Shows the group's progress to whoever monitors it; at most every 5 s, and nothing depends on it. */
  commit(partition: number, nextOffset: number): void {
    if (this.#closing !== null || !this.#assigned.has(partition)) return;
    this.#commits.set(partition, nextOffset);
    if (this.#commitTimer !== null) return;
    this.#commitTimer = setTimeout(() => {
      this.#commitTimer = null;
      void this.#flushCommits();
    }, COMMIT_MS);
    this.#commitTimer.unref();
  }

  /** Leaves the group. Bounded by some 13 s; never rejects. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#stopListening?.();
    if (this.#checkTimer !== null) clearInterval(this.#checkTimer);
    if (this.#commitTimer !== null) clearTimeout(this.#commitTimer);
    await settledWithin(LAST_COMMIT_TIMEOUT_MS, this.#flushCommits());
    const closed = this.#closedError();
    for (const { feed } of this.#assigned.values()) feed.close(closed);
    this.#assigned.clear();
    await this.#member?.stop();
  }

  async #read(assigned: Assigned, { fromOffset, maxRecords, maxBytes }: ReadArgs): Promise<LogChunk> {
    const { feed } = assigned;
    const nothing = { records: [], nextOffset: fromOffset };
    feed.assertOpen();
    if (maxRecords < 1) return nothing;
    if (feed.position !== fromOffset && !(await this.#goTo(assigned, fromOffset))) return nothing;
    const deadlineMs = performance.now() + READ_WAIT_MS;
    for (;;) {
      feed.assertOpen();
      if (feed.position !== fromOffset) return nothing;
      const chunk = feed.take(maxRecords, maxBytes);
      this.#regulate(assigned);
      if (chunk.records.length > 0 || chunk.nextOffset > fromOffset) return chunk;
      const { failure } = feed;
      if (failure !== null) {
        feed.unposition();
        this.#regulate(assigned);
        throw failure;
      }
      const endOffset = Math.max(assigned.highWatermark, this.#info.knownEnd(feed.partition));
      const leftMs = deadlineMs - performance.now();
      if (endOffset <= fromOffset || leftMs <= 0) return nothing;
      const late = new AbortController();
      const timer = setTimeout(() => late.abort(), leftMs);
      await feed.waiters.wait(feed.partition, fromOffset, late.signal).finally(() => clearTimeout(timer));
    }
  }

  /** Moves the position; false where the log does not reach so far. */
  async #goTo(assigned: Assigned, fromOffset: number): Promise<boolean> {
    const { feed } = assigned;
    const { partition } = feed;
    // What was seen of the ends is enough to begin inside of them: the start only grows, and is compared whenever
    // kafkajs answers from elsewhere.
    const knownStart = this.#info.knownStart(partition);
    if (knownStart === null || fromOffset < knownStart || fromOffset >= this.#info.knownEnd(partition)) {
      const { startOffset, endOffset } = await this.#info.ends(partition);
      feed.assertOpen();
      if (fromOffset < startOffset || fromOffset > endOffset) {
        feed.unposition();
        this.#regulate(assigned);
        if (fromOffset < startOffset)
          throw this.#outOfRange(partition, fromOffset, { startOffset, endOffset });
        return false;
      }
    }
    feed.seek(fromOffset);
    this.#seek(assigned);
    this.#regulate(assigned);
    return true;
  }

  #onJoined(partitions: readonly number[]): void {
    this.#health.joined(performance.now());
    this.#reason = null;
    const ours = new Set(partitions);
    this.#revoke([...this.#assigned.keys()].filter((partition) => !ours.has(partition)));
    const limits = this.#feedLimits(partitions.length);
    const fresh: number[] = [];
    for (const partition of partitions) {
      let assigned = this.#assigned.get(partition);
      if (assigned === undefined) {
        assigned = {
          feed: new PartitionFeed(partition, limits),
          turn: Promise.resolve(),
          paused: false,
          checking: false,
          sought: null,
          highWatermark: 0,
        };
        this.#assigned.set(partition, assigned);
        fresh.push(partition);
      }
      assigned.feed.limits = limits;
      this.#seek(assigned);
      // What kafkajs still remembers of pauses may be of an earlier assignment.
      assigned.paused = mustPause(assigned);
      if (assigned.paused) this.#member!.pause(partition);
      else this.#member!.resume(partition);
    }
    for (const partition of fresh) this.#tell(() => this.#options.onAssigned?.(partition));
  }

  #onCrashed(error: Error): void {
    this.#crashes++;
    this.#reason = error.message;
    this.#health.crashed(performance.now());
    this.#rounds.clear();
    this.#revoke([...this.#assigned.keys()]);
  }

  #revoke(partitions: readonly number[]): void {
    for (const partition of partitions) {
      const { feed } = this.#assigned.get(partition)!;
      this.#assigned.delete(partition);
      this.#commits.delete(partition);
      this.#tell(() => this.#options.onRevoked?.(partition));
      feed.close(this.#notAssigned(partition));
    }
  }

  #onBatch(batch: FetchedBatch): number | null {
    const assigned = this.#assigned.get(batch.partition);
    if (assigned === undefined) return null;
    const { feed } = assigned;
    if (mustPause(assigned) && !feed.isFull) {
      this.#regulate(assigned);
      return null;
    }
    if (batch.fetchedOffset !== feed.expected) {
      void this.#recheck(assigned, null);
      return null;
    }
    feed.push(
      toLogRecords({ topic: this.#info.topic, partition: batch.partition }, batch.messages),
      batch.nextOffset,
    );
    assigned.highWatermark = batch.highWatermark;
    this.#regulate(assigned);
    return batch.nextOffset;
  }

  #onEmptyBatch({ partition, firstOffset, lastOffset }: EmptyBatch): void {
    const assigned = this.#assigned.get(partition);
    if (assigned === undefined) return;
    const { expected } = assigned.feed;
    if (expected === null || assigned.feed.failure !== null || assigned.checking) return;
    const { sought } = assigned;
    if (sought !== null && !this.#rounds.isOver(sought, performance.now())) {
      // Perhaps of the place before the seek, and kafkajs goes on behind it.
      this.#seek(assigned);
      return;
    }
    // Without a first offset it covers just the one offset it was fetched at.
    if ((firstOffset ?? lastOffset) === expected) assigned.feed.pass(lastOffset + 1);
    else void this.#recheck(assigned, (firstOffset ?? lastOffset) > expected ? lastOffset + 1 : null);
  }

  /**
   * Something came from elsewhere than expected: does the log still hold what we expect? If so, seek there again;
   * or, where nothing but a hole lies before `holeEnd`, go on behind it.
   */
  async #recheck(assigned: Assigned, holeEnd: number | null): Promise<void> {
    if (assigned.checking) return;
    assigned.checking = true;
    this.#regulate(assigned);
    const { feed } = assigned;
    const { partition, expected } = feed;
    try {
      const ends = await this.#info.ends(partition);
      if (expected === null || feed.expected !== expected) return;
      if (expected < ends.startOffset || expected > ends.endOffset) {
        feed.fail(this.#outOfRange(partition, expected, ends));
      } else if (holeEnd !== null) {
        feed.pass(holeEnd);
      }
    } catch (error) {
      this.#options.logger.debug(
        { topic: this.#info.topic, partition, reason: messageOf(error) },
        'the ends of the partition could not be read',
      );
    } finally {
      assigned.checking = false;
      if (this.#assigned.get(partition) === assigned) {
        this.#seek(assigned);
        this.#regulate(assigned);
      }
    }
  }

  /** Makes kafkajs go on where the feed expects it to. */
  #seek(assigned: Assigned): void {
    const { partition, expected, failure } = assigned.feed;
    if (expected === null || failure !== null) return;
    this.#member!.seek(partition, expected);
    assigned.sought = this.#rounds.mark();
  }

  /** Pauses a partition that wants nothing now, resumes one that does. */
  #regulate(assigned: Assigned): void {
    if (this.#assigned.get(assigned.feed.partition) !== assigned) return;
    if (!assigned.paused && mustPause(assigned)) {
      assigned.paused = true;
      this.#member!.pause(assigned.feed.partition);
    } else if (assigned.paused && !mustPause(assigned) && assigned.feed.isHalfEmpty) {
      assigned.paused = false;
      this.#member!.resume(assigned.feed.partition);
    }
  }

  /** Did the log lose what we expect next? Also learns of ends that nobody asked for. */
  async #checkEnds(): Promise<void> {
    if (this.#checkingEnds) return;
    this.#checkingEnds = true;
    const expected = new Map([...this.#assigned].map(([partition, { feed }]) => [partition, feed.expected]));
    try {
      const ends = await this.#info.allEnds();
      for (const [partition, { feed }] of this.#assigned) {
        const at = expected.get(partition) ?? null;
        const own = ends[partition];
        if (own === undefined || at === null || feed.expected === null) continue;
        // The end is as old as the request; the start only grows.
        const lost = feed.expected < own.startOffset || (feed.expected === at && at > own.endOffset);
        if (lost) feed.fail(this.#outOfRange(partition, feed.expected, own));
      }
    } catch {
      // Unreachable brokers show as missing heartbeats.
    } finally {
      this.#checkingEnds = false;
    }
  }

  /** Does everything still move? */
  #checkHealth(): void {
    if (this.#stalled) return;
    const reason = this.#health.check(
      performance.now(),
      [...this.#assigned.values()].map(({ feed, paused, checking }) => ({
        partition: feed.partition,
        expected: feed.expected ?? 0,
        // Not what is known to be appended: behind an open transaction nothing can be read, however long it takes.
        endOffset: this.#info.readableEnd(feed.partition),
        idle: feed.expected === null || paused || checking || !feed.isEmpty,
      })),
    );
    if (reason === null) return;
    this.#stalled = true;
    this.#reason = this.#reason === null ? reason : `${reason} (${this.#reason})`;
    const error = new ConsumerStalledError(
      `the consumer of topic ${this.#info.topic} stands still for ${this.#stallMs} ms: ${this.#reason}`,
    );
    this.#tell(() => this.#options.onStalled?.(error));
  }

  async #flushCommits(): Promise<void> {
    await this.#committing;
    if (this.#commits.size === 0 || this.#member === null) return;
    const offsets = new Map(this.#commits);
    this.#commits.clear();
    this.#committing = this.#member.commit(offsets).catch(() => {
      this.#commitFailures++;
    });
    await this.#committing;
    this.#committing = null;
  }

  #feedLimits(partitions: number): { maxBytes: number; maxRecords: number } {
    const { partition = DEFAULT_PARTITION_BYTES, total = DEFAULT_TOTAL_BYTES } =
      this.#options.maxQueuedBytes ?? {};
    const share = Math.max(LEAST_PARTITION_BYTES, Math.floor(total / Math.max(1, partitions)));
    return { maxBytes: Math.min(partition, share), maxRecords: MAX_QUEUED_RECORDS };
  }

  #ours(partition: number): Assigned {
    const assigned = this.#assigned.get(partition);
    if (assigned === undefined) throw this.#notAssigned(partition);
    return assigned;
  }

  #tell(call: () => void): void {
    try {
      call();
    } catch (error) {
      this.#options.logger.error({ reason: messageOf(error) }, 'a listener of the Kafka reader threw');
    }
  }

  #assertOpen(): void {
    if (this.#closing !== null) throw this.#closedError();
  }

  #closedError(): LogClosedError {
    return new LogClosedError(`the log of source ${this.source} is closed`);
  }

  #notAssigned(partition: number): PartitionNotAssignedError {
    return new PartitionNotAssignedError(
      `partition ${partition} of topic ${this.#info.topic} is not assigned to this member of group ${this.groupId}`,
    );
  }

  #outOfRange(partition: number, offset: number, ends: LogEnds): OffsetOutOfRangeError {
    return new OffsetOutOfRangeError(`topic ${this.#info.topic}, partition ${partition}`, offset, ends);
  }
}

function mustPause({ feed, checking }: Assigned): boolean {
  return feed.expected === null || feed.failure !== null || checking || feed.isFull;
}
