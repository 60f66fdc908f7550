import type { ByteReader, ByteWriter } from '../bytes.ts';
import type { ColumnStorage, RowBlock } from '../tiles/row-block.ts';

/**
 * A finished feature value. A 64-bit integer outside ±(2⁵³ − 1) is a `bigint`; a map is the answer of an aggregation
 * with a secondary key, by that key as text, ascending.
 */
export type FeatureValue =
  | number
  | bigint
  | string
  | boolean
  | null
  | readonly FeatureValue[]
  | ReadonlyMap<string, FeatureValue>;

/**
 * The declared type of a column.
 *
 * - `integer`: −(2⁵³ − 1) ≤ v ≤ 2⁵³ − 1, a JavaScript number.
 * - `long`: a signed 64-bit integer, a `number` where safe, else a `bigint`.
 * - `double`: finite, |v| ≤ 1e140 (so that squares and sums of any window stay finite); −0 is read as 0.
 * - `timestamp`: ms since the epoch, 0 ≤ v < 2⁴⁵ (year 3084).
 */
export type ColumnType = 'string' | 'integer' | 'long' | 'double' | 'boolean' | 'timestamp';

/** One value of an event's column. */
export type ColumnValue = string | number | bigint | boolean | null;

/** A partial that holds at most so many values is not a wide one. */
export const NARROW_VALUES_MAX = 16;

/**
 * The mergeable intermediate representation (IR) of an aggregation over one column: what a tile stores.
 * Several aggregations share one partial: `sum`, `mean` and `var_pop` of a column all use its `exact_sum`.
 *
 * Laws, for any rows split anyhow into blocks (checked by `partial-aggregate.test.ts` for every kind):
 * adding all rows = adding them in any order = encoding parts and absorbing them in any order, and `finalize`
 * of the aggregations on top gives the same value bit for bit (kinds that promise less say so).
 *
 * `State` is mutated by `addRows`, `absorb` and `clear` only; `encode` leaves it unchanged.
 *
 * An *ordered* partial (what lies between two events counts) needs more: whatever is added or absorbed must lie, in the
 * total order of C3, wholly before or wholly behind all that is in the state. For such parts the laws hold.
 */
export interface PartialAggregate<State = unknown> {
  /** @default false */
  readonly ordered?: boolean;
  /**
   * Whether, beyond a bound of its own, equal sets of rows may have different states, all within the error that the
   * operations on top publish. Up to that bound the laws hold. @default false
   */
  readonly boundedError?: boolean;
  /**
   * Whether an encoded state can outgrow some hundred bytes (sketches, sets, groups). A tile in a parent's node would then
   * make every read of that node dear: such states are kept in blocks of their own, see `tiles/wide-blocks.ts`. An
   * ordered partial never is. @default false
   */
  readonly wide?: boolean;
  /** Canonical identity: kind, column and parameters, e.g. `first_n(amount,3)`. Equal keys share one state. */
  readonly key: string;
  /** Index of the column in the row block, or −1 where the partial needs no column. */
  readonly column: number;
  create(): State;
  /**
   * Back to the state of `create()`. A Map or Set of a state is made anew, never emptied: V8's old tables refer to the
   * next ones, so that of one that lives long every table it ever had lasts until a collection of the whole heap.
   */
  clear(state: State): void;
  /** Adds the rows `from ≤ i < to`. Nulls of the column are skipped. */
  addRows(state: State, rows: RowBlock, from: number, to: number): void;
  /** Merges an encoded state of the same partial; the reader ends right behind it. */
  absorb(state: State, r: ByteReader): void;
  /** What `absorb` of an encoded `other` does, without the bytes. Where it is left out, there are bytes. */
  merge?(state: State, other: State): void;
  encode(state: State, w: ByteWriter): void;
}

/**
 * How a column is kept in rows for a partial: its values, or only a 53-bit hash that tells them apart.
 * A column needed both ways is kept as two columns.
 */
export type ColumnNeed = 'value' | 'hash';

