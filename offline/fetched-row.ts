/** Events as the closures of a definition see them, from the columns of a batch. */
import type { ColumnType, ColumnValue } from '../engine/aggregators/partial-aggregate.ts';
import type { CompiledView } from '../engine/definitions/compiled.ts';
import type { EventRow } from '../engine/definitions/types.ts';
import type { AsOfBatch, BatchColumn } from './as-of-batch.ts';

/** A closure of the definition asked for a column that was not fetched: what was evaluated with it must not be used. */
export class ColumnNotFetchedError extends Error {
  override readonly name = 'ColumnNotFetchedError';
  readonly column: string;

  constructor(column: string) {
    super(`column '${column}' was not fetched`);
    this.column = column;
  }
}

/**
 * The one object in which the definition's closures see event after event. Columns that were not fetched are there, and
 * looking at one is remembered even where the closure catches what is thrown.
 */
export class FetchedRow {
  readonly event: EventRow;
  readonly #values: Record<string, ColumnValue> = {};
  readonly #readers: readonly { readonly name: string; read(column: BatchColumn, i: number): ColumnValue }[];
  #missed: string | null = null;

  constructor(view: CompiledView, fetched: readonly string[]) {
    const { columns } = view.source;
    const own = this.#values;
    for (const name of Object.keys(columns)) {
      if (fetched.includes(name)) own[name] = null;
      else {
        Object.defineProperty(own, name, {
          enumerable: true,
          get: () => {
            this.#missed = name;
            throw new ColumnNotFetchedError(name);
          },
        });
      }
    }
    this.event = own;
    this.#readers = fetched.map((name) => ({ name, read: cellReaderOf(columns[name]!.type) }));
  }

  of({ columns }: Pick<AsOfBatch, 'columns'>, i: number): EventRow {
    const values = this.#values;
    const readers = this.#readers;
    for (let c = 0; c < readers.length; c++) {
      const { name, read } = readers[c]!;
      values[name] = read(columns[c]!, i);
    }
    return this.event;
  }

  /** @throws ColumnNotFetchedError where a column was looked at that is not there */
  check(): void {
    if (this.#missed !== null) throw new ColumnNotFetchedError(this.#missed);
  }
}

/** Values of a column of a type as closures see them. */
export function cellReaderOf(type: ColumnType): (column: BatchColumn, i: number) => ColumnValue {
  switch (type) {
    case 'boolean':
      return (column, i) => {
        const value = (column as Float64Array)[i]!;
        return Number.isNaN(value) ? null : value !== 0;
      };
    case 'string':
    case 'long':
      return (column, i) => column[i]!;
    default:
      return (column, i) => {
        const value = (column as Float64Array)[i]!;
        return Number.isNaN(value) ? null : value;
      };
  }
}
