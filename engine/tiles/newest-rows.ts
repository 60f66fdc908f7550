/**
 * The newest rows that were ever put into the tile tree, for windows of last events: a field of their own.
 *
 * They are more than such a window asks for, so that it can also be asked at a time a little before the newest event.
 *
 *     newest := per spec of the view: u8 dropped (0 | 1) · rows
 */
import { type ByteReader, type ByteWriter, CorruptBytesError } from '../bytes.ts';
import {
  type ColumnStorage,
  decodeRows,
  emptyRows,
  encodeRows,
  lowerBound,
  mergeRows,
  pickRows,
  type RowBlock,
  sliceRows,
} from './row-block.ts';

export interface NewestRowsSpec {
  /** The largest number of events asked for. */
  readonly count: number;
  /** Index of the boolean column of the rows that count; −1: all. */
  readonly condition: number;
  /** Whether rows older than the view's retention may go. */
  readonly bounded: boolean;
}

export interface NewestRows {
  /** Sorted. */
  rows: RowBlock;
  /** Whether older ones were given up. */
  dropped: boolean;
}

/** How many rows are kept: for as-of times with some events behind them. */
export function keptRows({ count }: NewestRowsSpec): number {
  return Math.max(2 * count, count + 32);
}

export function noNewestRows(
  specs: readonly NewestRowsSpec[],
  storages: readonly ColumnStorage[],
): NewestRows[] {
  return specs.map(() => ({ rows: emptyRows(storages), dropped: false }));
}

/** Rows of a sorted block that meet a condition. */
export function rowsThatMeet(
  rows: RowBlock,
  condition: number,
  storages: readonly ColumnStorage[],
): RowBlock {
  if (condition < 0) return rows;
  const met = rows.columns[condition] as Float64Array;
  const chosen: number[] = [];
  for (let i = 0; i < rows.length; i++) if (met[i] === 1) chosen.push(i);
  return chosen.length === rows.length ? rows : pickRows(rows, chosen, storages);
}

/** Adds sorted rows. */
export function addNewestRows(
  newest: NewestRows,
  rows: RowBlock,
  spec: NewestRowsSpec,
  storages: readonly ColumnStorage[],
): void {
  const all = mergeRows(newest.rows, rowsThatMeet(rows, spec.condition, storages), storages);
  const surplus = all.length - keptRows(spec);
  newest.rows = surplus > 0 ? sliceRows(all, surplus, all.length) : all;
  newest.dropped ||= surplus > 0;
}

/** Gives up rows with time < lowMs, where no window can reach them. Returns whether there were any. */
export function expireNewestRows(newest: NewestRows, spec: NewestRowsSpec, lowMs: number): boolean {
  if (!spec.bounded) return false;
  const live = lowerBound(newest.rows, lowMs);
  if (live === 0) return false;
  newest.rows = sliceRows(newest.rows, live, newest.rows.length);
  // What was given up for want of room is older still.
  newest.dropped = false;
  return true;
}

export function encodeNewestRows(
  newest: readonly NewestRows[],
  storages: readonly ColumnStorage[],
  w: ByteWriter,
): void {
  for (const { rows, dropped } of newest) {
    w.u8(dropped ? 1 : 0);
    encodeRows(rows, storages, w);
  }
}

export function decodeNewestRows(
  r: ByteReader,
  specs: readonly NewestRowsSpec[],
  storages: readonly ColumnStorage[],
): NewestRows[] {
  return specs.map(() => {
    const dropped = r.u8();
    if (dropped > 1)
      throw new CorruptBytesError(`${dropped} where newest rows say whether any were given up`);
    return { rows: decodeRows(r, storages), dropped: dropped === 1 };
  });
}
