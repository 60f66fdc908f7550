import type { Expansion } from '../expansion.ts';
import type { Operation } from '../partial-aggregate.ts';
import { NUMERIC_TYPES } from './column-types.ts';
import { ofValues } from './partial-request.ts';

/**
 * Sum of the non-null values. Of integers and longs exact, a bigint beyond ±(2⁵³ − 1); of doubles the double
 * nearest to the exact sum. Empty, or only nulls: 0.
 */
export const sum: Operation = {
  name: 'sum',
  accepts: NUMERIC_TYPES,
  columnOptional: false,
  params: [],
  description: 'Sum of the values.',
  accuracy: 'exact: integers to the last digit, doubles rounded once, whatever the order',
  bytes: '2–17 as a rule',
  example: "sum('amount').over('7d')",
  empty: 0,
  partials: (column) => [ofValues('exact_sum', column)],
  finalize: ([total], type) =>
    type === 'double' ? (total as Expansion).round() : (total as Expansion).toInteger(),
  resultType: (type) => (type === 'double' ? 'double' : 'long'),
};
