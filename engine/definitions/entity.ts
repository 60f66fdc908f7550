import { readableOptions, unknownOptions, withProblems } from './builder-problems.ts';
import { DESCRIBED_OPTIONS, described } from './described.ts';
import type { Described, Entity } from './types.ts';

/** An entity whose name is known to the compiler. */
export interface EntityOf<N extends string = string> extends Entity {
  readonly name: N;
}

/**
 * The thing that features describe. Its name is how requests give the key, and the default of a view's key
 * column.
 *
 * @example const customer = entity('customer_id', { description: 'A card holder.' });
 */
export function entity<const N extends string>(name: N, options: Described = {}): EntityOf<N> {
  return Object.freeze({
    kind: 'entity',
    name,
    ...described(readableOptions(options)),
    ...withProblems(unknownOptions('', options, DESCRIBED_OPTIONS)),
  });
}
