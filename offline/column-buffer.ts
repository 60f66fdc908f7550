/** Columns of DuckDB's chunks, gathered until they are a batch. */
import type { DuckDBDataChunk } from '@duckdb/node-api';
import type { ColumnType } from '../engine/aggregators/partial-aggregate.ts';
import type { BatchColumn } from './as-of-batch.ts';

/** Of DuckDB's vectors. */
interface Vector {
  readonly items: ArrayLike<number> & Float64Array;
  getItem(i: number): unknown;
}

/** How a column comes over: numbers as they lie, with NaN for null; others value by value. */
export const isNumberColumn = (type: ColumnType): boolean => type !== 'string' && type !== 'long';

/** As SQL: a column of a declared type in the form in which it comes over. */
export function transported(x: string, type: ColumnType): string {
  if (type === 'long') return x;
  // The bindings' decoder takes a byte order mark off a text: so it gets one to take.
  if (type === 'string')
    return `CASE WHEN starts_with(${x}, chr(65279)) THEN chr(65279) || ${x} ELSE ${x} END`;
  return `coalesce(CAST(${x} AS DOUBLE), 'NaN'::DOUBLE)`;
}

export class ColumnBuffer {
  readonly #columns: (Float64Array | (string | number | bigint | null)[])[];
  readonly #capacity: number;
  #length = 0;

  /**
   * @param isNumber by column; a column of numbers must be a DOUBLE
   * @param capacity rows there is room for at first
   */
  constructor(isNumber: readonly boolean[], capacity: number) {
    this.#capacity = capacity;
    this.#columns = isNumber.map((ofNumbers) => (ofNumbers ? new Float64Array(capacity) : []));
  }

  get length(): number {
    return this.#length;
  }

  numbers(c: number): Float64Array {
    return this.#columns[c] as Float64Array;
  }

  add(chunk: DuckDBDataChunk): void {
    const rows = chunk.rowCount;
    const at = this.#length;
    this.#columns.forEach((column, c) => {
      const vector = chunk.getColumnVector(c) as unknown as Vector;
      if (!(column instanceof Float64Array)) {
        for (let i = 0; i < rows; i++) column[at + i] = valueOfItem(vector.getItem(i));
        return;
      }
      const roomy = at + rows > column.length ? larger(column, 2 * column.length) : column;
      roomy.set(vector.items, at);
      this.#columns[c] = roomy;
    });
    this.#length += rows;
  }

  /** Takes the first `count` rows out, as arrays of their own. */
  take(count: number): BatchColumn[] {
    const rest = this.#length - count;
    const taken = this.#columns.map((column, c): BatchColumn => {
      if (!(column instanceof Float64Array)) return column.splice(0, count);
      const kept = new Float64Array(Math.max(this.#capacity, rest));
      kept.set(column.subarray(count, this.#length));
      this.#columns[c] = kept;
      // Handed over as it is where little is left unused.
      return count === column.length ? column : column.slice(0, count);
    });
    this.#length = rest;
    return taken;
  }
}

function larger(column: Float64Array, length: number): Float64Array {
  const grown = new Float64Array(length);
  grown.set(column);
  return grown;
}

/** A 64-bit integer is a number where it is a safe one. */
function valueOfItem(item: unknown): string | number | bigint | null {
  if (typeof item !== 'bigint') return item as string | null;
  const asNumber = Number(item);
  return Number.isSafeInteger(asNumber) ? asNumber : item;
}
