import type { PartialAggregate, PartialFactory } from '../partial-aggregate.ts';

/** State of `row_count` and `count`. */
export interface CountState {
  rows: number;
}

/** Partial `row_count`: the exact number of rows, nulls included. Encoded: one varint. */
export const rowCount: PartialFactory = ({ key }): PartialAggregate<CountState> => ({
  key,
  column: -1,
  create: () => ({ rows: 0 }),
  clear(state) {
    state.rows = 0;
  },
  addRows(state, _rows, from, to) {
    state.rows += to - from;
  },
  absorb(state, r) {
    state.rows += r.varint();
  },
  encode(state, w) {
    w.varint(state.rows);
  },
});
