/** Different values by when they occurred, in the total order of C3. Events with a null there do not count. */
import type { OrderedRows } from '../ordered-rows.ts';
import type { Operation } from '../partial-aggregate.ts';
import { toFeatureValue } from '../stored-value.ts';
import { ANY_TYPE } from './column-types.ts';
import { ofValues } from './partial-request.ts';

function distinctN(which: 'first' | 'last', description: string): Operation {
  return {
    name: `${which}_distinct_n`,
    accepts: ANY_TYPE,
    columnOptional: false,
    params: [{ name: 'n', min: 1, max: 1000, default: null }],
    description,
    accuracy: 'exact, in event order',
    bytes: '12–20 a value and the length of a text',
    example: `${which}DistinctN('merchant', 5).over('30d')`,
    empty: null,
    partials: (column, params) => [ofValues(`${which}_distinct_n`, column, params)],
    finalize([kept], type) {
      const { values } = kept as OrderedRows;
      return values.length === 0 ? null : values.map((value) => toFeatureValue(value, type));
    },
    resultType: (type) => `${type ?? 'string'}[]`,
  };
}

/** The n different non-null values that occurred first, by first occurrence; fewer where there are fewer. None: null. */
export const firstDistinctN = distinctN(
  'first',
  'The n different values that occurred first, in the order of their first occurrence.',
);

/** The n different non-null values that occurred last, by last occurrence, the newest at the end. None: null. */
export const lastDistinctN = distinctN(
  'last',
  'The n different values that occurred last, in the order of their last occurrence.',
);
