/** Partials `min` and `max`: the least and the greatest non-null value. Encoded: 0, or 1 and a stored value. */
import { CorruptBytesError } from '../../bytes.ts';
import type { PartialAggregate, PartialFactory } from '../partial-aggregate.ts';
import { readStoredValue, writeStoredValue } from '../stored-value.ts';
import { refuseText } from './refuse-text.ts';

export interface ExtremumState {
  /** null: no value yet. */
  value: number | bigint | null;
}

type Longs = readonly (number | bigint | null)[];

// Neither `<` nor `>` is ever true of NaN, which stands for null; |v| is finite.

function leastNumber(column: Float64Array, from: number, to: number): number | null {
  let least = Number.POSITIVE_INFINITY;
  for (let i = from; i < to; i++) if (column[i]! < least) least = column[i]!;
  return least === Number.POSITIVE_INFINITY ? null : least;
}

function greatestNumber(column: Float64Array, from: number, to: number): number | null {
  let greatest = Number.NEGATIVE_INFINITY;
  for (let i = from; i < to; i++) if (column[i]! > greatest) greatest = column[i]!;
  return greatest === Number.NEGATIVE_INFINITY ? null : greatest;
}

// JavaScript compares a number with a bigint by their exact values.

function leastLong(column: Longs, from: number, to: number): number | bigint | null {
  let least: number | bigint | null = null;
  for (let i = from; i < to; i++) {
    const value = column[i]!;
    if (value !== null && (least === null || value < least)) least = value;
  }
  return least;
}

function greatestLong(column: Longs, from: number, to: number): number | bigint | null {
  let greatest: number | bigint | null = null;
  for (let i = from; i < to; i++) {
    const value = column[i]!;
    if (value !== null && (greatest === null || value > greatest)) greatest = value;
  }
  return greatest;
}

function lower(state: ExtremumState, value: number | bigint | null): void {
  if (value !== null && (state.value === null || value < state.value)) state.value = value;
}

function raise(state: ExtremumState, value: number | bigint | null): void {
  if (value !== null && (state.value === null || value > state.value)) state.value = value;
}

function extremum(
  ofNumbers: (column: Float64Array, from: number, to: number) => number | null,
  ofLongs: (column: Longs, from: number, to: number) => number | bigint | null,
  move: (state: ExtremumState, value: number | bigint | null) => void,
): PartialFactory {
  return ({ key, column, storage }): PartialAggregate<ExtremumState> => {
    refuseText(key, storage);
    return {
      key,
      column,
      create: () => ({ value: null }),
      clear(state) {
        state.value = null;
      },
      addRows(state, rows, from, to) {
        const values = rows.columns[column]!;
        if (storage === 'number') move(state, ofNumbers(values as Float64Array, from, to));
        else move(state, ofLongs(values as Longs, from, to));
      },
      absorb(state, r) {
        const present = r.u8();
        if (present > 1)
          throw new CorruptBytesError(`${present} where an extremum says whether it has a value`);
        if (present === 1) move(state, readStoredValue(r, storage) as number | bigint);
      },
      encode(state, w) {
        w.u8(state.value === null ? 0 : 1);
        if (state.value !== null) writeStoredValue(state.value, w);
      },
    };
  };
}

export const min = extremum(leastNumber, leastLong, lower);
export const max = extremum(greatestNumber, greatestLong, raise);
