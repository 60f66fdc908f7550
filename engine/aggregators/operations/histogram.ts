import type { Operation } from '../partial-aggregate.ts';
import type { HistogramState } from '../partials/histogram.ts';
import { ORDERED_TYPES } from './column-types.ts';
import { ofValues } from './partial-request.ts';

/**
 * How many non-null values lie between given edges, one count more than there are edges: below the first, from each
 * edge up to the next, and from the last on. Empty, or only nulls: null, not a list of zeros.
 */
export const histogram: Operation = {
  name: 'histogram',
  accepts: ORDERED_TYPES,
  columnOptional: false,
  params: [],
  list: { name: 'edges', min: -1e140, max: 1e140, lengthMax: 256, ascending: true },
  description:
    'How many values lie below the first edge, from each edge up to the next, and from the last on.',
  accuracy: 'exact',
  bytes: '1 and 1–2 for each bin and for each 7 bits of its count; at most 2,058',
  example: "histogram('amount', [10, 100, 1000]).over('30d')",
  empty: null,
  partials: (column, params) => [ofValues('histogram', column, params)],
  finalize([counted]) {
    const { counts } = counted as HistogramState;
    return counts.some((count) => count !== 0) ? Array.from(counts) : null;
  },
  resultType: () => 'integer[]',
};
