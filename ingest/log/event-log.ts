/**
 * The event log of one source: partitions of records with consecutive offsets, appended, never changed,
 * truncated from the front by retention. Kafka topics have gaps in their offsets; readers must not assume
 * that offsets are consecutive.
 */

/** Header names may repeat; their order is kept. */
export type RecordHeaders = readonly (readonly [name: string, value: Uint8Array])[];

export interface LogRecord {
  readonly partition: number;
  readonly offset: number;
  /** Processing time of the append, ms. */
  readonly appendedMs: number;
  /** Identity stamped on append where the source declares no event id; null otherwise. 1 ≤ length ≤ 64. */
  readonly stamp: string | null;
  /**
   * A dead letter that was replayed is a copy of the record that was at this offset of the partition, offset <
   * `offset`; null: it is none.
   */
  readonly originOffset: number | null;
  /** The event as its producer wrote it; null: a record without a value, as compacted topics have. */
  readonly value: Uint8Array | null;
  /** Only a dead letter keeps these: what is counted is in the value. */
  readonly key: Uint8Array | null;
  readonly headers: RecordHeaders;
}

export interface LogChunk {
  /** In the order of their offsets. */
  readonly records: readonly LogRecord[];
  /**
   * Where to read on: there is no further record to come below it. May lie beyond the last record, also where there
   * is none: transactions leave markers that take an offset and are no records. Never below `fromOffset`.
   */
  readonly nextOffset: number;
}

export interface AppendRecord {
  readonly partition: number;
  readonly appendedMs: number;
  readonly stamp: string | null;
  readonly value: Uint8Array;
  /** Event time, ms: retention may drop a record only when no window can reach it any more. */
  readonly eventTimeMs: number;
  /** See `LogRecord`. @default null */
  readonly originOffset?: number;
}

export interface LogEnds {
  /** Lowest offset still held. Equal to `endOffset` when the partition is empty. */
  readonly startOffset: number;
  /** The next offset to be assigned; everything below it is durable. */
  readonly endOffset: number;
}

/** What is known of a log without reading it. */
export interface LogInfo {
  readonly source: string;
  /** Partitions are numbered 0 ≤ p < partitions(). The number may grow, never shrink. */
  partitions(): Promise<number>;
  /** Identity of a partition's log (not of its content): differs after it was deleted and made again. */
  identity(partition: number): Promise<string>;
  ends(partition: number): Promise<LogEnds>;
}

export interface LogWriter extends LogInfo {
  /**
   * Appends records and resolves with their offsets, in order, **after they are durable** (flushed to disk, or
   * acknowledged by all in-sync replicas). An embedded log appends all or nothing of one call; a Kafka topic may
   * hold some of them after a failure. Concurrent calls share a flush.
   */
  append(records: readonly AppendRecord[]): Promise<number[]>;
}

export interface LogReader extends LogInfo {
  /**
   * Durable records of one partition with offset ≥ fromOffset, at most `maxRecords`, stopping before the sum
   * of value bytes passes `maxBytes` (but at least one record if there is one). Records still unflushed are
   * never returned: what a consumer applies can not be lost by the log afterwards.
   * @throws OffsetOutOfRangeError below the log's start: whoever went on from there would not know what it has passed
   */
  read(args: ReadArgs): Promise<LogChunk>;
  /** Resolves when `partition` has a durable record at or beyond `offset`, or when the signal aborts. */
  waitFor(partition: number, offset: number, signal: AbortSignal): Promise<void>;
}

export interface ReadArgs {
  readonly partition: number;
  readonly fromOffset: number;
  readonly maxRecords: number;
  readonly maxBytes: number;
}

export interface TruncateArgs {
  readonly partition: number;
  readonly keepEventTimeMs: number;
  readonly keepAppendedMs: number;
  readonly maxBytes: number;
  readonly beforeOffset: number;
}

/** A log of our own, which also keeps itself small. */
export interface EventLog extends LogWriter, LogReader {
  /**
   * Drops records from the front of the partition while every record dropped has eventTimeMs <
   * `keepEventTimeMs` and appendedMs < `keepAppendedMs`, or while the partition is larger than `maxBytes`;
   * never at or beyond `beforeOffset`. Works in whole segments. Returns the number of records dropped.
   */
  truncate(args: TruncateArgs): Promise<number>;
  close(): Promise<void>;
}
