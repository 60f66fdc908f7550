/** Every kind of partial aggregate there is. Kinds are part of what is stored: never rename one. */
import type { PartialFactory, PartialRequest } from './partial-aggregate.ts';
import { changes } from './partials/changes.ts';
import { count } from './partials/count.ts';
import { decayedCount, decayedSum } from './partials/decayed.ts';
import { approxDistinct, distinct } from './partials/distinct.ts';
import { firstDistinctN, lastDistinctN } from './partials/distinct-n.ts';
import { exactSumOfCubes, exactSumOfFourthPowers } from './partials/exact-power-sum.ts';
import { exactSum } from './partials/exact-sum.ts';
import { exactSumOfSquares } from './partials/exact-sum-of-squares.ts';
import { firstTime, lastTime } from './partials/extreme-time.ts';
import { max, min } from './partials/extremum.ts';
import { firstN } from './partials/first-n.ts';
import { frequent } from './partials/frequent.ts';
import { gaps } from './partials/gaps.ts';
import { hashCounts } from './partials/hash-counts.ts';
import { histogram } from './partials/histogram.ts';
import { lastN } from './partials/last-n.ts';
import { quantiles } from './partials/quantiles.ts';
import { maxByN, minByN } from './partials/ranked-rows.ts';
import { largestN, smallestN } from './partials/ranked-values.ts';
import { rowCount } from './partials/row-count.ts';
import { valueSet } from './partials/value-set.ts';

export const partialRegistry: ReadonlyMap<string, PartialFactory> = new Map([
  ['row_count', rowCount],
  ['count', count],
  ['exact_sum', exactSum],
  ['exact_sum_of_squares', exactSumOfSquares],
  ['min', min],
  ['max', max],
  ['first_n', firstN],
  ['last_n', lastN],
  ['distinct', distinct],
  ['largest_n', largestN],
  ['smallest_n', smallestN],
  ['max_by_n', maxByN],
  ['min_by_n', minByN],
  ['gaps', gaps],
  ['changes', changes],
  ['exact_sum_of_cubes', exactSumOfCubes],
  ['exact_sum_of_fourth_powers', exactSumOfFourthPowers],
  ['histogram', histogram],
  ['decayed_sum', decayedSum],
  ['decayed_count', decayedCount],
  ['first_time', firstTime],
  ['last_time', lastTime],
  ['approx_distinct', approxDistinct],
  ['quantiles', quantiles],
  ['frequent', frequent],
  ['hash_counts', hashCounts],
  ['value_set', valueSet],
  ['first_distinct_n', firstDistinctN],
  ['last_distinct_n', lastDistinctN],
]);

/**
 * The canonical identity of a partial: `row_count()`, `exact_sum(amount)`, `first_n(amount,3)`,
 * `distinct(#merchant,1024)`. A column needed as a hash is marked with `#`, which no column name contains.
 */
export function partialKey({ kind, column, need, orderBy, params }: PartialRequest): string {
  const columns = column === null ? [] : [need === 'hash' ? `#${column}` : column];
  if (orderBy !== undefined) columns.push(orderBy);
  return `${kind}(${[...columns, ...params].join(',')})`;
}
