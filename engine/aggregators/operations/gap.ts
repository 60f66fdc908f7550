/**
 * The largest and the smallest time between two consecutive events of a window, ms; with a column, of the events with
 * a value that is not null. Two events of one millisecond are 0 apart.
 */
import type { Operation } from '../partial-aggregate.ts';
import type { Gaps } from '../partials/gaps.ts';
import { ANY_TYPE } from './column-types.ts';
import { ofValues } from './partial-request.ts';

function gap(name: 'max_gap' | 'min_gap', builder: string): Operation {
  const which = name === 'max_gap' ? 'largest' : 'smallest';
  return {
    name,
    accepts: ANY_TYPE,
    columnOptional: true,
    params: [],
    sequence: true,
    description: `The ${which} time between two consecutive events, in ms; with a column, of those with a value.`,
    accuracy: 'exact',
    bytes: '1 where there is no event, else 7–36',
    example: `${builder}().over('1d')`,
    empty: null,
    partials: (column) =>
      column === null
        ? [{ kind: 'gaps', column: null, need: 'value', params: [] }]
        : [ofValues('gaps', column)],
    finalize([found]) {
      const { largestMs, smallestMs } = found as Gaps;
      return name === 'max_gap' ? largestMs : smallestMs;
    },
    resultType: () => 'integer',
  };
}

/** Fewer than two events (with a column: than two values): null. */
export const maxGap = gap('max_gap', 'maxGap');

/** Fewer than two events (with a column: than two values): null. */
export const minGap = gap('min_gap', 'minGap');
