/**
 * Produces records to the partitions of one topic, many calls in one request.
 *
 * 1. A call's records wait in their partitions' queues.
 * 2. A request takes the front of every partition that has none under way: at most one record batch per partition
 *    is in flight, so that records of one partition keep their order, also when a request is sent again. What comes
 *    meanwhile, and within some ms of the last request, shares the next one: the busier, the larger the requests. What comes
 *    after a silence waits for nothing.
 * 3. A failed request is sent again while it can help and somebody still waits. A call that was rejected is not
 *    waited for: what is still queued of it is dropped.
 *
 * A record may be appended twice (a request was applied, but its answer lost). kafkajs's idempotent producer would
 * prevent that only sometimes (kafkajs issues 598, 1005); readers dedupe by event id or stamp.
 */
import kafkajs, { type Kafka, type Producer } from 'kafkajs';
import { LinkedList, type LinkedNode } from '../../../engine/linked-list.ts';
import { LogClosedError } from '../log-errors.ts';
import { CLIENT_RETRY, type KafkaLogger } from './kafka-client.ts';
import {
  AppendFailedError,
  AppendQueueFullError,
  KafkaUnreachableError,
  messageOf,
  protocolErrorOf,
  RecordTooLargeError,
  TopicCompactedError,
} from './kafka-errors.ts';
import type { KafkaLogInfo } from './topic-offsets.ts';
import { settledWithin, within } from './within.ts';

export interface ProducedRecord {
  readonly partition: number;
  /** ms; the brokers replace it where the topic's append times are theirs. */
  readonly timestampMs: number;
  readonly key: Buffer | null;
  readonly value: Buffer | null;
  /** Repeated names have several values. */
  readonly headers: Readonly<Record<string, Buffer | Buffer[]>>;
}

export interface GroupedProducerOptions {
  readonly kafka: Kafka;
  readonly info: KafkaLogInfo;
  readonly logger: KafkaLogger;
  /** A call fails when it was not acknowledged by then, ms. @default 30000 */
  readonly deliveryTimeoutMs?: number;
  /** Limit of bytes accepted and not yet acknowledged. @default 64 MiB */
  readonly maxQueuedBytes?: number;
  /** Produce requests at a time. @default 5 */
  readonly maxInFlight?: number;
  /** A request follows the last one no sooner, ms. @default 4 */
  readonly pauseMs?: number;
  /** @default false */
  readonly gzip?: boolean;
}

const BATCH_BYTES = 61;
/** Attributes, time and offset differences, lengths: at most. */
const RECORD_BYTES = 32;
const HEADER_BYTES = 10;
/** Part of the topic's limit a request uses: the limit may be lowered, and is the compressed size's. */
const BATCH_SHARE = 0.9;
/** kafkajs copies the list of a partition's records once for each of them. */
const BATCH_RECORDS = 1_000;
/** The brokers' limit for replication; below the request's own, and half of what a push waits: there is another try. */
const ACK_TIMEOUT_MS = 5_000;
/** Of single events a request takes kafkajs and the broker as long as of many. */
const PAUSE_MS = 4;
const BACKOFF_MS = { first: 100, last: 2_000 };
/** A request that kafkajs does not settle by then is given up, with its producer. */
const SEND_LIMIT_MS = 90_000;
const CLOSE_TIMEOUT_MS = 5_000;
/** How long a producer may not know of a partition the topic grew by; then it asks, within a request. */
const METADATA_MAX_AGE_MS = 5_000;

/** kafkajs leaves out the records of a partition that it does not know yet, and sends the others. */
class PartitionUnknownError extends Error {
  override readonly name = 'PartitionUnknownError';
  readonly retriable = true;

  constructor(partitions: readonly number[]) {
    super(`the producer does not know partition ${partitions.join(', ')} yet`);
  }
}

interface Call {
  /** Among the calls of its producer. */
  node: LinkedNode<Call> | null;
  readonly items: Item[];
  readonly offsets: number[];
  waiting: number;
  /** Rejected, or all acknowledged. */
  done: boolean;
  resolve(offsets: number[]): void;
  reject(error: Error): void;
}

interface Item {
  readonly call: Call;
  readonly index: number;
  readonly record: ProducedRecord;
  readonly bytes: number;
  /** In a request, whose end counts its bytes off. */
  taken: boolean;
}

interface Lane {
  items: Item[];
  /** Those among them that nobody waits for any more. */
  dead: number;
  busy: boolean;
}

