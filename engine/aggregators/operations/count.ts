import type { Operation } from '../partial-aggregate.ts';
import type { CountState } from '../partials/row-count.ts';
import { ANY_TYPE } from './column-types.ts';
import { ofValues } from './partial-request.ts';

/** How many events; with a column, how many with a non-null value there. Empty: 0. */
export const count: Operation = {
  name: 'count',
  accepts: ANY_TYPE,
  columnOptional: true,
  params: [],
  description: 'How many events; with a column, how many with a value that is not null.',
  accuracy: 'exact',
  bytes: '1–8',
  example: "count().over('1h')",
  empty: 0,
  partials: (column) =>
    column === null
      ? [{ kind: 'row_count', column: null, need: 'value', params: [] }]
      : [ofValues('count', column)],
  finalize: ([counted]) => (counted as CountState).rows,
  resultType: () => 'integer',
};
