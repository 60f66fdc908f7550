/**
 * What tells the record applied last from another one at its offset: a topic that was deleted and made again under the same
 * name may have grown past it meanwhile.
 */
import { crc32 } from './log/crc32.ts';
import type { LogRecord } from './log/event-log.ts';

export interface LastRecord {
  /** −1: not known. */
  readonly appendedMs: number;
  readonly checksum: number | null;
}

export const UNKNOWN_RECORD: LastRecord = { appendedMs: -1, checksum: null };

/** Of a record without a value the checksum is that of no bytes. */
export function lastRecordOf({ appendedMs, value }: LogRecord): LastRecord {
  return { appendedMs, checksum: value === null ? 0 : crc32(value) };
}

/** Whether the record may be the one that is remembered. */
export function isSameRecord(record: LogRecord, { appendedMs, checksum }: LastRecord): boolean {
  const found = lastRecordOf(record);
  return found.appendedMs === appendedMs && (checksum === null || found.checksum === checksum);
}