export interface PartialRequest {
  /** Kind of the partial, e.g. `exact_sum`; the registry maps it to its factory. */
  readonly kind: string;
  /** Column name, or null where none is needed. */
  readonly column: string | null;
  readonly need: ColumnNeed;
  /** A further column, as values, that says in which order rows are taken (`max_by_n`). */
  readonly orderBy?: string;
  /** Numeric parameters in a fixed order, part of the identity (e.g. k of `first_n`). */
  readonly params: readonly number[];
}

/** A column of the row block that a partial reads. */
export interface PartialColumn {
  readonly column: number;
  readonly storage: ColumnStorage;
  readonly type: ColumnType;
}

/** Makes a partial for a column at an index of the row block. `type` is the column's declared type. */
export type PartialFactory = (
  args: PartialColumn & {
    readonly key: string;
    /** Where the request names one. */
    readonly orderBy?: PartialColumn;
    readonly params: readonly number[];
  },
) => PartialAggregate;

/** A number that an operation takes. */
export interface OperationParam {
  /** As the catalogue and golden cases call it. */
  readonly name: string;
  /** As the builder calls it. @default the name */
  readonly written?: string;
  /** Whether the builder takes it within its options. @default false: as an argument */
  readonly option?: true;
  /** Whether it is a length of time: ms here, `'7d'` in a feature repo. @default false */
  readonly duration?: true;
  readonly min: number;
  readonly max: number;
  /** null: it must be given. */
  readonly default: number | null;
  /** Whether it need not be whole. @default false */
  readonly fractional?: boolean;
}

/** Any number of numbers that an operation takes after its other parameters. */
export interface OperationList {
  readonly name: string;
  readonly min: number;
  readonly max: number;
  readonly lengthMax: number;
  /** Whether each must be greater than the one before. */
  readonly ascending: boolean;
}

/** The bounds of the window a value is finished for: fromMs < event time ≤ toMs. */
export interface FinishedWindow {
  /** The as-of time. */
  readonly atMs: number;
  /** null: no old edge. */
  readonly fromMs: number | null;
  /** Before `atMs` where the window has an offset. */
  readonly toMs: number;
}

/**
 * An aggregation as a user names it (`mean`, `last_n`): the partials it needs and how to finish them.
 * Pure data and pure functions; one per file, listed in `registry.ts`.
 */
export interface Operation {
  /** snake_case, as it appears in the catalogue, e.g. `var_pop`. */
  readonly name: string;
  /** Column types it takes; null: it takes no column (`count()`). */
  readonly accepts: readonly ColumnType[] | null;
  /** True where the column may be left out (`count`). */
  readonly columnOptional: boolean;
  /** Column types of a further column that orders rows; left out: it takes none. */
  readonly orderedBy?: readonly ColumnType[];
  /** In the order of `params`. */
  readonly params: readonly OperationParam[];
  /** What comes behind them in `params`: at least one number. Left out: nothing. */
  readonly list?: OperationList;
  /**
   * Whether what lies between two events counts, so that no row may be given up: refused with lifetime windows and
   * with `resolution`. @default false
   */
  readonly sequence?: boolean;
  /** Whether the value needs the length of the window: refused where there is none. @default false */
  readonly needsLength?: boolean;
  /** One sentence for the page that lists every aggregation. */
  readonly description: string;
  /** Exact, or the bound of its error; what is truncated and how. */
  readonly accuracy: string;
  /** Bytes of what a tile keeps for it. */
  readonly bytes: string;
  /** As it stands in a feature view. */
  readonly example: string;
  /** What an empty window answers, unless the feature declares a default. */
  readonly empty: FeatureValue;
  /** The partials needed for the column (`column` is null for none), parameters and the column rows are ordered by. */
  partials(column: string | null, params: readonly number[], orderBy?: string): readonly PartialRequest[];
  /**
   * The value, from the states of `partials` in that order. Must not change the states.
   * Returns `null` or the empty answer itself when nothing was aggregated; `rowCount` (nulls included) is
   * the first state's business, not an argument.
   */
  finalize(
    states: readonly unknown[],
    type: ColumnType,
    params: readonly number[],
    window: FinishedWindow,
  ): FeatureValue;
  /** Whether the states hold less than there was, by the rule of `accuracy`. Left out: never. */
  truncated?(states: readonly unknown[]): boolean;
  /** Type of the value as the catalogue shows it, for a column type. */
  resultType(type: ColumnType | null): string;
}
