import type { Operation } from '../partial-aggregate.ts';
import type { Changes } from '../partials/changes.ts';
import { ANY_TYPE } from './column-types.ts';
import { ofValues } from './partial-request.ts';

/**
 * How often the value differs from that of the event before it, in the total order of C3. Nulls are skipped: a value
 * compares with the last one that was not null. Empty, only nulls, or one value: 0.
 */
export const changes: Operation = {
  name: 'changes',
  accepts: ANY_TYPE,
  columnOptional: false,
  params: [],
  sequence: true,
  description: 'How often the value differs from the one before it; nulls are skipped.',
  accuracy: 'exact, in event order',
  bytes: '1 where there is no value, else 17–60 and the length of two texts',
  example: "changes('device').over('1d')",
  empty: 0,
  partials: (column) => [ofValues('changes', column)],
  finalize: ([counted]) => (counted as Changes).count,
  resultType: () => 'integer',
};
