import type { ColumnType } from '../aggregators/partial-aggregate.ts';
import { readableOptions, unknownOptions, withProblems } from './builder-problems.ts';
import type { RowOf, ValueOfType } from './column.ts';
import { DESCRIBED_OPTIONS, described, frozenCopy } from './described.ts';
import type { Columns, Described, FeatureReference, OnDemandFeature } from './types.ts';

type Inputs = Readonly<Record<string, FeatureReference | OnDemandFeature>>;

/** The value of what an on-demand feature reads. */
export type ValueOfInput<I> =
  I extends FeatureReference<infer V> ? V : I extends OnDemandFeature<infer V> ? V : never;

export interface OnDemandArguments<I extends Inputs, R extends Columns> {
  /** Values of the inputs, under their local names. */
  readonly features: { readonly [K in keyof I]: ValueOfInput<I[K]> };
  readonly request: RowOf<R>;
  /** The as-of time, ms since the epoch. */
  readonly atMs: number;
}

export interface OnDemandFeatureOptions<
  T extends ColumnType,
  I extends Inputs,
  R extends Columns,
  V extends ValueOfType[T] | null,
> extends Described {
  readonly name: string;
  /** Type of the value; null is always allowed. */
  readonly type: T;
  /** Local name → feature it reads. @default none */
  readonly inputs?: I;
  /** Request data it needs. @default none */
  readonly request?: R;
  /** Pure: a function of its arguments only, the clock included (use `atMs`). */
  readonly compute: (args: OnDemandArguments<I, R>) => V;
}

const KNOWN = ['name', 'type', 'inputs', 'request', 'compute', ...DESCRIBED_OPTIONS];

/**
 * A feature computed when it is asked for.
 *
 * @example
 * const ratio = onDemandFeature({
 *   name: 'amount_to_mean',
 *   type: 'double',
 *   inputs: { mean: spend.feature.mean_30d },
 *   request: { amount: double() },
 *   compute: ({ features, request }) => (features.mean ? request.amount / features.mean : null),
 * });
 */
export function onDemandFeature<
  const T extends ColumnType,
  V extends ValueOfType[T] | null,
  // biome-ignore lint/complexity/noBannedTypes: {} is "no inputs".
  const I extends Inputs = {},
  // biome-ignore lint/complexity/noBannedTypes: {} is "no request data".
  const R extends Columns = {},
>(given: OnDemandFeatureOptions<T, I, R, V>): OnDemandFeature<V> {
  const problems = unknownOptions('', given, KNOWN);
  const options = readableOptions(given);
  return Object.freeze({
    kind: 'on_demand_feature',
    name: options.name,
    type: options.type,
    inputs: frozenCopy(options.inputs ?? {}),
    request: frozenCopy(options.request ?? {}),
    compute: options.compute,
    ...described(options),
    ...withProblems(problems),
  }) as unknown as OnDemandFeature<V>;
}
