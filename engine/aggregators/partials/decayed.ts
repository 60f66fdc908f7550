import { DecayState } from '../decay-state.ts';
import type { PartialAggregate, PartialFactory } from '../partial-aggregate.ts';
import { refuseText } from './refuse-text.ts';

function decayed(ones: boolean): PartialFactory {
  return ({ key, column, storage, params }): PartialAggregate<DecayState> => {
    if (!ones) refuseText(key, storage);
    const halfLifeMs = params[0]!;
    return {
      key,
      column,
      create: () => new DecayState(),
      clear(state) {
        state.clear();
      },
      addRows(state, rows, from, to) {
        state.addRows(rows.times, rows.columns[column] ?? null, ones, halfLifeMs, from, to);
      },
      absorb(state, r) {
        state.absorb(r);
      },
      encode(state, w) {
        state.encode(w);
      },
    };
  };
}

/** Partial `decayed_sum(halfLifeMs)`: Σ x·2^(t/h) over the non-null values; a long beyond 2⁵³ counts as the nearest double. */
export const decayedSum = decayed(false);

/** Partial `decayed_count(halfLifeMs)`: Σ 2^(t/h) over the rows, those with a non-null value where there is a column. */
export const decayedCount = decayed(true);
