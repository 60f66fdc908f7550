import type { Operation } from '../partial-aggregate.ts';
import type { ExtremeTimeState } from '../partials/extreme-time.ts';
import { ANY_TYPE } from './column-types.ts';
import { ofRowsOrValues } from './partial-request.ts';

function timeSince(
  name: string,
  builder: string,
  kind: 'first_time' | 'last_time',
  which: string,
): Operation {
  return {
    name,
    accepts: ANY_TYPE,
    columnOptional: true,
    params: [],
    description: `Milliseconds from the ${which} event to the as-of time; with a column, from the ${which} with a value that is not null.`,
    accuracy: 'exact',
    bytes: '1–7',
    example: `${builder}().over('30d')`,
    empty: null,
    partials: (column) => [ofRowsOrValues(kind, column)],
    finalize([found], _type, _params, { atMs }) {
      const { timeMs } = found as ExtremeTimeState;
      return timeMs === null ? null : atMs - timeMs;
    },
    resultType: () => 'integer',
  };
}

/** Since the oldest event of the window. Empty, or only nulls: null. */
export const timeSinceFirst = timeSince('time_since_first', 'timeSinceFirst', 'first_time', 'oldest');

/** Since the newest event of the window. Empty, or only nulls: null. */
export const timeSinceLast = timeSince('time_since_last', 'timeSinceLast', 'last_time', 'newest');
