/**
 * Sums that forget: an event weighs 2^(−age/halfLife) at the as-of time, ½ after one half-life. The window still says
 * which events count at all. A mean does not depend on the as-of time, other than through the window.
 */
import type { DecayState } from '../decay-state.ts';
import type { Operation, OperationParam } from '../partial-aggregate.ts';
import { ANY_TYPE, NUMERIC_TYPES } from './column-types.ts';
import { ofRowsOrValues, ofValues } from './partial-request.ts';

/** At most 20 years, as every duration. */
const HALF_LIFE: OperationParam = {
  name: 'half_life_ms',
  written: 'halfLife',
  duration: true,
  min: 1,
  max: 7305 * 86_400_000,
  default: null,
};

const VANISHING = 'events 1,024 to 1,536 half-lives older than the newest one vanish';

/** Σ x·2^(−age/halfLife). Empty, or only nulls: 0. */
export const expDecaySum: Operation = {
  name: 'exp_decay_sum',
  accepts: NUMERIC_TYPES,
  columnOptional: false,
  params: [HALF_LIFE],
  description: 'Sum of the values, each halved once for every half-life of its age.',
  accuracy: `within 2e−15 of Σ|x|·2^(−age/half-life), the same bits whatever the order; a long beyond 2⁵³ counts as the nearest double; ${VANISHING}`,
  bytes: '20–30 as a rule, at most 970',
  example: "expDecaySum('amount', '7d').over('90d')",
  empty: 0,
  partials: (column, params) => [ofValues('decayed_sum', column, params)],
  finalize: ([total], _type, [halfLifeMs], { atMs }) => (total as DecayState).at(atMs, halfLifeMs!),
  resultType: () => 'double',
};

/** Σ 2^(−age/halfLife) over the events, with a column over those with a non-null value there. None: 0. */
export const expDecayCount: Operation = {
  name: 'exp_decay_count',
  accepts: ANY_TYPE,
  columnOptional: true,
  params: [HALF_LIFE],
  description:
    'How many events, each halved once for every half-life of its age; with a column, those with a value that is not null.',
  accuracy: `within 2e−15 of the exact value, relative to it, the same bits whatever the order; ${VANISHING}`,
  bytes: '20–30 as a rule, at most 298',
  example: "expDecayCount('7d').over('90d')",
  empty: 0,
  partials: (column, params) => [ofRowsOrValues('decayed_count', column, params)],
  finalize: ([total], _type, [halfLifeMs], { atMs }) => (total as DecayState).at(atMs, halfLifeMs!),
  resultType: () => 'double',
};

/** The decayed sum divided by the decayed count. Empty, or only nulls: null. */
export const expDecayMean: Operation = {
  name: 'exp_decay_mean',
  accepts: NUMERIC_TYPES,
  columnOptional: false,
  params: [HALF_LIFE],
  description: 'Mean of the values, each weighing half as much for every half-life of its age.',
  accuracy: `within 3e−15 of the weighted mean of |x|, the same bits whatever the order; a long beyond 2⁵³ counts as the nearest double; ${VANISHING}`,
  bytes: '40–60 as a rule, at most 1,268',
  example: "expDecayMean('amount', '7d').over('90d')",
  empty: null,
  partials: (column, params) => [
    ofValues('decayed_sum', column, params),
    ofValues('decayed_count', column, params),
  ],
  finalize([total, counted]) {
    const weights = counted as DecayState;
    return weights.isEmpty ? null : (total as DecayState).inNewestEra() / weights.inNewestEra() + 0;
  },
  resultType: () => 'double',
};
