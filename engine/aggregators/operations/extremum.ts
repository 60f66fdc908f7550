import type { Operation } from '../partial-aggregate.ts';
import type { ExtremumState } from '../partials/extremum.ts';
import { ORDERED_TYPES } from './column-types.ts';
import { ofValues } from './partial-request.ts';

function extremum(kind: 'min' | 'max', which: string): Operation {
  return {
    name: kind,
    accepts: ORDERED_TYPES,
    columnOptional: false,
    params: [],
    description: `The ${which} value.`,
    accuracy: 'exact',
    bytes: '1–10',
    example: `${kind}('amount').over('30d')`,
    empty: null,
    partials: (column) => [ofValues(kind, column)],
    finalize: ([found]) => (found as ExtremumState).value,
    resultType: (type) => type ?? 'double',
  };
}

/** The least non-null value. Empty, or only nulls: null. */
export const min = extremum('min', 'least');

/** The greatest non-null value. Empty, or only nulls: null. */
export const max = extremum('max', 'greatest');
