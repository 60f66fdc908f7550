/** Where the dead letters of one source are kept, beside the log they are from. */
import type { DeadLetter } from './dead-letter.ts';
import type { LogRecord } from './log/event-log.ts';

/** The record that a letter is of. */
export interface LetterOrigin {
  readonly partition: number;
  readonly offset: number;
}

export const LETTER_PARTS = ['message', 'headers', 'key', 'value'] as const;
export type LetterPart = (typeof LETTER_PARTS)[number];

export interface KeptLetter extends Omit<DeadLetter, 'readOffset'> {
  /** When the letter was written, ms. */
  readonly writtenMs: number;
  /** What was left out, or cut, as the letter was too large. */
  readonly omitted: readonly LetterPart[];
  /** Offset of the letter itself: of the letters of one record the later ones have higher ones. */
  readonly place: number;
}

/** What can be done with the letters of a record. They stay where they are, for as long as they are kept. */
export const LETTER_ENDS = ['replayed', 'discarded'] as const;
export type LetterEnd = (typeof LETTER_ENDS)[number];

/** The record's letters up to that place are done with. One that a copy of it became meanwhile is not. */
export interface LetterMark extends LetterOrigin {
  readonly upTo: number;
}

export type ShelfEntry =
  | { readonly kind: 'letter'; readonly letter: KeptLetter }
  | ({ readonly kind: LetterEnd } & LetterMark);

/** A record to be appended as a copy of the one at `originOffset`. */
export type RecordCopy = Pick<LogRecord, 'partition' | 'stamp' | 'key' | 'headers'> & {
  readonly originOffset: number;
  readonly value: Uint8Array;
};

export interface LetterShelf {
  readonly source: string;
  /** All there is at the call; what is of one record in the order in which it was written. */
  entries(): AsyncIterable<ShelfEntry>;
  /** The record itself; null: the log does not have it any more. */
  original(origin: LetterOrigin): Promise<LogRecord | null>;
  /** Whether the log takes a record as large as the copy is, with what it says of its origin. */
  fits(copy: RecordCopy): Promise<boolean>;
  /** Resolves when the copies are durable. */
  append(copies: readonly RecordCopy[]): Promise<void>;
  /** Resolves when it is durable that these were replayed, or discarded. */
  mark(end: LetterEnd, marks: readonly LetterMark[]): Promise<void>;
}
