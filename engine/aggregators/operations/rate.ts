import type { Operation } from '../partial-aggregate.ts';
import type { CountState } from '../partials/row-count.ts';
import { ANY_TYPE } from './column-types.ts';
import { count } from './count.ts';

/**
 * Events per second of the window's length; with a column, those with a non-null value there. Where an old edge is
 * coarser than asked, the length is that of the window counted. Empty, or only nulls: 0.
 */
export const rate: Operation = {
  name: 'rate',
  accepts: ANY_TYPE,
  columnOptional: true,
  params: [],
  needsLength: true,
  description: 'Events per second of the window; with a column, events with a value that is not null.',
  accuracy: 'the count is exact; one division is rounded',
  bytes: '1–8',
  example: "rate().over('5m')",
  empty: 0,
  partials: count.partials,
  finalize([counted], _type, _params, { fromMs, toMs }) {
    if (fromMs === null) throw new TypeError('a rate needs a window with an old edge');
    return ((counted as CountState).rows * 1000) / (toMs - fromMs);
  },
  resultType: () => 'double',
};
