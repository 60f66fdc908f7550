/**
 * The event log of one source on lmdb; opened by `LmdbLogs`.
 *
 * In memory each partition has a *working* state, which runs ahead inside transactions, and the *durable* ends,
 * which follow when they are on disk; readers see only the latter. After a failed transaction the working state
 * is loaded again.
 *
 *     partition  identity text · end offset varint
 *     segment    count · value bytes · highest event time f64 · highest append time f64
 *     record     append time f64 · [u8 255 · origin offset f64] · stamp length u8 · stamp UTF-8 · event JSON
 *                (stamp length 0: none; it is never 255, which says that the record is a copy)
 */
import { ByteReader, ByteWriter } from '../../engine/bytes.ts';
import { LinkedList } from '../../engine/linked-list.ts';
import { ByteArena } from '../../engine/store/byte-arena.ts';
import { valueView } from '../../engine/store/lmdb-environment.ts';
import {
  addRecord,
  checkPartition,
  checkRecords,
  emptySegment,
  mayDrop,
  type Retention,
  type Segment,
} from './append-record.ts';
import type {
  AppendRecord,
  EventLog,
  LogChunk,
  LogEnds,
  LogRecord,
  ReadArgs,
  RecordHeaders,
} from './event-log.ts';
import { offsetKey, offsetOf, partitionKey, setOffset } from './lmdb-log-keys.ts';
import type { LmdbLogs } from './lmdb-logs.ts';
import { LogClosedError, LogFullError, OffsetOutOfRangeError } from './log-errors.ts';
import { OffsetWaiters } from './offset-waiters.ts';

const COPY = 255;
const COPY_BYTES = 9;
const MAX_OFFSET = Number.MAX_SAFE_INTEGER;

const textEncoder = new TextEncoder();
const textDecoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

interface Partition {
  readonly number: number;
  readonly key: Uint8Array;
  identity: string;
  /** Working state. */
  segments: Segment[];
  endOffset: number;
  bytes: number;
  /** Durable ends: what readers may see. */
  durable: LogEnds;
}

export class LmdbEventLog implements EventLog {
  readonly source: string;
  readonly #logs: LmdbLogs;
  readonly #partitions: Partition[] = [];
  readonly #waiters = new OffsetWaiters();
  readonly #arena = new ByteArena();
  readonly #inFlight = new LinkedList<Promise<unknown>>();
  readonly #changes = new Map<Partition, Set<Segment>>();
  #growing: Promise<void> = Promise.resolve();
  #closing: Promise<void> | undefined;

  /** Use `LmdbLogs.log`. */
  static async load(logs: LmdbLogs, source: string): Promise<LmdbEventLog> {
    const log = new LmdbEventLog(logs, source);
    for (
      let number = 0;
      logs.partitions.getBinaryFast(partitionKey(source, number)) !== undefined;
      number++
    ) {
      const partition = newPartition(source, number);
      log.#load(partition);
      log.#partitions.push(partition);
    }
    return log;
  }

  private constructor(logs: LmdbLogs, source: string) {
    this.#logs = logs;
    this.source = source;
  }

  get isOpen(): boolean {
    return this.#closing === undefined;
  }

  /** Adds partitions until there are `count`; resolves when they are durable. Use `LmdbLogs.log`. */
  grow(count: number): Promise<void> {
    const grown = this.#growing.then(() => this.#grow(count));
    this.#growing = grown.catch(() => {});
    return grown;
  }

