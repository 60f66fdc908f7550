import type { Expansion } from '../expansion.ts';
import type { Operation } from '../partial-aggregate.ts';
import type { CountState } from '../partials/row-count.ts';
import { NUMERIC_TYPES } from './column-types.ts';
import { ofValues } from './partial-request.ts';

/** The correctly rounded sum divided by the number of non-null values. Empty, or only nulls: null. */
export const mean: Operation = {
  name: 'mean',
  accepts: NUMERIC_TYPES,
  columnOptional: false,
  params: [],
  description: 'The correctly rounded sum divided by the number of values.',
  accuracy: 'the sum is exact; one division is rounded',
  bytes: '3–25 as a rule',
  example: "mean('amount').over('30d')",
  empty: null,
  partials: (column) => [ofValues('count', column), ofValues('exact_sum', column)],
  finalize([counted, total]) {
    const n = (counted as CountState).rows;
    return n === 0 ? null : (total as Expansion).round() / n;
  },
  resultType: () => 'double',
};
