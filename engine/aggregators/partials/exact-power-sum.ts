/**
 * Partials `exact_sum_of_cubes` and `exact_sum_of_fourth_powers`: Σx³ and Σx⁴ without any rounding.
 *
 * x² is a double and its rounding error (Dekker's two-product, see `expansion.ts`); the power is the sum of the
 * products of these two, each again a double and its error. All of them are doubles as long as
 * 1e−60 ≤ |x| ≤ 1e55 or x = 0: the last bit of x⁴ is then at least 2⁻¹⁰⁰⁸, and neither the sum nor the products in
 * `operations/moments.ts` overflow for any number of values below 2⁵³. A value outside leaves the mark `beyond`, which
 * stays and takes the place of the sum. Longs are exact: those that are no doubles are multiplied as bigints.
 *
 * Encoded: 1 for a state that is beyond, else 0 and an `Expansion`.
 */
import { type ByteReader, CorruptBytesError } from '../../bytes.ts';
import { Cascade } from '../cascade.ts';
import { Expansion, productError } from '../expansion.ts';
import type { PartialAggregate, PartialFactory } from '../partial-aggregate.ts';
import { refuseText } from './refuse-text.ts';

/** Smallest and largest magnitude, other than 0, whose powers can be summed exactly. */
export const POWER_MIN = 1e-60;
export const POWER_MAX = 1e55;

export interface PowerSumState {
  readonly sum: Expansion;
  /** A value was out of bounds: `sum` means nothing. */
  beyond: boolean;
}

/** Empty outside of `addRows`. */
const cascade = new Cascade();

function addCube(sum: Expansion, value: number): void {
  const square = value * value;
  const squareError = productError(value, value, square);
  const cube = square * value;
  cascade.add(cube, 0, sum);
  cascade.add(productError(square, value, cube), 1, sum);
  if (squareError === 0) return;
  const rest = squareError * value;
  cascade.add(rest, 1, sum);
  cascade.add(productError(squareError, value, rest), 2, sum);
}

function addFourthPower(sum: Expansion, value: number): void {
  const square = value * value;
  const squareError = productError(value, value, square);
  const fourth = square * square;
  cascade.add(fourth, 0, sum);
  cascade.add(productError(square, square, fourth), 1, sum);
  if (squareError === 0) return;
  const twice = 2 * squareError;
  const mixed = square * twice;
  cascade.add(mixed, 1, sum);
  cascade.add(productError(square, twice, mixed), 2, sum);
  const rest = squareError * squareError;
  cascade.add(rest, 2, sum);
  cascade.add(productError(squareError, squareError, rest), 3, sum);
}

function isBeyond(value: number): boolean {
  const magnitude = Math.abs(value);
  return magnitude > POWER_MAX || (magnitude < POWER_MIN && magnitude !== 0);
}

function powerSum(power: bigint, addPower: (sum: Expansion, value: number) => void): PartialFactory {
  function addNumbers(state: PowerSumState, column: Float64Array, from: number, to: number): void {
    const { sum } = state;
    for (let i = from; i < to; i++) {
      const value = column[i]!;
      if (Number.isNaN(value)) continue;
      if (isBeyond(value)) state.beyond = true;
      else addPower(sum, value);
    }
  }

  function addLongs(
    { sum }: PowerSumState,
    column: readonly (number | bigint | null)[],
    from: number,
    to: number,
  ): void {
    let large = 0n;
    for (let i = from; i < to; i++) {
      const value = column[i]!;
      if (typeof value === 'number') addPower(sum, value);
      else if (value !== null) large += value ** power;
    }
    sum.addInteger(large);
  }

  function clear(state: PowerSumState): void {
    state.sum.clear();
    state.beyond = false;
  }

  function absorb({ sum }: PowerSumState, r: ByteReader): boolean {
    const mark = r.u8();
    if (mark > 1) throw new CorruptBytesError(`${mark} where a sum of powers says whether it is one`);
    if (mark === 0) sum.absorb(r);
    return mark === 1;
  }

  return ({ key, column, storage }): PartialAggregate<PowerSumState> => {
    refuseText(key, storage);
    return {
      key,
      column,
      create: () => ({ sum: new Expansion(), beyond: false }),
      clear,
      addRows(state, rows, from, to) {
        const values = rows.columns[column]!;
        if (storage === 'number') addNumbers(state, values as Float64Array, from, to);
        else addLongs(state, values as (number | bigint | null)[], from, to);
        cascade.flush(state.sum);
      },
      absorb(state, r) {
        if (absorb(state, r)) state.beyond = true;
      },
      encode(state, w) {
        w.u8(state.beyond ? 1 : 0);
        if (!state.beyond) state.sum.encode(w);
      },
    };
  };
}

export const exactSumOfCubes = powerSum(3n, addCube);
export const exactSumOfFourthPowers = powerSum(4n, addFourthPower);