  async #grow(count: number): Promise<void> {
    this.#assertOpen();
    const added: Partition[] = [];
    for (let number = this.#partitions.length; number < count; number++) {
      added.push({ ...newPartition(this.source, number), identity: this.#logs.random() });
    }
    if (added.length === 0) return;
    await this.#commit({
      bytes: 0,
      touched: new Set(),
      write: () => {
        for (const partition of added) this.#changed(partition);
      },
    });
    this.#partitions.push(...added);
  }

  async partitions(): Promise<number> {
    this.#assertOpen();
    return this.#partitions.length;
  }

  async identity(partition: number): Promise<string> {
    return this.#partition(partition).identity;
  }

  async ends(partition: number): Promise<LogEnds> {
    return this.#partition(partition).durable;
  }

  async append(records: readonly AppendRecord[]): Promise<number[]> {
    this.#assertOpen();
    checkRecords(records, this.#partitions.length);
    if (records.length === 0) return [];
    const values = records.map((record) => encodeRecord(record, this.#arena));
    const bytes = records.reduce((sum, { value }) => sum + value.length, 0);
    const offsets: number[] = [];
    const touched = new Set<Partition>();
    await this.#commit({
      bytes,
      touched,
      write: () => {
        this.#refuseBeyondLimit(bytes);
        records.forEach((record, i) => {
          const partition = this.#partitions[record.partition]!;
          touched.add(partition);
          const offset = partition.endOffset++;
          this.#logs.records.put(offsetKey(partition.key, offset), values[i]!);
          const segment = this.#openSegment(partition, record.value.length);
          addRecord(segment, record);
          partition.bytes += record.value.length;
          this.#changed(partition).add(segment);
          offsets.push(offset);
        });
      },
    });
    return offsets;
  }

  async read(args: ReadArgs): Promise<LogChunk> {
    const partition = this.#partition(args.partition);
    const { startOffset, endOffset } = partition.durable;
    const { fromOffset } = args;
    if (fromOffset < startOffset) throw this.#outOfRange(partition, fromOffset);
    const found: LogRecord[] = [];
    const key = offsetKey(partition.key, Math.min(fromOffset, MAX_OFFSET));
    let bytes = 0;
    for (let offset = fromOffset; offset < endOffset && found.length < args.maxRecords; offset++) {
      setOffset(key, offset);
      const stored = this.#logs.records.getBinaryFast(key);
      // Gone: a truncation was committed in this moment and is about to be reported.
      if (stored === undefined) throw this.#outOfRange(partition, offset);
      const record = decodeRecord(partition.number, offset, valueView(stored));
      bytes += record.value.length;
      if (found.length > 0 && bytes > args.maxBytes) break;
      found.push({ ...record, value: this.#arena.copy(record.value) });
    }
    return { records: found, nextOffset: (found.at(-1)?.offset ?? fromOffset - 1) + 1 };
  }

  #outOfRange({ number, durable }: Partition, offset: number): OffsetOutOfRangeError {
    return new OffsetOutOfRangeError(`source ${this.source}, partition ${number}`, offset, durable);
  }

  async waitFor(partition: number, offset: number, signal: AbortSignal): Promise<void> {
    if (this.#partition(partition).durable.endOffset > offset) return;
    await this.#waiters.wait(partition, offset, signal);
  }

  async truncate(args: Retention & { partition: number }): Promise<number> {
    const partition = this.#partition(args.partition);
    let dropped = 0;
    for (;;) {
      const first = partition.segments[0];
      if (first === undefined || !mayDrop(first, partition.bytes, args)) return dropped;
      dropped += await this.#dropFirstSegment(partition, args);
    }
  }

  /** Finishes what is in flight. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#waiters.rejectAll(new LogClosedError(`the log of source ${this.source} is closed`));
    await Promise.allSettled(this.#inFlight);
  }

  /** One segment per transaction, so that each stays small; decided inside, where the working state is. */
  async #dropFirstSegment(partition: Partition, retention: Retention): Promise<number> {
    let dropped = 0;
    await this.#commit({
      bytes: 0,
      touched: new Set([partition]),
      write: () => {
        const first = partition.segments[0];
        if (first === undefined || !mayDrop(first, partition.bytes, retention)) return;
        const key = offsetKey(partition.key, first.startOffset);
        this.#logs.segments.remove(key);
        for (let i = 0; i < first.count; i++) {
          setOffset(key, first.startOffset + i);
          this.#logs.records.remove(key);
        }
        partition.segments.shift();
        partition.bytes -= first.bytes;
        this.#changed(partition).delete(first);
        dropped = first.count;
      },
    });
    return dropped;
  }

  /** Writes what the jobs of this transaction changed in memory. Used by `LmdbLogs`. */
  writeChanges(): void {
    for (const [partition, segments] of this.#changes) {
      this.#putPartition(partition);
      for (const segment of segments) this.#putSegment(partition, segment);
    }
    this.#changes.clear();
  }

  /** The partition's entry, and the segments put into this set, are written at the end of the transaction. */
  #changed(partition: Partition): Set<Segment> {
    let segments = this.#changes.get(partition);
    if (segments === undefined) {
      segments = new Set();
      this.#changes.set(partition, segments);
    }
    return segments;
  }

  /** Runs a job and publishes the durable ends of the partitions it touched. */
  #commit(job: { bytes: number; touched: ReadonlySet<Partition>; write: () => void }): Promise<void> {
    const done = new Promise<void>((resolve, reject) => {
      this.#logs.submit({
        owner: this,
        bytes: job.bytes,
        write: job.write,
        committed: () => {
          for (const partition of job.touched) this.#publish(partition);
          resolve();
        },
        failed: (error) => {
          for (const partition of job.touched) this.#load(partition);
          reject(error);
        },
      });
    });
    const node = this.#inFlight.add(done);
    const settled = (): void => this.#inFlight.remove(node);
    done.then(settled, settled);
    return done;
  }

  #publish(partition: Partition): void {
    partition.durable = {
      startOffset: partition.segments[0]?.startOffset ?? partition.endOffset,
      endOffset: partition.endOffset,
    };
    this.#waiters.wake(partition.number, partition.endOffset);
  }

  #load(partition: Partition): void {
    const stored = this.#logs.partitions.getBinaryFast(partition.key)!;
    const reader = new ByteReader(valueView(stored));
    partition.identity = reader.text();
    partition.endOffset = reader.varint();
    partition.segments = [];
    const range = { start: offsetKey(partition.key, 0), end: offsetKey(partition.key, MAX_OFFSET) };
    for (const { key, value } of this.#logs.segments.getRange(range)) {
      partition.segments.push(decodeSegment(offsetOf(key), value));
    }
    partition.bytes = partition.segments.reduce((sum, { bytes }) => sum + bytes, 0);
    this.#publish(partition);
  }

  #refuseBeyondLimit(addedBytes: number): void {
    const { maxBytes } = this.#logs.limits;
    const held = this.#partitions.reduce((sum, { bytes }) => sum + bytes, 0);
    if (held + addedBytes <= maxBytes) return;
    throw new LogFullError(
      `the log of source ${this.source} has reached its limit of ${maxBytes} bytes: ` +
        'raise maxBytes, or let retention drop old records',
    );
  }

  #openSegment(partition: Partition, addedBytes: number): Segment {
    const { segmentRecords, segmentBytes } = this.#logs.limits;
    const last = partition.segments.at(-1);
    if (last !== undefined && last.count < segmentRecords && last.bytes + addedBytes <= segmentBytes)
      return last;
    const segment = emptySegment(
      last === undefined ? partition.endOffset - 1 : last.startOffset + last.count,
    );
    partition.segments.push(segment);
    return segment;
  }

  #putPartition(partition: Partition): void {
    const writer = new ByteWriter(64);
    writer.text(partition.identity);
    writer.varint(partition.endOffset);
    this.#logs.partitions.put(partition.key, writer.finish());
  }

  #putSegment(partition: Partition, segment: Segment): void {
    const writer = new ByteWriter(64);
    writer.varint(segment.count);
    writer.varint(segment.bytes);
    writer.f64(segment.maxEventTimeMs);
    writer.f64(segment.maxAppendedMs);
    this.#logs.segments.put(offsetKey(partition.key, segment.startOffset), writer.finish());
  }

  #assertOpen(): void {
    if (this.#closing !== undefined) throw new LogClosedError(`the log of source ${this.source} is closed`);
    this.#logs.assertOpen();
  }

  #partition(partition: number): Partition {
    this.#assertOpen();
    checkPartition(partition, this.#partitions.length);
    return this.#partitions[partition]!;
  }
}

