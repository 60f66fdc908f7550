/**
 * Variance and standard deviation from exact n, Σx and Σx²:
 *
 *   var_pop = (n·Σx² − (Σx)²) / n²        var_samp = (n·Σx² − (Σx)²) / (n·(n − 1))
 *
 * The numerator is worked out as an expansion, so the cancellation that ruins this formula in doubles does not
 * happen: it is rounded once, then divided. Correct to two units in the last place and the same bits whatever the
 * order, also for 1e16 next to 1. (Values below 1e−146 in magnitude are too small to be squared in a double; the
 * variance is then off by at most about 1e−322.)
 */
import { Expansion } from '../expansion.ts';
import type { Operation } from '../partial-aggregate.ts';
import type { CountState } from '../partials/row-count.ts';
import { NUMERIC_TYPES } from './column-types.ts';
import { ofValues } from './partial-request.ts';

const numerator = new Expansion();

/** @param missing degrees of freedom taken off: 0 for the population, 1 for a sample */
function variance([counted, sum, squares]: readonly unknown[], missing: 0 | 1): number | null {
  const n = (counted as CountState).rows;
  if (n <= missing) return null;
  numerator.clear();
  numerator.addScaled(squares as Expansion, n);
  numerator.subtractSquare(sum as Expansion);
  // Never negative, but for squares that underflow.
  return Math.max(numerator.round(), 0) / (n * (n - missing));
}

function spread(
  name: string,
  builder: string,
  description: string,
  finish: (states: readonly unknown[]) => number | null,
): Operation {
  return {
    name,
    accepts: NUMERIC_TYPES,
    columnOptional: false,
    params: [],
    description,
    accuracy: 'from exact sums: correct to two units in the last place',
    bytes: '5–50 as a rule',
    example: `${builder}('amount').over('30d')`,
    empty: null,
    partials: (column) => [
      ofValues('count', column),
      ofValues('exact_sum', column),
      ofValues('exact_sum_of_squares', column),
    ],
    finalize: (states) => finish(states),
    resultType: () => 'double',
  };
}

function squareRoot(value: number | null): number | null {
  return value === null ? null : Math.sqrt(value);
}

/** Population variance. Empty, or only nulls: null; of one value 0. */
export const varPop = spread('var_pop', 'varPop', 'Population variance.', (states) => variance(states, 0));

/** Sample variance. Null for fewer than two non-null values. */
export const varSamp = spread(
  'var_samp',
  'varSamp',
  'Sample variance; null for fewer than two values.',
  (states) => variance(states, 1),
);

/** Population standard deviation. Empty, or only nulls: null; of one value 0. */
export const stddevPop = spread('stddev_pop', 'stddevPop', 'Population standard deviation.', (states) =>
  squareRoot(variance(states, 0)),
);

/** Sample standard deviation. Null for fewer than two non-null values. */
export const stddevSamp = spread(
  'stddev_samp',
  'stddevSamp',
  'Sample standard deviation; null for fewer than two values.',
  (states) => squareRoot(variance(states, 1)),
);
