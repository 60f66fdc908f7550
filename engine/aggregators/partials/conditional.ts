/**
 * A partial over the rows that meet a condition: those whose boolean column is true. Its state and bytes are the inner
 * partial's.
 */
import { pickRows, type RowBlock, storagesOf } from '../../tiles/row-block.ts';
import type { PartialAggregate } from '../partial-aggregate.ts';

/** @param condition index of the boolean column: 1 is true, 0 false, NaN null */
export function conditional(key: string, inner: PartialAggregate, condition: number): PartialAggregate {
  const addRuns = (state: unknown, rows: RowBlock, from: number, to: number): void => {
    const met = rows.columns[condition] as Float64Array;
    for (let i = from; i < to; i++) {
      if (met[i] !== 1) continue;
      const start = i;
      while (i < to && met[i] === 1) i++;
      inner.addRows(state, rows, start, i);
    }
  };
  // An ordered partial takes one stretch: runs one after another would leave gaps to be filled when they are older.
  const addStretch = (state: unknown, rows: RowBlock, from: number, to: number): void => {
    const met = rows.columns[condition] as Float64Array;
    const chosen: number[] = [];
    for (let i = from; i < to; i++) if (met[i] === 1) chosen.push(i);
    if (chosen.length === 0) return;
    const picked = pickRows(rows, chosen, storagesOf(rows));
    inner.addRows(state, picked, 0, picked.length);
  };
  return {
    key,
    column: inner.column,
    ...(inner.ordered === true ? { ordered: true } : {}),
    ...(inner.boundedError === true ? { boundedError: true } : {}),
    ...(inner.wide === true ? { wide: true } : {}),
    create: () => inner.create(),
    clear: (state) => inner.clear(state),
    addRows: inner.ordered === true ? addStretch : addRuns,
    absorb: (state, r) => inner.absorb(state, r),
    encode: (state, w) => inner.encode(state, w),
  };
}
