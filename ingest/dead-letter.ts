/** Events that provably cannot be used (C4), with reason and origin. */
import type { RecordHeaders } from './log/event-log.ts';

export const DEAD_LETTER_REASONS = [
  { reason: 'undecodable', meaning: 'The bytes are neither JSON nor of the schema they name.' },
  {
    reason: 'unknown_schema',
    meaning:
      'The schema registry does not have the schema that the record names, or there is none (`--on-lost-schema continue`).',
  },
  { reason: 'breaks_schema', meaning: 'A column is missing or has a value its type does not admit.' },
  {
    reason: 'too_far_in_future',
    meaning: 'The event time is further ahead of the append time than `maxFuture`.',
  },
  {
    reason: 'filter_or_projection',
    meaning: 'A filter or projection of a view threw; other views count the event.',
  },
] as const;

export type DeadLetterReason = (typeof DEAD_LETTER_REASONS)[number]['reason'];

export interface DeadLetter {
  readonly reason: DeadLetterReason;
  /** What is wrong; never holds values of the event. */
  readonly message: string;
  /** What a filter or projection threw, class and message. It may hold values of the event: not for logs. @default nothing */
  readonly thrown?: string;
  readonly source: string;
  readonly partition: number;
  readonly offset: number;
  /** Where it was read: at `offset`, or at that of a copy, which could not be used either. */
  readonly readOffset: number;
  /** The view that could not use it; null: no view could. */
  readonly view: string | null;
  /** Append time of the record, ms. */
  readonly appendedMs: number;
  /** The record's stamp: of an event without an id it is what tells a repeat; null: it has none. */
  readonly stamp: string | null;
  /** The record as it was. */
  readonly value: Uint8Array | null;
  readonly key: Uint8Array | null;
  readonly headers: RecordHeaders;
}

export interface DeadLetters {
  /** Resolves when the letters are durable. A letter may be written again after a crash. */
  write(letters: readonly DeadLetter[]): Promise<void>;
}
