/**
 * Partials `largest_n(n)` and `smallest_n(n)`: the n largest and the n smallest non-null values, equal ones as often
 * as they occur. Encoded: `RankedValues`.
 */
import { NARROW_VALUES_MAX, type PartialAggregate, type PartialFactory } from '../partial-aggregate.ts';
import { type Best, RankedValues } from '../ranked-values.ts';
import { refuseText } from './refuse-text.ts';

function rankedValues(best: Best): PartialFactory {
  return ({ key, column, storage, params }): PartialAggregate<RankedValues> => {
    refuseText(key, storage);
    const n = params[0]!;
    /** Values on their way into a state; used within one call only. */
    const incoming = new RankedValues(best, n);
    return {
      key,
      column,
      wide: n > NARROW_VALUES_MAX,
      create: () => new RankedValues(best, n),
      clear(state) {
        state.clear();
      },
      addRows(state, rows, from, to) {
        const values = rows.columns[column] as ArrayLike<number | bigint | null>;
        for (let i = from; i < to; i++) {
          const value = values[i]!;
          if (value === null || Number.isNaN(value)) continue;
          if (state.takes(value)) state.insert(value);
        }
      },
      absorb(state, r) {
        incoming.readFor(state, r, storage);
        state.merge(incoming);
      },
      encode(state, w) {
        state.encode(w);
      },
    };
  };
}

export const largestN = rankedValues('largest');
export const smallestN = rankedValues('smallest');
