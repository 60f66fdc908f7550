/**
 * Partials `first_distinct_n(n)` and `last_distinct_n(n)`: of the n different values that occurred first (last), the row
 * of the first (last) occurrence, in the total order of C3. Encoded: `OrderedRows`.
 *
 * They merge exactly. Let v be among the n first of a union, and take the part in which its first occurrence lies: the
 * values that part had before it are among those the union had before it, fewer than n; so the part has kept that row.
 * What other parts kept of v is later and goes. Likewise for the last.
 */
import { OrderedRows } from '../ordered-rows.ts';
import { NARROW_VALUES_MAX, type PartialAggregate, type PartialFactory } from '../partial-aggregate.ts';
import type { StoredValue } from '../stored-value.ts';

/** Rows on their way into a state; used within one call only. */
const incoming = new OrderedRows();
/** Which rows of a block, newest first. */
const picked: number[] = [];

export const firstDistinctN: PartialFactory = ({
  key,
  column,
  storage,
  params,
}): PartialAggregate<OrderedRows> => {
  const n = params[0]!;

  function keepOldest(state: OrderedRows): void {
    if (incoming.length === 0) return;
    state.merge(incoming);
    state.keepFirstOfEach(new Set());
    state.truncate(n);
  }

  return {
    key,
    column,
    wide: n > NARROW_VALUES_MAX,
    create: () => new OrderedRows(),
    clear(state) {
      state.clear();
    },
    addRows(state, rows, from, to) {
      const values = rows.columns[column]!;
      const full = state.length === n;
      incoming.clear();
      const met = new Set<StoredValue>();
      for (let i = from; i < to && incoming.length < n; i++) {
        if (full && state.compareToBlock(n - 1, rows, i) <= 0) break;
        const value = values[i]!;
        if (value === null || Number.isNaN(value) || met.has(value)) continue;
        met.add(value);
        incoming.push(rows, i, value);
      }
      keepOldest(state);
    },
    absorb(state, r) {
      incoming.readKeys(r, n);
      let useful = incoming.length;
      if (state.length === n) while (useful > 0 && state.compare(n - 1, incoming, useful - 1) <= 0) useful--;
      incoming.readValues(r, storage, 0, useful);
      keepOldest(state);
    },
    encode(state, w) {
      state.encode(w);
    },
  };
};

export const lastDistinctN: PartialFactory = ({
  key,
  column,
  storage,
  params,
}): PartialAggregate<OrderedRows> => {
  const n = params[0]!;

  function keepNewest(state: OrderedRows): void {
    if (incoming.length === 0) return;
    state.merge(incoming);
    state.keepLastOfEach(new Set());
    state.dropFirst(state.length - n);
  }

  return {
    key,
    column,
    wide: n > NARROW_VALUES_MAX,
    create: () => new OrderedRows(),
    clear(state) {
      state.clear();
    },
    addRows(state, rows, from, to) {
      const values = rows.columns[column]!;
      const full = state.length === n;
      const met = new Set<StoredValue>();
      picked.length = 0;
      for (let i = to - 1; i >= from && picked.length < n; i--) {
        if (full && state.compareToBlock(0, rows, i) >= 0) break;
        const value = values[i]!;
        if (value === null || Number.isNaN(value) || met.has(value)) continue;
        met.add(value);
        picked.push(i);
      }
      incoming.clear();
      for (let k = picked.length - 1; k >= 0; k--) incoming.push(rows, picked[k]!, values[picked[k]!]!);
      keepNewest(state);
    },
    absorb(state, r) {
      incoming.readKeys(r, n);
      let useless = 0;
      if (state.length === n)
        while (useless < incoming.length && state.compare(0, incoming, useless) >= 0) useless++;
      incoming.readValues(r, storage, useless, incoming.length);
      keepNewest(state);
    },
    encode(state, w) {
      state.encode(w);
    },
  };
};
