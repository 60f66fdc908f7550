/**
 * From the bytes of a log record to plain data for `decodeEvent`.
 *
 * The two halves keep the hot path synchronous: `prepare` does what may have to wait (fetching the schemas that
 * writers used), once for a chunk; `decode` then only computes.
 */
import type { DeadLetterReason } from '../dead-letter.ts';

export type RefusalReason = Extract<DeadLetterReason, 'undecodable' | 'unknown_schema' | 'breaks_schema'>;

/** What a record's value is, as plain data for decodeEvent, or why it provably cannot be read. */
export type Decoded =
  | { readonly ok: true; readonly data: unknown }
  | {
      readonly ok: false;
      readonly reason: RefusalReason;
      /** Names schema ids, columns and types, never values: they are personal data. */
      readonly message: string;
    };

export interface RecordDecoder {
  /**
   * Fetches and compiles the writer schemas that these values need; undefined, and no promise, when all are known.
   * The values must be decoded before the next call: only what the latest calls named is sure to be kept.
   *
   * Rejects with a retryable error where that fails for now, as when the registry cannot be reached: the partition
   * pauses and tries again. What fails for good is no error here: `decode` says so for each record.
   */
  prepare(values: Iterable<Uint8Array | null>): Promise<void> | undefined;
  /** How many of these values, from the first, can be decoded as they are: those before one whose schema is not known. */
  decodable(values: Iterable<Uint8Array | null>): number;
  /**
   * Never throws for what the bytes hold.
   * @param value null: the record has no value, as a tombstone of a compacted topic has none
   * @throws where the value needs a schema that was not prepared: a mistake of the caller
   */
  decode(value: Uint8Array | null): Decoded;
}

/** A record that cannot be used, and why. */
export function refused(
  message: string,
  reason: RefusalReason = 'undecodable',
): Extract<Decoded, { ok: false }> {
  return { ok: false, reason, message };
}
