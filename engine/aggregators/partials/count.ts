import type { ColumnVector } from '../../tiles/row-block.ts';
import type { PartialAggregate, PartialFactory } from '../partial-aggregate.ts';
import type { CountState } from './row-count.ts';

function countNumbers(column: Float64Array, from: number, to: number): number {
  let counted = 0;
  for (let i = from; i < to; i++) if (!Number.isNaN(column[i]!)) counted++;
  return counted;
}

function countOthers(column: ColumnVector, from: number, to: number): number {
  let counted = 0;
  for (let i = from; i < to; i++) if (column[i] !== null) counted++;
  return counted;
}

/** Partial `count`: the exact number of non-null values of a column. Encoded: one varint. */
export const count: PartialFactory = ({ key, column, storage }): PartialAggregate<CountState> => ({
  key,
  column,
  create: () => ({ rows: 0 }),
  clear(state) {
    state.rows = 0;
  },
  addRows(state, rows, from, to) {
    const values = rows.columns[column]!;
    state.rows +=
      storage === 'number' ? countNumbers(values as Float64Array, from, to) : countOthers(values, from, to);
  },
  absorb(state, r) {
    state.rows += r.varint();
  },
  encode(state, w) {
    w.varint(state.rows);
  },
});
