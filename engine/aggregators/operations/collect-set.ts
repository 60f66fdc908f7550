import type { Operation } from '../partial-aggregate.ts';
import type { ValueSetState } from '../partials/value-set.ts';
import { toFeatureValue } from '../stored-value.ts';
import { ANY_TYPE } from './column-types.ts';
import { ofValues } from './partial-request.ts';

/**
 * The different non-null values, ascending (text by code units, false before true). Beyond `max` those whose 53-bit
 * hashes are the least are kept: a sample of the values, and truncated. Empty, or only nulls: null, as for `first_n`.
 */
export const collectSet: Operation = {
  name: 'collect_set',
  accepts: ANY_TYPE,
  columnOptional: false,
  params: [{ name: 'max', option: true, min: 1, max: 1000, default: 100 }],
  description: 'The different values, ascending.',
  accuracy: 'exact up to `max` values; beyond, truncated to the `max` values with the least hashes',
  bytes: '2–9 for each of at most `max` values; of a text, 1 and what it does not share with the one before',
  example: "collectSet('country', { max: 50 }).over('30d')",
  empty: null,
  partials: (column, params) => [ofValues('value_set', column, params)],
  finalize([kept], type) {
    const values = (kept as ValueSetState).ascending();
    return values.length === 0 ? null : values.map((value) => toFeatureValue(value, type));
  },
  truncated: ([kept]) => (kept as ValueSetState).truncated,
  resultType: (type) => `${type ?? 'string'}[]`,
};
