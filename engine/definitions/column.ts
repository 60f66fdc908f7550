/** Builders of a source's columns and the types they stand for. */
import type { ColumnType } from '../aggregators/partial-aggregate.ts';
import { readableOptions, unknownOptions, withProblems } from './builder-problems.ts';
import type { Column, Columns } from './types.ts';

/** A column whose type and nullability are known to the compiler. */
export interface TypedColumn<T extends ColumnType = ColumnType, N extends boolean = boolean> extends Column {
  readonly type: T;
  readonly nullable: N;
}

/** What one value of a column type is in JavaScript. */
export interface ValueOfType {
  readonly string: string;
  readonly integer: number;
  readonly long: number | bigint;
  readonly double: number;
  readonly boolean: boolean;
  readonly timestamp: number;
}

export type CellOf<C extends Column> = ValueOfType[C['type']] | (C['nullable'] extends false ? never : null);

/** An event of a source, decoded, as `filter` and projections see it. */
export type RowOf<C extends Columns> = { readonly [K in keyof C]: CellOf<C[K]> };

/** Names of the columns of certain types. */
export type ColumnNames<C extends Columns, T extends ColumnType, N extends boolean = boolean> = {
  [K in keyof C & string]: C[K] extends { readonly type: T; readonly nullable: N } ? K : never;
}[keyof C & string];

interface ColumnBuilder<T extends ColumnType> {
  (options?: { readonly nullable?: false }): TypedColumn<T, false>;
  (options: { readonly nullable: true }): TypedColumn<T, true>;
}

function columnBuilder<T extends ColumnType>(type: T): ColumnBuilder<T> {
  return ((options: { readonly nullable?: boolean } = {}) =>
    Object.freeze({
      type,
      nullable: readableOptions(options).nullable ?? false,
      ...withProblems(unknownOptions('', options, ['nullable'])),
    })) as ColumnBuilder<T>;
}

/** Text, well-formed Unicode, at most 8192 UTF-16 code units. `{ nullable: true }`, here as below: may be null or left out. */
export const string = columnBuilder('string');
/** A whole number within ±(2⁵³ − 1). */
export const integer = columnBuilder('integer');
/** A signed 64-bit integer: a JSON number where safe, otherwise a decimal string. Never rounded. */
export const long = columnBuilder('long');
/** A finite number, |v| ≤ 1e140. */
export const double = columnBuilder('double');
export const boolean = columnBuilder('boolean');
/** A moment: ISO 8601 text with a zone, or whole milliseconds since the epoch. */
export const timestamp = columnBuilder('timestamp');
