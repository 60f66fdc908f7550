/**
 * Percentiles and the median, interpolated between the two values next to the place (as numpy and DuckDB's
 * `quantile_cont` do it): h = p / 100 · (n − 1) lies between x_⌊h⌋ and x_⌈h⌉ of the n sorted values. Nulls do not
 * count. Empty, or only nulls: null; of one value, that value.
 *
 * Exact up to 128 values. Beyond, an answer is off by at most α′ · max(|x_⌊h⌋|, |x_⌈h⌉|), and always between the least
 * and the greatest value, which p = 0 and p = 100 give exactly. α′ is the accuracy asked for while the values fill at
 * most 512 buckets: surely while values of one sign span less than a factor of γ^500, γ = (1 + α) / (1 − α), and values
 * of both signs γ^250 each: 4.3 decades of amounts at 1 %. Beyond that α′ = tanh(2^level · artanh α) after the least
 * number of collapses that will do, and the value is marked as truncated. Magnitudes below 2⁻¹⁰²² count as 0.
 */
import type { Operation, OperationParam } from '../partial-aggregate.ts';
import type { QuantilesState } from '../partials/quantiles.ts';
import { ORDERED_TYPES } from './column-types.ts';
import { ofValues } from './partial-request.ts';

const ACCURACY: OperationParam = {
  name: 'accuracy',
  option: true,
  min: 0.001,
  max: 0.1,
  default: 0.01,
  fractional: true,
};

function quantile(
  name: string,
  own: Pick<Operation, 'params' | 'list' | 'description' | 'example' | 'finalize' | 'resultType'>,
): Operation {
  const accuracyAt = own.params.indexOf(ACCURACY);
  return {
    name,
    accepts: ORDERED_TYPES,
    columnOptional: false,
    accuracy:
      'exact up to 128 values; beyond, within `accuracy` of the greater neighbour while 512 buckets are enough (4.3 decades at 0.01, 0.43 at 0.001), else truncated: the error doubles until they are, see [percentiles](#percentiles-over-many-decades). Longs become doubles',
    bytes:
      'up to 128 values: 1–8 a value; beyond, some 100 to 600 as a rule (a thousand amounts: 180), at most 10,000',
    empty: null,
    partials: (column, params) => [ofValues('quantiles', column, [params[accuracyAt]!])],
    truncated: ([sketch]) => (sketch as QuantilesState).level > 0,
    ...own,
  };
}

export const percentile = quantile('percentile', {
  params: [{ name: 'p', min: 0, max: 100, default: null, fractional: true }, ACCURACY],
  description: 'The value below which p percent of the values lie, interpolated.',
  example: "percentile('amount', 99).over('30d')",
  finalize: ([sketch], _type, [p]) => (sketch as QuantilesState).quantile(p!),
  resultType: () => 'double',
});

/** In the order in which they are listed. */
export const percentiles = quantile('percentiles', {
  params: [ACCURACY],
  list: { name: 'percents', min: 0, max: 100, lengthMax: 100, ascending: false },
  description: 'Several percentiles, in the order listed.',
  example: "percentiles('amount', [50, 90, 99]).over('30d')",
  finalize([sketch], _type, [, ...percents]) {
    const { count } = sketch as QuantilesState;
    return count === 0 ? null : percents.map((p) => (sketch as QuantilesState).quantile(p));
  },
  resultType: () => 'double[]',
});

export const median = quantile('median', {
  params: [ACCURACY],
  description: 'The value in the middle, or half way between the two in the middle.',
  example: "median('amount').over('30d')",
  finalize: ([sketch]) => (sketch as QuantilesState).quantile(50),
  resultType: () => 'double',
});
