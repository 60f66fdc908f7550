import { DESCRIBED_OPTIONS, described, refuseUnknownOptions } from './known-options.ts';
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
  refuseUnknownOptions(`entity ${String(name)}`, options, DESCRIBED_OPTIONS);
  return Object.freeze({ kind: 'entity', name, ...described(options) });
}
