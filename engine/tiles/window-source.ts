/**
 * What windows are evaluated over: the rows of one key, however they lie. Online it is a state as it was read
 * (`StateReader`), offline the key's history in memory (`KeyHistory`); `WindowRead` is the one evaluation for both.
 *
 * A stretch is lo ≤ time < hi. Stretches are asked for newest first, as ordered partials need it.
 */
import type { EventId } from '../event-id.ts';
import type { PartialSet } from './partial-set.ts';
import type { RowBlock } from './row-block.ts';

/** Rows at exactly `timeMs` count only while their id is ≤ `last` (C6). */
export interface TieLimit {
  readonly timeMs: number;
  readonly last: EventId;
}

export interface NewestRowsQuestion {
  /** Of the view's `newestRows`: the condition. */
  readonly index: number;
  readonly count: number;
  /** Rows with fromMs < time ≤ toMs; null: no old edge. */
  readonly fromMs: number | null;
  readonly toMs: number;
  /** Where it is at `toMs`. */
  readonly tie: TieLimit | null;
  /** One more row, if it meets the condition. */
  readonly extra: RowBlock | null;
}

export interface NewestRowsAnswer {
  readonly rows: RowBlock;
  /** Where older ones should count that were given up, the rows are those with time > `reachesMs`; else null. */
  readonly reachesMs: number | null;
}

export interface WindowSource {
  /** Rows added since the last reset, nulls included. */
  rowCount: number;
  /** Older end of the oldest tile that straddled `lo` and was counted whole since the last reset; null: none did. */
  readonly widenedToMs: number | null;
  /** Of rows before it only what `addPrefix` adds is left. */
  readonly lowMs: number;
  /** What lies between two events is known from here on only, 0: everywhere. */
  readonly sequencesFromMs: number;
  resetCounts(): void;
  /** The stretch of a tile that a time lies in, whose rows cannot be told apart any more; null: it lies in none. */
  collapsedAt(timeMs: number): { readonly startMs: number; readonly endMs: number } | null;
  /** Where a stretch has to begin so that the tile across its older end, whose rows are gone, counts whole. */
  widen(lo: number, hi: number): number;
  /** Everything before `lowMs`. `wide`: where its wide partials go. */
  addPrefix(narrow: PartialSet, wide: PartialSet): void;
  /** Rows of the stretch, those at the tie's time only up to its id. */
  addRange(lo: number, hi: number, tie: TieLimit | null, into: PartialSet): void;
  /** As `addRange`, with one more row of the stretch in its place. Where the tie is at the row's time, its id is the row's. */
  addRangeWith(extra: RowBlock, lo: number, hi: number, tie: TieLimit | null, into: PartialSet): void;
  /**
   * Adds to wide partials what `addRange` adds to narrow ones.
   * @param blocksToMs the newer edge for blocks of tiles: `hi`, or the ms before it, whose rows are then added one by one
   * @returns where what was added begins: `lo`, or the start of a tile across it
   */
  addWide(lo: number, hi: number, blocksToMs: number, into: PartialSet): number;
  /** Adds to wide partials the rows of one millisecond with id ≤ `last`. */
  addWideTie(tie: TieLimit, into: PartialSet): void;
  /** The newest `count` rows that meet a condition, sorted. */
  newestRows(question: NewestRowsQuestion): NewestRowsAnswer;
}
