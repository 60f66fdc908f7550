/** The oldest and the newest values of a window, in the total order of C3. Events with a null there do not count. */
import type { OrderedRows } from '../ordered-rows.ts';
import type { Operation } from '../partial-aggregate.ts';
import { toFeatureValue } from '../stored-value.ts';
import { ANY_TYPE } from './column-types.ts';
import { ofValues } from './partial-request.ts';

function one(name: string, kind: 'first_n' | 'last_n'): Operation {
  return {
    name,
    accepts: ANY_TYPE,
    columnOptional: false,
    params: [],
    description: `The ${name === 'first' ? 'oldest' : 'newest'} value.`,
    accuracy: 'exact, in event order',
    bytes: '12–20 and the length of a text',
    example: `${name}('country').over('1d')`,
    empty: null,
    partials: (column) => [ofValues(kind, column, [1])],
    finalize([kept], type) {
      const { values } = kept as OrderedRows;
      return values.length === 0 ? null : toFeatureValue(values[0]!, type);
    },
    resultType: (type) => type ?? 'string',
  };
}

function several(kind: 'first_n' | 'last_n'): Operation {
  return {
    name: kind,
    accepts: ANY_TYPE,
    columnOptional: false,
    params: [{ name: 'n', min: 1, max: 1000, default: null }],
    description: `The n ${kind === 'first_n' ? 'oldest' : 'newest'} values, oldest first.`,
    accuracy: 'exact, in event order',
    bytes: '12–20 a value and the length of a text',
    example: `${kind === 'first_n' ? 'firstN' : 'lastN'}('merchant', 5).over('30d')`,
    empty: null,
    partials: (column, params) => [ofValues(kind, column, params)],
    finalize([kept], type) {
      const { values } = kept as OrderedRows;
      return values.length === 0 ? null : values.map((value) => toFeatureValue(value, type));
    },
    resultType: (type) => `${type ?? 'string'}[]`,
  };
}

/** The oldest non-null value. None: null. */
export const first = one('first', 'first_n');

/** The newest non-null value. None: null. */
export const last = one('last', 'last_n');

/** The n oldest non-null values, oldest first; fewer where there are fewer. None: null. */
export const firstN = several('first_n');

/** The n newest non-null values, oldest of them first, so the newest is at the end. None: null. */
export const lastN = several('last_n');
