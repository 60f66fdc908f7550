import type { Operation } from '../partial-aggregate.ts';
import type { DistinctState } from '../partials/distinct.ts';
import { ANY_TYPE } from './column-types.ts';
import { ofHashes } from './partial-request.ts';

/**
 * How many different non-null values: exact up to `exactUpTo` of them, beyond it an estimate with a standard
 * error of 1.6 %. A set takes about 7 bytes a value, an estimate at most 1.8 kB. Empty, or only nulls: 0.
 */
export const distinctCount: Operation = {
  name: 'distinct_count',
  accepts: ANY_TYPE,
  columnOptional: false,
  params: [{ name: 'exact_up_to', written: 'exactUpTo', option: true, min: 1, max: 65_536, default: 1024 }],
  description: 'How many different values.',
  accuracy: 'exact up to `exactUpTo` values, beyond it HyperLogLog with a standard error of 1.6 %',
  bytes: '7 a value, at most 1,800 beyond `exactUpTo`',
  example: "distinctCount('merchant', { exactUpTo: 256 }).over('1d')",
  empty: 0,
  partials: (column, params) => [ofHashes('distinct', column, params)],
  finalize: ([seen]) => (seen as DistinctState).count(),
  resultType: () => 'integer',
};
