/**
 * Skewness and excess kurtosis, corrected for bias, from exact n, S₁ = Σx, S₂ = Σx², S₃ = Σx³ and S₄ = Σx⁴: the G₁
 * and G₂ of D. N. Joanes and C. A. Gill, "Comparing measures of sample skewness and kurtosis", 1998, which are also
 * `skew()` and `kurt()` of pandas and `skewness` and `kurtosis` of DuckDB.
 *
 * With Mₖ = Σ(x − mean)ᵏ, whose multiples are whole expressions of the sums:
 *
 *   N₂ = n·M₂ = n·S₂ − S₁²
 *   C₃ = n·S₃ − S₁·S₂        N₃ = n²·M₃ = n·C₃ − 2·S₁·N₂
 *   C₄ = n·S₄ − S₁·S₃        N₄ = n³·M₄ = n²·C₄ − 3·S₁·(n·C₃ − S₁·N₂)
 *
 *   G₁ = √(n·(n − 1)) / (n − 2) · N₃ / N₂^(3/2)
 *   G₂ = (n − 1) / ((n − 2)·(n − 3)) · ((n + 1)·N₄ − 3·(n − 1)·N₂²) / N₂²
 *
 * Every numerator and N₂ is worked out as an expansion and rounded once, so nothing is lost to cancellation, neither
 * for 1e16 next to 1 nor where the result is almost 0: within 2e−15 of the exact value, relative to it, and the same
 * bits whatever the order.
 */
import { Expansion } from '../expansion.ts';
import type { Operation } from '../partial-aggregate.ts';
import type { PowerSumState } from '../partials/exact-power-sum.ts';
import type { CountState } from '../partials/row-count.ts';
import { NUMERIC_TYPES } from './column-types.ts';
import { ofValues } from './partial-request.ts';

const spread = new Expansion();
const mixed = new Expansion();
const product = new Expansion();
const inner = new Expansion();
const numerator = new Expansion();

/** N₂ into `spread`. */
function setSpread(n: number, sum: Expansion, squares: Expansion): void {
  spread.clear();
  spread.addScaled(squares, n);
  spread.subtractSquare(sum);
}

/** C₃ into `mixed` and S₁·N₂ into `product`. */
function setThird(n: number, sum: Expansion, squares: Expansion, cubes: Expansion): void {
  mixed.clear();
  mixed.addScaled(cubes, n);
  mixed.subtractProductOf(sum, squares);
  product.clear();
  product.addProductOf(sum, spread);
}

function skewness([counted, sum, squares, cubes]: readonly unknown[]): number | null {
  const n = (counted as CountState).rows;
  const { sum: cubeSum, beyond } = cubes as PowerSumState;
  if (n < 3 || beyond) return null;
  setSpread(n, sum as Expansion, squares as Expansion);
  if (spread.isZero) return null;
  setThird(n, sum as Expansion, squares as Expansion, cubeSum);
  numerator.clear();
  numerator.addScaled(mixed, n);
  numerator.addScaled(product, -2);
  const n2 = spread.round();
  return ((numerator.round() / n2 / Math.sqrt(n2)) * Math.sqrt(n * (n - 1))) / (n - 2);
}

function excessKurtosis([counted, sum, squares, cubes, fourths]: readonly unknown[]): number | null {
  const n = (counted as CountState).rows;
  const { sum: fourthSum, beyond } = fourths as PowerSumState;
  if (n < 4 || beyond) return null;
  setSpread(n, sum as Expansion, squares as Expansion);
  if (spread.isZero) return null;
  const cubeSum = (cubes as PowerSumState).sum;
  setThird(n, sum as Expansion, squares as Expansion, cubeSum);
  inner.clear();
  inner.addScaled(mixed, n);
  inner.addScaled(product, -1);
  // C₄ and n·C₄ take the places of C₃ and S₁·N₂, which are of no further use, and N₄ that of C₄.
  mixed.clear();
  mixed.addScaled(fourthSum, n);
  mixed.subtractProductOf(sum as Expansion, cubeSum);
  product.clear();
  product.addScaled(mixed, n);
  mixed.clear();
  mixed.addScaled(product, n);
  product.clear();
  product.addProductOf(sum as Expansion, inner);
  mixed.addScaled(product, -3);
  product.clear();
  product.addProductOf(spread, spread);
  numerator.clear();
  numerator.addScaled(mixed, n + 1);
  numerator.addScaled(product, -3 * (n - 1));
  return (numerator.round() / product.round() / ((n - 2) * (n - 3))) * (n - 1);
}

const ACCURACY =
  'within 2e−15 of the exact value, relative to it; null where a value other than 0 is below 1e−60 or above 1e55 in magnitude';

/** Skewness. Null for fewer than three values, where all are equal, and where one is out of bounds. */
export const skew: Operation = {
  name: 'skew',
  accepts: NUMERIC_TYPES,
  columnOptional: false,
  params: [],
  description:
    'Sample skewness, corrected for bias; null for fewer than three values and where all are equal.',
  accuracy: ACCURACY,
  bytes: '8–90 as a rule, at most 860',
  example: "skew('amount').over('30d')",
  empty: null,
  partials: (column) => [
    ofValues('count', column),
    ofValues('exact_sum', column),
    ofValues('exact_sum_of_squares', column),
    ofValues('exact_sum_of_cubes', column),
  ],
  finalize: (states) => skewness(states),
  resultType: () => 'double',
};

/** Excess kurtosis. Null for fewer than four values, where all are equal, and where one is out of bounds. */
export const kurtosis: Operation = {
  name: 'kurtosis',
  accepts: NUMERIC_TYPES,
  columnOptional: false,
  params: [],
  description:
    'Sample excess kurtosis, corrected for bias; null for fewer than four values and where all are equal.',
  accuracy: ACCURACY,
  bytes: '10–140 as a rule, at most 1,134',
  example: "kurtosis('amount').over('30d')",
  empty: null,
  partials: (column) => [...skew.partials(column, []), ofValues('exact_sum_of_fourth_powers', column)],
  finalize: (states) => excessKurtosis(states),
  resultType: () => 'double',
};