export class GroupedProducer {
  readonly #kafka: Kafka;
  readonly #info: KafkaLogInfo;
  readonly #logger: KafkaLogger;
  readonly #deliveryTimeoutMs: number;
  readonly #maxQueuedBytes: number;
  readonly #maxInFlight: number;
  readonly #pauseMs: number;
  readonly #compression: number;
  readonly #lanes = new Map<number, Lane>();
  readonly #calls = new LinkedList<Call>();
  #producer: Producer;
  #connected: Promise<void> | null = null;
  /** Of a request and partition. */
  #batchBytes = 0;
  #queuedBytes = 0;
  #inFlight = 0;
  /** When the last request was sent. */
  #sentMs = Number.NEGATIVE_INFINITY;
  #pumping = false;
  #closing: Promise<void> | null = null;

  constructor(options: GroupedProducerOptions) {
    this.#kafka = options.kafka;
    this.#info = options.info;
    this.#logger = options.logger;
    this.#deliveryTimeoutMs = options.deliveryTimeoutMs ?? 30_000;
    this.#maxQueuedBytes = options.maxQueuedBytes ?? 64 * 1024 * 1024;
    this.#maxInFlight = options.maxInFlight ?? 5;
    this.#pauseMs = options.pauseMs ?? PAUSE_MS;
    this.#compression = options.gzip === true ? kafkajs.CompressionTypes.GZIP : kafkajs.CompressionTypes.None;
    this.#producer = this.#newProducer();
  }

  /** Bytes accepted and not yet acknowledged or given up. */
  get queuedBytes(): number {
    return this.#queuedBytes;
  }

