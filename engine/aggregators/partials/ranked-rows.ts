/**
 * Partials `max_by_n(n)` and `min_by_n(n)`: the values of a column in the n rows with the greatest or the least value
 * of another column; rows where either is null are skipped. Encoded: `RankedRows`.
 */
import { NARROW_VALUES_MAX, type PartialAggregate, type PartialFactory } from '../partial-aggregate.ts';
import { type End, RankedRows } from '../ranked-rows.ts';
import type { StoredValue } from '../stored-value.ts';
import { refuseText } from './refuse-text.ts';

function rankedRows(end: End): PartialFactory {
  return ({ key, column, storage, orderBy, params }): PartialAggregate<RankedRows> => {
    if (orderBy === undefined) throw new TypeError(`${key} needs a column to order by`);
    refuseText(key, orderBy.storage);
    const n = params[0]!;
    /** Rows on their way into a state; used within one call only. */
    const incoming = new RankedRows(end, n);
    return {
      key,
      column,
      wide: n > NARROW_VALUES_MAX,
      create: () => new RankedRows(end, n),
      clear(state) {
        state.clear();
      },
      addRows(state, rows, from, to) {
        const values = rows.columns[column] as ArrayLike<StoredValue | null>;
        const ranks = rows.columns[orderBy.column] as ArrayLike<number | bigint | null>;
        for (let i = from; i < to; i++) {
          const by = ranks[i]!;
          const value = values[i]!;
          if (by === null || Number.isNaN(by) || value === null || Number.isNaN(value)) continue;
          state.add(rows, i, by, value);
        }
      },
      absorb(state, r) {
        incoming.readFor(state, r, orderBy.storage, storage);
        state.merge(incoming);
      },
      encode(state, w) {
        state.encode(w);
      },
    };
  };
}

export const maxByN = rankedRows('greatest');
export const minByN = rankedRows('least');
