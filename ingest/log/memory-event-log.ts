/**
 * The event log in memory, for tests and the simulator. Everything appended is durable at once. `random` makes
 * identities, so runs can be repeated.
 */
import {
  addRecord,
  checkPartition,
  checkPartitions,
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
import { LogClosedError, LogFullError, OffsetOutOfRangeError } from './log-errors.ts';
import { OffsetWaiters } from './offset-waiters.ts';

export interface MemoryEventLogOptions {
  readonly source: string;
  readonly partitions: number;
  /** Makes identities; no two answers may be equal. */
  readonly random: () => string;
  /** Records per segment, the step of truncation. @default 4096 */
  readonly segmentRecords?: number;
  /** Limit of the sum of value bytes held; an append beyond it fails with `LogFullError`. @default none */
  readonly maxBytes?: number;
}

interface Partition {
  identity: string;
  records: LogRecord[];
  segments: Segment[];
  endOffset: number;
  bytes: number;
}

const NO_HEADERS: RecordHeaders = [];

export class MemoryEventLog implements EventLog {
  readonly source: string;
  readonly #random: () => string;
  readonly #segmentRecords: number;
  readonly #maxBytes: number;
  readonly #partitions: Partition[] = [];
  readonly #waiters = new OffsetWaiters();
  #closed = false;

  constructor(options: MemoryEventLogOptions) {
    checkPartitions(options.partitions);
    this.source = options.source;
    this.#random = options.random;
    this.#segmentRecords = options.segmentRecords ?? 4096;
    this.#maxBytes = options.maxBytes ?? Number.POSITIVE_INFINITY;
    for (let i = 0; i < options.partitions; i++) this.#partitions.push(this.#newPartition());
  }

  /** As if the partition had been deleted and made again: empty, from offset 0, under another identity. */
  recreate(partition: number): void {
    this.#partition(partition);
    this.#partitions[partition] = this.#newPartition();
  }

  /** One more, empty, as when a topic grows. */
  addPartition(): void {
    checkPartitions(this.#partitions.length + 1);
    this.#partitions.push(this.#newPartition());
  }

  async partitions(): Promise<number> {
    this.#assertOpen();
    return this.#partitions.length;
  }

  async identity(partition: number): Promise<string> {
    return this.#partition(partition).identity;
  }

  async ends(partition: number): Promise<LogEnds> {
    return endsOf(this.#partition(partition));
  }

  async append(records: readonly AppendRecord[]): Promise<number[]> {
    this.#assertOpen();
    checkRecords(records, this.#partitions.length);
    const held = this.#partitions.reduce((sum, { bytes }) => sum + bytes, 0);
    const added = records.reduce((sum, { value }) => sum + value.length, 0);
    if (held + added > this.#maxBytes) throw logFull(this.#maxBytes);
    const offsets = records.map((record) => {
      const partition = this.#partitions[record.partition]!;
      const offset = partition.endOffset++;
      const { appendedMs, stamp, value, originOffset = null } = record;
      partition.records.push({
        partition: record.partition,
        offset,
        appendedMs,
        stamp,
        originOffset,
        value: new Uint8Array(value),
        key: null,
        headers: NO_HEADERS,
      });
      partition.bytes += value.length;
      let last = partition.segments.at(-1);
      if (last === undefined || last.count >= this.#segmentRecords) {
        last = emptySegment(offset);
        partition.segments.push(last);
      }
      addRecord(last, record);
      return offset;
    });
    for (const partition of new Set(records.map((record) => record.partition))) {
      this.#waiters.wake(partition, this.#partitions[partition]!.endOffset);
    }
    return offsets;
  }

  async read(args: ReadArgs): Promise<LogChunk> {
    const { partition: number, fromOffset } = args;
    const partition = this.#partition(number);
    const ends = endsOf(partition);
    if (fromOffset < ends.startOffset) {
      throw new OffsetOutOfRangeError(`source ${this.source}, partition ${number}`, fromOffset, ends);
    }
    const { records } = partition;
    const found: LogRecord[] = [];
    let bytes = 0;
    const first = records.length === 0 ? 0 : Math.max(0, fromOffset - records[0]!.offset);
    for (let i = first; i < records.length && found.length < args.maxRecords; i++) {
      const record = records[i]!;
      bytes += record.value!.length;
      if (found.length > 0 && bytes > args.maxBytes) break;
      found.push(record);
    }
    return { records: found, nextOffset: (found.at(-1)?.offset ?? fromOffset - 1) + 1 };
  }

  async waitFor(partition: number, offset: number, signal: AbortSignal): Promise<void> {
    if (this.#partition(partition).endOffset > offset) return;
    await this.#waiters.wait(partition, offset, signal);
  }

  async truncate(args: Retention & { partition: number }): Promise<number> {
    const partition = this.#partition(args.partition);
    let dropped = 0;
    for (let first = partition.segments[0]; first !== undefined; first = partition.segments[0]) {
      if (!mayDrop(first, partition.bytes, args)) break;
      partition.segments.shift();
      partition.bytes -= first.bytes;
      dropped += first.count;
    }
    if (dropped > 0) partition.records = partition.records.slice(dropped);
    return dropped;
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#waiters.rejectAll(new LogClosedError(`the log of source ${this.source} is closed`));
  }

  #assertOpen(): void {
    if (this.#closed) throw new LogClosedError(`the log of source ${this.source} is closed`);
  }

  #partition(partition: number): Partition {
    this.#assertOpen();
    checkPartition(partition, this.#partitions.length);
    return this.#partitions[partition]!;
  }

  #newPartition(): Partition {
    return { identity: this.#random(), records: [], segments: [], endOffset: 0, bytes: 0 };
  }
}

function endsOf({ segments, endOffset }: Partition): LogEnds {
  return { startOffset: segments[0]?.startOffset ?? endOffset, endOffset };
}

function logFull(maxBytes: number): LogFullError {
  return new LogFullError(
    `the log has reached its limit of ${maxBytes} bytes: raise maxBytes, or let retention drop old records`,
  );
}
