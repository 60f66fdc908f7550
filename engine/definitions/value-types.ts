/**
 * What each operation takes and answers, for the compiler's eyes. `value-types.test.ts` holds this table
 * against the operation registry, which is what runs.
 */
import type { ColumnType, FeatureValue } from '../aggregators/partial-aggregate.ts';
import type { ValueOfType } from './column.ts';

const ANY = ['string', 'integer', 'long', 'double', 'boolean', 'timestamp'] as const;
const NUMERIC = ['integer', 'long', 'double'] as const;
const BOOLEAN = ['boolean'] as const;
const ORDERED = ['integer', 'long', 'double', 'timestamp'] as const;

/** Column types per operation. */
export const OPERATION_ACCEPTS = {
  count: ANY,
  sum: NUMERIC,
  mean: NUMERIC,
  min: ORDERED,
  max: ORDERED,
  var_pop: NUMERIC,
  var_samp: NUMERIC,
  stddev_pop: NUMERIC,
  stddev_samp: NUMERIC,
  first: ANY,
  last: ANY,
  first_n: ANY,
  last_n: ANY,
  distinct_count: ANY,
  top_n: ORDERED,
  bottom_n: ORDERED,
  max_by_n: ANY,
  min_by_n: ANY,
  max_gap: ANY,
  min_gap: ANY,
  changes: ANY,
  skew: NUMERIC,
  kurtosis: NUMERIC,
  any: BOOLEAN,
  all: BOOLEAN,
  histogram: ORDERED,
  exp_decay_sum: NUMERIC,
  exp_decay_count: ANY,
  exp_decay_mean: NUMERIC,
  rate: ANY,
  time_since_first: ANY,
  time_since_last: ANY,
  approx_distinct_count: ANY,
  percentile: ORDERED,
  percentiles: ORDERED,
  median: ORDERED,
  top_k_frequent: ANY,
  entropy: ANY,
  collect_set: ANY,
  first_distinct_n: ANY,
  last_distinct_n: ANY,
} as const satisfies Record<string, readonly ColumnType[]>;

export type OperationName = keyof typeof OPERATION_ACCEPTS;

/** Column types of the column that orders rows, for the operations that take one. */
export const OPERATION_ORDERED_BY = {
  max_by_n: ORDERED,
  min_by_n: ORDERED,
} as const satisfies Partial<Record<OperationName, readonly ColumnType[]>>;

/** Column types that an operation takes. */
export type AcceptedBy<Op extends OperationName> = (typeof OPERATION_ACCEPTS)[Op][number];

/** Column types that an operation orders rows by; never where it does not. */
export type OrderedBy<Op extends OperationName> = Op extends keyof typeof OPERATION_ORDERED_BY
  ? (typeof OPERATION_ORDERED_BY)[Op][number]
  : never;

/** The value of an operation over a column of type `T`. */
export type ValueOfOperation<Op extends OperationName, T extends ColumnType> = Op extends
  | 'count'
  | 'distinct_count'
  | 'changes'
  | 'exp_decay_sum'
  | 'exp_decay_count'
  | 'rate'
  | 'approx_distinct_count'
  ? number
  : Op extends 'sum'
    ? T extends 'double'
      ? number
      : number | bigint
    : Op extends 'min' | 'max' | 'first' | 'last'
      ? ValueOfType[T] | null
      : Op extends ValuesOperation
        ? readonly ValueOfType[T][] | null
        : Op extends 'any' | 'all'
          ? boolean
          : Op extends 'histogram' | 'percentiles'
            ? readonly number[] | null
            : Op extends 'top_k_frequent'
              ? readonly (readonly [ValueOfType[T], number])[] | null
              : number | null;

/** Operations that answer some of a column's values. */
type ValuesOperation =
  | 'first_n'
  | 'last_n'
  | 'top_n'
  | 'bottom_n'
  | 'max_by_n'
  | 'min_by_n'
  | 'first_distinct_n'
  | 'last_distinct_n'
  | 'collect_set';

/** Operations that answer null for some windows that are not empty: a default does not remove their null. */
type NullBeyondEmpty = 'var_samp' | 'stddev_samp' | 'max_gap' | 'min_gap' | 'skew' | 'kurtosis' | 'entropy';

/** The value with the declared default in place of the empty answer; `D` is never where there is none. */
export type WithDefault<Op extends OperationName, V, D extends FeatureValue> = [D] extends [never]
  ? V
  : Op extends NullBeyondEmpty
    ? V | Widen<D>
    : Exclude<V, null> | Widen<D>;

type Widen<D> = D extends number ? number : D extends string ? string : D extends boolean ? boolean : D;
