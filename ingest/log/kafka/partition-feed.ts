/**
 * What was fetched of one partition and not yet read. Knows nothing of kafkajs.
 *
 *     position ── records waiting ── expected ── … ── end of the log, as far as known
 *
 * `position` is where the reader goes on; `expected` is the offset the next batch must have been fetched at. A batch
 * fetched for any other offset is refused, whatever it holds: after a seek it belongs to the former place, after an
 * out-of-range answer to wherever kafkajs jumped to, and taking it would skip what lies between.
 */
import type { LogChunk, LogRecord } from '../event-log.ts';
import { OffsetWaiters } from '../offset-waiters.ts';
import type { DecodedRecords } from './kafka-record.ts';

export interface FeedLimits {
  readonly maxBytes: number;
  readonly maxRecords: number;
}

export class PartitionFeed {
  readonly partition: number;
  /** Wakes whoever waits for records, progress or a failure. */
  readonly waiters = new OffsetWaiters();
  limits: FeedLimits;
  #position: number | null = null;
  #expected: number | null = null;
  #records: LogRecord[] = [];
  #bytes: number[] = [];
  /** Index of the first record not yet read: taking from the front of an array copies the rest. */
  #first = 0;
  #queuedBytes = 0;
  #failure: Error | null = null;
  #closed: Error | null = null;

  constructor(partition: number, limits: FeedLimits) {
    this.partition = partition;
    this.limits = limits;
  }

  /** Where the reader goes on; null: nobody has read yet, or the position was lost. */
  get position(): number | null {
    return this.#position;
  }

  /** Where the next batch must begin; null while there is no position. */
  get expected(): number | null {
    return this.#expected;
  }

  get queuedBytes(): number {
    return this.#queuedBytes;
  }

  get queuedRecords(): number {
    return this.#records.length - this.#first;
  }

  get isEmpty(): boolean {
    return this.queuedRecords === 0;
  }

  get isFull(): boolean {
    return this.#queuedBytes >= this.limits.maxBytes || this.queuedRecords >= this.limits.maxRecords;
  }

  get isHalfEmpty(): boolean {
    return this.#queuedBytes * 2 <= this.limits.maxBytes && this.queuedRecords * 2 <= this.limits.maxRecords;
  }

  /** Why the records after those waiting can not be had, or null. */
  get failure(): Error | null {
    return this.#failure;
  }

  /** Forgets what waits and goes on elsewhere. */
  seek(offset: number): void {
    this.#clear();
    this.#position = offset;
    this.#expected = offset;
  }

  /** Forgets everything; the next read says where to go on. */
  unposition(): void {
    this.#clear();
    this.#position = null;
    this.#expected = null;
  }

  /**
   * A batch fetched at `expected`, with the offset behind everything it covers.
   */
  push({ records, bytes }: DecodedRecords, nextOffset: number): void {
    if (this.#first > 0) {
      this.#records = this.#records.slice(this.#first);
      this.#bytes = this.#bytes.slice(this.#first);
      this.#first = 0;
    }
    for (const record of records) this.#records.push(record);
    for (const own of bytes) {
      this.#bytes.push(own);
      this.#queuedBytes += own;
    }
    this.#expected = nextOffset;
    this.waiters.wake(this.partition, nextOffset);
  }

  /** There is nothing below `nextOffset` but what waits already. */
  pass(nextOffset: number): void {
    if (this.#expected === null || nextOffset <= this.#expected) return;
    this.#expected = nextOffset;
    this.waiters.wake(this.partition, nextOffset);
  }

  /** The next records, or none where none waits; `nextOffset` may have moved all the same. */
  take(maxRecords: number, maxBytes: number): LogChunk {
    const from = this.#position!;
    let valueBytes = 0;
    let count = 0;
    while (count < maxRecords && this.#first + count < this.#records.length) {
      valueBytes += this.#records[this.#first + count]!.value?.length ?? 0;
      if (count > 0 && valueBytes > maxBytes) break;
      count++;
    }
    const records = this.#records.slice(this.#first, this.#first + count);
    for (let i = this.#first; i < this.#first + count; i++) this.#queuedBytes -= this.#bytes[i]!;
    this.#first += count;
    if (this.isEmpty) {
      this.#records = [];
      this.#bytes = [];
      this.#first = 0;
      if (maxRecords > 0) this.#position = this.#expected;
    } else if (count > 0) {
      this.#position = records[count - 1]!.offset + 1;
    }
    return { records, nextOffset: Math.max(from, this.#position!) };
  }

  /** The records after those waiting can not be had; whoever reads learns it after them. */
  fail(error: Error): void {
    this.#failure ??= error;
    this.waiters.wake(this.partition, Number.POSITIVE_INFINITY);
  }

  /** The partition is not ours any more. */
  close(error: Error): void {
    this.#clear();
    this.#closed ??= error;
    this.waiters.rejectAll(error);
  }

  assertOpen(): void {
    if (this.#closed !== null) throw this.#closed;
  }

  #clear(): void {
    this.#records = [];
    this.#bytes = [];
    this.#first = 0;
    this.#queuedBytes = 0;
    this.#failure = null;
  }
}
