import { Expansion, SPLITTER } from '../expansion.ts';
import type { PartialAggregate, PartialFactory } from '../partial-aggregate.ts';
import { refuseText } from './refuse-text.ts';

/**
 * As in `exact_sum`, three local doubles take almost everything; a square brings its own rounding error along,
 * which goes where the rounding errors of `high` go. Two-sum and two-product are written out here too.
 */
function addNumbers(sum: Expansion, column: Float64Array, from: number, to: number): void {
  let high = 0;
  let middle = 0;
  let low = 0;
  for (let i = from; i < to; i++) {
    const value = column[i]!;
    if (Number.isNaN(value)) continue;
    const square = value * value;
    const cut = SPLITTER * value;
    const front = cut - (cut - value);
    const back = value - front;
    const squareError = back * back - (square - front * front - 2 * front * back);
    let next = high + square;
    let rounded = next - high;
    const error = high - (next - rounded) + (square - rounded);
    high = next;
    next = middle + error;
    rounded = next - middle;
    const lost = middle - (next - rounded) + (error - rounded);
    middle = next;
    next = middle + squareError;
    rounded = next - middle;
    const squareLost = middle - (next - rounded) + (squareError - rounded);
    middle = next;
    if (lost === 0 && squareLost === 0) continue;
    next = low + lost;
    rounded = next - low;
    const rest = low - (next - rounded) + (lost - rounded);
    low = next;
    if (rest !== 0) sum.add(rest);
    next = low + squareLost;
    rounded = next - low;
    const squareRest = low - (next - rounded) + (squareLost - rounded);
    low = next;
    if (squareRest !== 0) sum.add(squareRest);
  }
  sum.add(low);
  sum.add(middle);
  sum.add(high);
}

function addLongs(
  sum: Expansion,
  column: readonly (number | bigint | null)[],
  from: number,
  to: number,
): void {
  let safe = 0;
  for (let i = from; i < to; i++) {
    const value = column[i]!;
    if (typeof value === 'number') {
      const next = safe + value * value;
      if (Number.isSafeInteger(next)) safe = next;
      else sum.addProduct(value, value);
    } else if (value !== null) sum.addLongSquare(value);
  }
  sum.add(safe);
}

/**
 * Partial `exact_sum_of_squares`: Σx² without any rounding (for doubles of magnitude ≥ 1e−146, see
 * `expansion.ts`). Encoded: an `Expansion`.
 */
export const exactSumOfSquares: PartialFactory = ({ key, column, storage }): PartialAggregate<Expansion> => {
  refuseText(key, storage);
  return {
    key,
    column,
    create: () => new Expansion(),
    clear(state) {
      state.clear();
    },
    addRows(state, rows, from, to) {
      const values = rows.columns[column]!;
      if (storage === 'number') addNumbers(state, values as Float64Array, from, to);
      else addLongs(state, values as (number | bigint | null)[], from, to);
    },
    absorb(state, r) {
      state.absorb(r);
    },
    encode(state, w) {
      state.encode(w);
    },
  };
};