  /**
   * Fails early where no broker can be reached, or the topic will not have our records; not needed otherwise.
   * @throws {KafkaUnreachableError}
   * @throws {TopicCompactedError}
   */
  async connect(): Promise<void> {
    const { topic } = this.#info;
    await this.#connect(this.#producer).catch((error: unknown) => {
      throw new KafkaUnreachableError(`Kafka was not reached for topic ${topic}: ${messageOf(error)}`, {
        cause: error,
      });
    });
    await this.maxRecordBytes();
    const { compacted } = await this.#info.limits();
    if (!compacted) return;
    throw new TopicCompactedError(
      `topic ${topic} is compacted: it refuses records without a key, and drops records that are not read yet. Events ` +
        `need a topic that keeps all of them (kafka-configs.sh --alter --entity-type topics --entity-name ${topic} ` +
        '--add-config cleanup.policy=delete)',
    );
  }

  /**
   * The largest record the topic takes, in the bytes of `recordBytes`.
   * @param wanted size of the largest that is to be written: where it is above the limit, the limit may have been raised
   */
  async maxRecordBytes(wanted = 0): Promise<number> {
    let { maxMessageBytes } = await this.#info.limits();
    if (wanted > maxMessageBytes - BATCH_BYTES) ({ maxMessageBytes } = await this.#info.recentLimits());
    this.#batchBytes = BATCH_SHARE * maxMessageBytes;
    return maxMessageBytes - BATCH_BYTES;
  }

  /**
   * The offsets of the records, after all in-sync replicas have them. Values and keys must not change any more.
   * @throws {RecordTooLargeError}
   * @throws {AppendQueueFullError}
   * @throws {AppendFailedError}
   * @throws {LogClosedError}
   */
  async produce(records: readonly ProducedRecord[]): Promise<number[]> {
    this.#assertOpen();
    if (records.length === 0) return [];
    let bytes = 0;
    let largest = 0;
    for (const record of records) {
      const own = recordBytes(record);
      largest = Math.max(largest, own);
      bytes += own;
    }
    const limit = await this.maxRecordBytes(largest);
    this.#assertOpen();
    if (largest > limit) throw this.#tooLarge(largest, limit);
    if (this.#queuedBytes + bytes > this.#maxQueuedBytes) {
      throw new AppendQueueFullError(
        `${this.#queuedBytes} bytes already wait for the brokers to append them to topic ${this.#info.topic}`,
      );
    }
    return new Promise((resolve, reject) => this.#enqueue(records, resolve, reject));
  }

  /** Takes no more records, waits for those under way (bounded by their time limit), disconnects. */
  close(): Promise<void> {
    this.#closing ??= this.#drain();
    return this.#closing;
  }

  async #drain(): Promise<void> {
    while (!this.#calls.isEmpty) {
      await Promise.all(
        [...this.#calls].map(
          (call) =>
            new Promise<void>((resolve) => {
              const { resolve: done, reject: failed } = call;
              call.resolve = (offsets) => {
                done(offsets);
                resolve();
              };
              call.reject = (error) => {
                failed(error);
                resolve();
              };
            }),
        ),
      );
    }
    await settledWithin(CLOSE_TIMEOUT_MS, this.#producer.disconnect());
  }

  #enqueue(
    records: readonly ProducedRecord[],
    resolve: (offsets: number[]) => void,
    reject: (error: Error) => void,
  ): void {
    const timer = setTimeout(() => {
      this.#fail(
        call,
        new AppendFailedError(
          `topic ${this.#info.topic} did not acknowledge the records within ${this.#deliveryTimeoutMs} ms`,
        ),
      );
    }, this.#deliveryTimeoutMs);
    const call: Call = {
      node: null,
      items: [],
      offsets: new Array<number>(records.length).fill(-1),
      waiting: records.length,
      done: false,
      resolve: (offsets) => {
        clearTimeout(timer);
        resolve(offsets);
      },
      reject: (error) => {
        clearTimeout(timer);
        reject(error);
      },
    };
    call.node = this.#calls.add(call);
    records.forEach((record, index) => {
      const item = { call, index, record, bytes: recordBytes(record), taken: false };
      this.#queuedBytes += item.bytes;
      call.items.push(item);
      this.#lane(record.partition).items.push(item);
    });
    this.#pumpSoon();
  }

  #pumpSoon(): void {
    if (this.#pumping) return;
    this.#pumping = true;
    const pump = (): void => {
      this.#pumping = false;
      this.#pump();
    };
    const earlyMs = this.#sentMs + this.#pauseMs - performance.now();
    if (earlyMs > 0) setTimeout(pump, earlyMs);
    // Whoever appends in the same turn shares the request.
    else setImmediate(pump);
  }

  #lane(partition: number): Lane {
    let lane = this.#lanes.get(partition);
    if (lane === undefined) {
      lane = { items: [], dead: 0, busy: false };
      this.#lanes.set(partition, lane);
    }
    return lane;
  }

  #pump(): void {
    while (this.#inFlight < this.#maxInFlight) {
      const batches = new Map<number, Item[]>();
      for (const [partition, lane] of this.#lanes) {
        if (lane.busy) continue;
        const batch = this.#takeBatch(lane);
        if (batch.length > 0) batches.set(partition, batch);
      }
      if (batches.size === 0) return;
      for (const partition of batches.keys()) this.#lane(partition).busy = true;
      this.#inFlight++;
      this.#sentMs = performance.now();
      void this.#deliver(batches);
    }
  }

  #takeBatch(lane: Lane): Item[] {
    const batch: Item[] = [];
    let bytes = BATCH_BYTES;
    let passed = 0;
    for (const item of lane.items) {
      if (item.call.done) {
        lane.dead--;
      } else {
        bytes += item.bytes;
        if (batch.length > 0 && (batch.length === BATCH_RECORDS || bytes > this.#batchBytes)) break;
        item.taken = true;
        batch.push(item);
      }
      passed++;
    }
    lane.items.splice(0, passed);
    return batch;
  }

  /** Never rejects. */
  async #deliver(batches: Map<number, Item[]>): Promise<void> {
    try {
      await this.#sendUntilSettled(batches);
    } catch (error) {
      const failure = new AppendFailedError(
        `topic ${this.#info.topic} did not take the records: ${messageOf(error)}`,
        { cause: error },
      );
      for (const items of batches.values()) for (const { call } of items) this.#fail(call, failure);
    } finally {
      for (const [partition, items] of batches) {
        this.#lane(partition).busy = false;
        for (const { bytes } of items) this.#queuedBytes -= bytes;
      }
      this.#inFlight--;
      if (!this.#calls.isEmpty) this.#pumpSoon();
    }
  }

  async #sendUntilSettled(batches: ReadonlyMap<number, readonly Item[]>): Promise<void> {
    for (let backoffMs = BACKOFF_MS.first; ; backoffMs = Math.min(2 * backoffMs, BACKOFF_MS.last)) {
      const wanted = new Map<number, Item[]>();
      for (const [partition, items] of batches) {
        const left = items.filter(({ call, index }) => !call.done && call.offsets[index] === -1);
        if (left.length > 0) wanted.set(partition, left);
      }
      if (wanted.size === 0) return;
      try {
        await this.#send(wanted);
        return;
      } catch (error) {
        if (
          protocolErrorOf(error) === 'MESSAGE_TOO_LARGE' ||
          protocolErrorOf(error) === 'RECORD_LIST_TOO_LARGE'
        ) {
          await this.#sendSmaller(wanted);
          return;
        }
        if (!mayHelpToRetry(error)) throw error;
        await new Promise((resolve) => setTimeout(resolve, backoffMs));
      }
    }
  }

  /** The topic takes less than it said: its limit was lowered. One record at a time finds those that are too large. */
  async #sendSmaller(batches: ReadonlyMap<number, readonly Item[]>): Promise<void> {
    await this.#info.refreshLimits();
    const limit = await this.maxRecordBytes();
    const single = batches.size === 1 && [...batches.values()][0]!.length === 1;
    for (const [partition, items] of batches) {
      if (single) {
        for (const { call, bytes } of items) this.#fail(call, this.#tooLarge(bytes, limit));
        continue;
      }
      const half = items.length > 1 ? Math.ceil(items.length / 2) : 1;
      for (let at = 0; at < items.length; at += half) {
        await this.#sendUntilSettled(new Map([[partition, items.slice(at, at + half)]]));
      }
    }
  }

  async #send(batches: ReadonlyMap<number, readonly Item[]>): Promise<void> {
    const { topic } = this.#info;
    const producer = this.#producer;
    const messages = [...batches.values()].flat().map(({ record }) => ({
      partition: record.partition,
      key: record.key,
      value: record.value,
      headers: record.headers as Record<string, Buffer | Buffer[]>,
      timestamp: String(record.timestampMs),
    }));
    const send = this.#connect(producer).then(() =>
      producer.send({ topic, messages, acks: -1, timeout: ACK_TIMEOUT_MS, compression: this.#compression }),
    );
    const answers = await within(SEND_LIMIT_MS, send, () => {
      this.#replaceProducer(producer);
      return new Error(`a produce request was not settled within ${SEND_LIMIT_MS} ms`);
    });
    const unknown: number[] = [];
    for (const [partition, items] of batches) {
      const answer = answers.find((one) => one.partition === partition);
      if (answer === undefined) {
        unknown.push(partition);
        continue;
      }
      const baseOffset = Number(answer.baseOffset ?? -1);
      if (!(baseOffset >= 0)) throw new Error(`the answer has no offset for partition ${partition}`);
      this.#info.noteEnd(partition, baseOffset + items.length);
      items.forEach(({ call, index }, i) => {
        this.#acknowledge(call, index, baseOffset + i);
      });
    }
    if (unknown.length > 0) throw new PartitionUnknownError(unknown);
  }

  #acknowledge(call: Call, index: number, offset: number): void {
    call.offsets[index] = offset;
    call.waiting--;
    if (call.waiting > 0 || call.done) return;
    call.done = true;
    this.#calls.remove(call.node!);
    call.resolve(call.offsets);
  }

  #fail(call: Call, error: Error): void {
    if (call.done) return;
    call.done = true;
    this.#calls.remove(call.node!);
    const lanes = new Set<Lane>();
    for (const { taken, bytes, record } of call.items) {
      if (taken) continue;
      this.#queuedBytes -= bytes;
      const lane = this.#lane(record.partition);
      lane.dead++;
      lanes.add(lane);
    }
    for (const lane of lanes) {
      // Not for every call: in an outage thousands of them fail together.
      if (2 * lane.dead <= lane.items.length) continue;
      lane.items = lane.items.filter((item) => !item.call.done);
      lane.dead = 0;
    }
    call.reject(error);
  }

  #newProducer(): Producer {
    return this.#kafka.producer({
      // Tries again on its own are ours: kafkajs's know no time limit, and repeat what other brokers took already.
      retry: { ...CLIENT_RETRY, retries: 0 },
      idempotent: false,
      allowAutoTopicCreation: false,
      metadataMaxAge: METADATA_MAX_AGE_MS,
      createPartitioner:
        () =>
        ({ message }) =>
          message.partition ?? 0,
    });
  }

  #replaceProducer(stuck: Producer): void {
    if (this.#producer !== stuck) return;
    this.#logger.warn({ topic: this.#info.topic }, 'the Kafka producer hangs: taking another');
    this.#producer = this.#newProducer();
    this.#connected = null;
    stuck.disconnect().catch(() => {});
  }

  async #connect(producer: Producer): Promise<void> {
    this.#connected ??= producer.connect().catch((error: unknown) => {
      if (this.#producer === producer) this.#connected = null;
      throw error;
    });
    await this.#connected;
  }

  #tooLarge(bytes: number, limit: number): RecordTooLargeError {
    return new RecordTooLargeError(
      `a record of ${bytes} bytes can not be appended: topic ${this.#info.topic} takes ${limit} (max.message.bytes)`,
    );
  }

  #assertOpen(): void {
    if (this.#closing !== null) throw new LogClosedError(`the log of source ${this.#info.source} is closed`);
  }
}

/** What a record takes of a batch: at most. */
export function recordBytes({ key, value, headers }: ProducedRecord): number {
  let bytes = RECORD_BYTES + (key?.length ?? 0) + (value?.length ?? 0);
  for (const name in headers) {
    const values = headers[name]!;
    for (const one of Array.isArray(values) ? values : [values]) {
      bytes += HEADER_BYTES + Buffer.byteLength(name) + one.length;
    }
  }
  return bytes;
}

/** Errors kafkajs calls retriable, and its wrappings of them. */
function mayHelpToRetry(error: unknown): boolean {
  for (let at = error, depth = 0; at instanceof Error && depth < 5; at = at.cause, depth++) {
    const { retriable, name } = at as { retriable?: unknown; name: string };
    if (name === 'KafkaJSNumberOfRetriesExceeded') continue;
    if (retriable === true) return true;
  }
  return false;
}
