/** Where `millrace dlq` finds the dead letters: in Kafka, or at a running engine that has them in its directory. */
import type { LetterFilter, LetterState, LetterSummary, Unreplayable } from '../../ingest/dead-letter-box.ts';
import type { KeptLetter, LetterOrigin } from '../../ingest/letter-shelf.ts';

/** A letter as it is shown. */
export type ShownLetter = LetterSummary &
  Pick<KeptLetter, 'stamp' | 'thrown'> & {
    readonly state: LetterState;
    /** null: it was not asked for, or there is none. */
    readonly value: Uint8Array | null;
  };

export interface ListedLetters {
  /** The first ones. */
  readonly letters: readonly LetterSummary[];
  readonly total: number;
  /** By reason, of all. */
  readonly counts: Readonly<Record<string, number>>;
}

export interface Replayed {
  readonly replayed: number;
  readonly unreplayable: readonly Unreplayable[];
}

/** @throws CliError where the server cannot be reached or refuses */
export interface LetterDesk {
  sources(): Promise<readonly string[]>;
  /** Of all sources. */
  views(): Promise<readonly string[]>;
  list(source: string, filter: LetterFilter, limit: number): Promise<ListedLetters>;
  /** Of one record; none: it has none. */
  show(source: string, origin: LetterOrigin, withValue: boolean): Promise<readonly ShownLetter[]>;
  /** @param onProgress records done since the last call */
  replay(source: string, filter: LetterFilter, onProgress: (done: number) => void): Promise<Replayed>;
  /** @param origins each once @returns records that had letters */
  discard(source: string, origins: readonly LetterOrigin[]): Promise<number>;
  close(): Promise<void>;
}
