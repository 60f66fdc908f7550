import { OrderedRows } from '../ordered-rows.ts';
import { NARROW_VALUES_MAX, type PartialAggregate, type PartialFactory } from '../partial-aggregate.ts';

/** Rows on their way into a state; used within one call only. */
const incoming = new OrderedRows();

/**
 * Partial `last_n(k)`: the k newest rows with a non-null value, in the total order of C3. Encoded: `OrderedRows`.
 */
export const lastN: PartialFactory = ({ key, column, storage, params }): PartialAggregate<OrderedRows> => {
  const k = params[0]!;

  function keepNewest(state: OrderedRows): void {
    state.merge(incoming);
    state.dropFirst(state.length - k);
  }

  return {
    key,
    column,
    wide: k > NARROW_VALUES_MAX,
    create: () => new OrderedRows(),
    clear(state) {
      state.clear();
    },
    addRows(state, rows, from, to) {
      const values = rows.columns[column]!;
      const full = state.length === k;
      let start = to;
      for (let found = 0; start > from && found < k; start--) {
        if (full && state.compareToBlock(0, rows, start - 1) >= 0) break;
        const value = values[start - 1]!;
        if (value !== null && !Number.isNaN(value)) found++;
      }
      incoming.clear();
      for (let i = start; i < to; i++) {
        const value = values[i]!;
        if (value !== null && !Number.isNaN(value)) incoming.push(rows, i, value);
      }
      keepNewest(state);
    },
    absorb(state, r) {
      incoming.readKeys(r, k);
      let useless = 0;
      if (state.length === k)
        while (useless < incoming.length && state.compare(0, incoming, useless) >= 0) useless++;
      incoming.readValues(r, storage, useless, incoming.length);
      keepNewest(state);
    },
    encode(state, w) {
      state.encode(w);
    },
  };
};
