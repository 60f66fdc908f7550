import type { Operation } from '../partial-aggregate.ts';
import type { FrequentState } from '../partials/frequent.ts';
import { toFeatureValue } from '../stored-value.ts';
import { ANY_TYPE } from './column-types.ts';
import { ofValues } from './partial-request.ts';

/**
 * The k most frequent non-null values with how often they occur, as pairs: most frequent first, equally frequent ones
 * ascending; fewer where there are fewer, and beyond the capacity where no more are known to be frequent, perhaps none ([]). At
 * least k values are counted, whatever the capacity. Empty, or only nulls: null.
 */
export const topKFrequent: Operation = {
  name: 'top_k_frequent',
  accepts: ANY_TYPE,
  columnOptional: false,
  params: [
    { name: 'k', min: 1, max: 100, default: null },
    { name: 'capacity', option: true, min: 1, max: 1024, default: 64 },
  ],
  description: 'The k most frequent values and how often they occur, most frequent first.',
  accuracy:
    'exact up to `capacity` (at least k) different values; beyond, truncated: counts are at most n / (capacity + 1) too low, values no more frequent than that may be missing, so that there are fewer than k, and within that bound counts may depend on how events were batched',
  bytes:
    '3–10 for each of at most `capacity` values; of a text, 2 and what it does not share with the one before',
  example: "topKFrequent('merchant', 5, { capacity: 128 }).over('30d')",
  empty: null,
  partials: (column, [k, capacity]) => [ofValues('frequent', column, [Math.max(k!, capacity!)])],
  finalize([counted], type, [k]) {
    const state = counted as FrequentState;
    const top = state.top(k!);
    if (top.length === 0 && state.takenOff === 0) return null;
    return top.map(([value, count]) => [toFeatureValue(value, type), count]);
  },
  truncated: ([counted]) => (counted as FrequentState).takenOff > 0,
  resultType: () => 'pair[]',
};
