/** What every event log refuses, and when a segment may be dropped: one answer for all of them. */
import type { AppendRecord } from './event-log.ts';
import { InvalidRecordError } from './log-errors.ts';

const MAX_PARTITIONS = 4096;
const MAX_STAMP_LENGTH = 64;
const LONE_SURROGATE = /\p{Surrogate}/u;

export function checkRecords(records: readonly AppendRecord[], partitions: number): void {
  for (const { partition, appendedMs, stamp, eventTimeMs, originOffset } of records) {
    checkPartition(partition, partitions);
    if (!Number.isSafeInteger(appendedMs) || appendedMs < 0) {
      throw new InvalidRecordError(`appendedMs must be an integer ≥ 0, not ${appendedMs}`);
    }
    if (!Number.isSafeInteger(eventTimeMs)) {
      throw new InvalidRecordError(`eventTimeMs must be an integer, not ${eventTimeMs}`);
    }
    if (
      stamp !== null &&
      (stamp.length < 1 || stamp.length > MAX_STAMP_LENGTH || LONE_SURROGATE.test(stamp))
    ) {
      throw new InvalidRecordError(`a stamp is well-formed text of 1 to ${MAX_STAMP_LENGTH} characters`);
    }
    if (originOffset !== undefined && (!Number.isSafeInteger(originOffset) || originOffset < 0)) {
      throw new InvalidRecordError(`originOffset must be an integer ≥ 0, not ${originOffset}`);
    }
  }
}

export function checkPartition(partition: number, partitions: number): void {
  if (!Number.isInteger(partition) || partition < 0 || partition >= partitions) {
    throw new InvalidRecordError(
      `there is no partition ${partition}: the log has partitions 0 to ${partitions - 1}`,
    );
  }
}

export function checkPartitions(partitions: number): void {
  if (!Number.isInteger(partitions) || partitions < 1 || partitions > MAX_PARTITIONS) {
    throw new InvalidRecordError(`a log has 1 to ${MAX_PARTITIONS} partitions, not ${partitions}`);
  }
}

/** Consecutive records of one partition, truncated together. Offsets are `startOffset` ≤ offset < `startOffset + count`. */
export interface Segment {
  readonly startOffset: number;
  count: number;
  /** Sum of value bytes. */
  bytes: number;
  maxEventTimeMs: number;
  maxAppendedMs: number;
}

export function emptySegment(startOffset: number): Segment {
  return { startOffset, count: 0, bytes: 0, maxEventTimeMs: Number.NEGATIVE_INFINITY, maxAppendedMs: 0 };
}

/** Counts the record in; the segment is mutated. */
export function addRecord(segment: Segment, record: AppendRecord): void {
  segment.count++;
  segment.bytes += record.value.length;
  segment.maxEventTimeMs = Math.max(segment.maxEventTimeMs, record.eventTimeMs);
  segment.maxAppendedMs = Math.max(segment.maxAppendedMs, record.appendedMs);
}

export interface Retention {
  readonly keepEventTimeMs: number;
  readonly keepAppendedMs: number;
  readonly maxBytes: number;
  readonly beforeOffset: number;
}

/** Whether the first segment of a partition that holds `partitionBytes` may be dropped. */
export function mayDrop(segment: Segment, partitionBytes: number, retention: Retention): boolean {
  if (segment.startOffset + segment.count > retention.beforeOffset) return false;
  if (partitionBytes > retention.maxBytes) return true;
  return (
    segment.maxEventTimeMs < retention.keepEventTimeMs && segment.maxAppendedMs < retention.keepAppendedMs
  );
}