const NO_HEADERS: RecordHeaders = [];

function newPartition(source: string, number: number): Partition {
  return {
    number,
    key: partitionKey(source, number),
    identity: '',
    segments: [],
    endOffset: 0,
    bytes: 0,
    durable: { startOffset: 0, endOffset: 0 },
  };
}

function encodeRecord(record: AppendRecord, arena: ByteArena): Uint8Array {
  const stamp = record.stamp === null ? null : textEncoder.encode(record.stamp);
  const stampBytes = stamp?.length ?? 0;
  const stampAt = 9 + (record.originOffset === undefined ? 0 : COPY_BYTES);
  const bytes = arena.allocate(stampAt + stampBytes + record.value.length);
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  view.setFloat64(0, record.appendedMs, true);
  if (record.originOffset !== undefined) {
    bytes[8] = COPY;
    view.setFloat64(9, record.originOffset, true);
  }
  bytes[stampAt - 1] = stampBytes;
  if (stamp !== null) bytes.set(stamp, stampAt);
  bytes.set(record.value, stampAt + stampBytes);
  return bytes;
}

/** The record's value is a view of `bytes`. */
function decodeRecord(
  partition: number,
  offset: number,
  bytes: Uint8Array,
): LogRecord & { readonly value: Uint8Array } {
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const isCopy = bytes[8] === COPY;
  const stampAt = 9 + (isCopy ? COPY_BYTES : 0);
  const valueAt = stampAt + bytes[stampAt - 1]!;
  return {
    partition,
    offset,
    appendedMs: view.getFloat64(0, true),
    stamp: valueAt === stampAt ? null : textDecoder.decode(bytes.subarray(stampAt, valueAt)),
    originOffset: isCopy ? view.getFloat64(9, true) : null,
    value: bytes.subarray(valueAt),
    key: null,
    headers: NO_HEADERS,
  };
}

function decodeSegment(startOffset: number, bytes: Uint8Array): Segment {
  const reader = new ByteReader(bytes);
  return {
    startOffset,
    count: reader.varint(),
    bytes: reader.varint(),
    maxEventTimeMs: reader.f64(),
    maxAppendedMs: reader.f64(),
  };
}
