/** The largest and the smallest values of a window, equal ones as often as they occur. */
import type { Operation } from '../partial-aggregate.ts';
import type { RankedValues } from '../ranked-values.ts';
import { ORDERED_TYPES } from './column-types.ts';
import { ofValues } from './partial-request.ts';

function ranked(name: 'top_n' | 'bottom_n', kind: 'largest_n' | 'smallest_n', builder: string): Operation {
  const which = kind === 'largest_n' ? 'largest' : 'smallest';
  return {
    name,
    accepts: ORDERED_TYPES,
    columnOptional: false,
    params: [{ name: 'n', min: 1, max: 1000, default: null }],
    description: `The n ${which} values, the ${which} first; equal values count as often as they occur.`,
    accuracy: 'exact',
    bytes: '2–10 a value, as a rule 2–5',
    example: `${builder}('amount', 5).over('30d')`,
    empty: null,
    partials: (column, params) => [ofValues(kind, column, params)],
    finalize([kept]) {
      const { values } = kept as RankedValues;
      return values.length === 0 ? null : [...values];
    },
    resultType: (type) => `${type ?? 'double'}[]`,
  };
}

/** The n largest non-null values, largest first; fewer where there are fewer. None: null. */
export const topN = ranked('top_n', 'largest_n', 'topN');

/** The n smallest non-null values, smallest first; fewer where there are fewer. None: null. */
export const bottomN = ranked('bottom_n', 'smallest_n', 'bottomN');
