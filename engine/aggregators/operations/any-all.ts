/** Whether some or every value of a boolean column is true: booleans are stored as 0 and 1, so an extremum tells. */
import type { Operation } from '../partial-aggregate.ts';
import type { ExtremumState } from '../partials/extremum.ts';
import { ofValues } from './partial-request.ts';

function quantifier(name: 'any' | 'all', kind: 'max' | 'min', description: string): Operation {
  const empty = name === 'all';
  return {
    name,
    accepts: ['boolean'],
    columnOptional: false,
    params: [],
    description,
    accuracy: 'exact',
    bytes: '1–3',
    example: `${name}('online').over('1d')`,
    empty,
    partials: (column) => [ofValues(kind, column)],
    finalize([found]) {
      const { value } = found as ExtremumState;
      return value === null ? empty : value !== 0;
    },
    resultType: () => 'boolean',
  };
}

/** Whether some value is true. Empty, or only nulls: false. */
export const any = quantifier('any', 'max', 'Whether some value is true.');

/** Whether no value is false. Empty, or only nulls: true. */
export const all = quantifier('all', 'min', 'Whether every value is true.');
