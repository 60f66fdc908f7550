/**
 * The event log of one source: partitions of records with consecutive offsets, appended, never changed,
 * truncated from the front by retention. Kafka topics have gaps in their offsets; readers must not assume
 * that offsets are consecutive.
 */

export interface LogRecord {
  readonly partition: number;
  readonly offset: number;
  /** Processing time of the append, ms. */
  readonly appendedMs: number;
  /** Identity stamped on append where the source declares no event id; null otherwise. 1 ≤ length ≤ 64. */
  readonly stamp: string | null;
  /** The event as UTF-8 JSON, exactly as accepted. */
  readonly value: Uint8Array;
}

export interface AppendRecord {
  readonly partition: number;
  readonly appendedMs: number;
  readonly stamp: string | null;
  readonly value: Uint8Array;
  /** Event time, ms: retention may drop a record only when no window can reach it any more. */
  readonly eventTimeMs: number;
}

export interface LogEnds {
  /** Lowest offset still held. Equal to `endOffset` when the partition is empty. */
  readonly startOffset: number;
  /** The next offset to be assigned; everything below it is durable. */
  readonly endOffset: number;
}

export interface EventLog {
  readonly source: string;
  /** Partitions are numbered 0 ≤ p < partitions(). The number may grow, never shrink. */
  partitions(): Promise<number>;
  /** Identity of a partition's log (not of its content): differs after it was deleted and made again. */
  identity(partition: number): Promise<string>;
  ends(partition: number): Promise<LogEnds>;
  /**
   * Appends records and resolves with their offsets, in order, **after they are durable** (flushed to disk).
   * All or nothing for one call. Concurrent calls share a flush.
   */
  append(records: readonly AppendRecord[]): Promise<number[]>;
  /**
   * Durable records of one partition with offset ≥ fromOffset, at most `maxRecords`, stopping before the sum
   * of value bytes passes `maxBytes` (but at least one record if there is one). Records still unflushed are
   * never returned: what a consumer applies can not be lost by the log afterwards.
   */
  read(args: {
    partition: number;
    fromOffset: number;
    maxRecords: number;
    maxBytes: number;
  }): Promise<LogRecord[]>;
  /** Resolves when `partition` has a durable record at or beyond `offset`, or when the signal aborts. */
  waitFor(partition: number, offset: number, signal: AbortSignal): Promise<void>;
  /**
   * Drops records from the front of the partition while every record dropped has eventTimeMs <
   * `keepEventTimeMs` and appendedMs < `keepAppendedMs`, or while the partition is larger than `maxBytes`;
   * never at or beyond `beforeOffset`. Works in whole segments. Returns the number of records dropped.
   */
  truncate(args: {
    partition: number;
    keepEventTimeMs: number;
    keepAppendedMs: number;
    maxBytes: number;
    beforeOffset: number;
  }): Promise<number>;
  close(): Promise<void>;
}
