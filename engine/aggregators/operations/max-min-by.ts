/** The values of a column where another column is greatest or least. Events with a null in either do not count. */
import type { Operation } from '../partial-aggregate.ts';
import type { RankedRows } from '../ranked-rows.ts';
import { toFeatureValue } from '../stored-value.ts';
import { ANY_TYPE, ORDERED_TYPES } from './column-types.ts';
import { ofOrderedValues } from './partial-request.ts';

function ranked(name: 'max_by_n' | 'min_by_n', builder: string): Operation {
  const [which, tie] = name === 'max_by_n' ? ['greatest', 'newer'] : ['least', 'older'];
  return {
    name,
    accepts: ANY_TYPE,
    columnOptional: false,
    orderedBy: ORDERED_TYPES,
    params: [{ name: 'n', option: true, min: 1, max: 1000, default: 1 }],
    description: `The values in the n events where the column \`by\` is ${which}, the ${which} first.`,
    accuracy: `exact; of two events with equal \`by\` the ${tie} comes first, in event order`,
    bytes: '14–30 a value and the length of a text',
    example: `${builder}('merchant', { by: 'amount', n: 3 }).over('30d')`,
    empty: null,
    partials: (column, params, orderBy) => [ofOrderedValues(name, column, orderBy, params)],
    finalize([kept], type) {
      const { values } = kept as RankedRows;
      return values.length === 0 ? null : values.map((value) => toFeatureValue(value, type));
    },
    resultType: (type) => `${type ?? 'string'}[]`,
  };
}

/**
 * The non-null values in the n events with the greatest non-null `by`, greatest first, of equal ones the newer first;
 * fewer where there are fewer. None: null.
 */
export const maxByN = ranked('max_by_n', 'maxByN');

/**
 * The non-null values in the n events with the least non-null `by`, least first, of equal ones the older first; fewer
 * where there are fewer. None: null.
 */
export const minByN = ranked('min_by_n', 'minByN');
