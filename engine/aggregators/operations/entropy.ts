import type { Operation } from '../partial-aggregate.ts';
import type { HashCountsState } from '../partials/hash-counts.ts';
import { ANY_TYPE } from './column-types.ts';
import { ofHashes } from './partial-request.ts';

/**
 * Shannon entropy of how the non-null values are distributed, in bits: log₂ n − Σ cᵢ log₂ cᵢ / n for counts cᵢ that sum
 * to n; 0 where all are equal, log₂ m where m values are equally frequent. Beyond `max` different values it is not
 * known: null, and truncated. Empty, or only nulls: null.
 */
export const entropy: Operation = {
  name: 'entropy',
  accepts: ANY_TYPE,
  columnOptional: false,
  params: [{ name: 'max', option: true, min: 1, max: 4096, default: 1024 }],
  description: 'Shannon entropy of the distribution of the values, in bits.',
  accuracy:
    'exact counts up to `max` different values, summed to about 1e-15 · log₂ n; beyond, null and truncated',
  bytes: '8 a different value, at most 9 · `max` as a rule (1,024: 9 kB)',
  example: "entropy('merchant', { max: 256 }).over('7d')",
  empty: null,
  partials: (column, params) => [ofHashes('hash_counts', column, params)],
  finalize([counted]) {
    const state = counted as HashCountsState;
    if (state.truncated) return null;
    // In the order of the hashes, so that equal sets of events give equal bits.
    const counts = state.counts();
    let n = 0;
    for (const count of counts) n += count;
    if (n === 0) return null;
    let bits = 0;
    for (const count of counts) bits -= (count / n) * Math.log2(count / n);
    // Not −0, which is what one value gives.
    return bits + 0;
  },
  truncated: ([counted]) => (counted as HashCountsState).truncated,
  resultType: () => 'double',
};
