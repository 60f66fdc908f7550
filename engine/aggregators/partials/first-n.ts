import { OrderedRows } from '../ordered-rows.ts';
import { NARROW_VALUES_MAX, type PartialAggregate, type PartialFactory } from '../partial-aggregate.ts';

/** Rows on their way into a state; used within one call only. */
const incoming = new OrderedRows();

/**
 * Partial `first_n(k)`: the k oldest rows with a non-null value, in the total order of C3. Encoded: `OrderedRows`.
 */
export const firstN: PartialFactory = ({ key, column, storage, params }): PartialAggregate<OrderedRows> => {
  const k = params[0]!;

  function keepOldest(state: OrderedRows): void {
    state.merge(incoming);
    state.truncate(k);
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
      incoming.clear();
      for (let i = from; i < to && incoming.length < k; i++) {
        if (full && state.compareToBlock(k - 1, rows, i) <= 0) break;
        const value = values[i]!;
        if (value === null || Number.isNaN(value)) continue;
        incoming.push(rows, i, value);
      }
      keepOldest(state);
    },
    absorb(state, r) {
      incoming.readKeys(r, k);
      let useful = incoming.length;
      if (state.length === k) while (useful > 0 && state.compare(k - 1, incoming, useful - 1) <= 0) useful--;
      incoming.readValues(r, storage, 0, useful);
      keepOldest(state);
    },
    encode(state, w) {
      state.encode(w);
    },
  };
};
