/**
 * Partials `first_time` and `last_time`: the least and the greatest event time, of rows with a non-null value where
 * there is a column. Encoded: one varint, the time and 1; 0 for none.
 */
import type { ColumnVector, RowBlock } from '../../tiles/row-block.ts';
import type { PartialAggregate, PartialFactory } from '../partial-aggregate.ts';

export interface ExtremeTimeState {
  /** null: no row yet. */
  timeMs: number | null;
}

function isPresent(values: ColumnVector | undefined, i: number): boolean {
  if (values === undefined) return true;
  const value = values[i]!;
  return value !== null && !Number.isNaN(value);
}

function lower(state: ExtremeTimeState, timeMs: number): void {
  if (state.timeMs === null || timeMs < state.timeMs) state.timeMs = timeMs;
}

function raise(state: ExtremeTimeState, timeMs: number): void {
  if (state.timeMs === null || timeMs > state.timeMs) state.timeMs = timeMs;
}

// Rows ascend in time, so the first row found from either end decides.

function addFirst(state: ExtremeTimeState, rows: RowBlock, column: number, from: number, to: number): void {
  const values = rows.columns[column];
  let i = from;
  while (i < to && !isPresent(values, i)) i++;
  if (i < to) lower(state, rows.times[i]!);
}

function addLast(state: ExtremeTimeState, rows: RowBlock, column: number, from: number, to: number): void {
  const values = rows.columns[column];
  let i = to - 1;
  while (i >= from && !isPresent(values, i)) i--;
  if (i >= from) raise(state, rows.times[i]!);
}

function extremeTime(add: typeof addFirst, move: typeof lower): PartialFactory {
  return ({ key, column }): PartialAggregate<ExtremeTimeState> => ({
    key,
    column,
    create: () => ({ timeMs: null }),
    clear(state) {
      state.timeMs = null;
    },
    addRows(state, rows, from, to) {
      add(state, rows, column, from, to);
    },
    absorb(state, r) {
      const timePlusOne = r.varint();
      if (timePlusOne > 0) move(state, timePlusOne - 1);
    },
    encode({ timeMs }, w) {
      w.varint(timeMs === null ? 0 : timeMs + 1);
    },
  });
}

export const firstTime = extremeTime(addFirst, lower);
export const lastTime = extremeTime(addLast, raise);
