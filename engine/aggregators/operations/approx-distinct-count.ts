import type { Operation } from '../partial-aggregate.ts';
import type { DistinctState } from '../partials/distinct.ts';
import { ANY_TYPE } from './column-types.ts';
import { ofHashes } from './partial-request.ts';

/**
 * How many different non-null values, with a standard error that the definition chooses: 1.04 / √2^precision beyond
 * 2^precision / 32 values (measured 6 % more of it for precisions below 7), exact up to there. Empty, or only nulls: 0.
 */
export const approxDistinctCount: Operation = {
  name: 'approx_distinct_count',
  accepts: ANY_TYPE,
  columnOptional: false,
  params: [{ name: 'precision', option: true, min: 4, max: 14, default: 10 }],
  description: 'How many different values, by a sketch of a chosen size.',
  accuracy:
    'exact up to 2^p / 32 values (32 for p = 10), beyond it HyperLogLog with a standard error of 1.04 / √2^p (3.3 %)',
  bytes: '7 a value up to 2^p / 32 of them, then 2 and less, at most 0.44 · 2^p (450 for p = 10)',
  example: "approxDistinctCount('merchant', { precision: 12 }).over('30d')",
  empty: 0,
  partials: (column, params) => [ofHashes('approx_distinct', column, params)],
  finalize: ([seen]) => (seen as DistinctState).count(),
  resultType: () => 'integer',
};
