/**
 * Partial `value_set(max)`: the different values, while there are at most `max`; beyond, those with the `max` least
 * 53-bit hashes (of two with one hash the lesser value). Hashes spread the values evenly, so what is kept is a sample
 * of them, and it is a function of the set alone: a value among the `max` first of a union is among the `max` first of
 * every part in which it occurs. Nothing is hashed until there are too many values.
 *
 * Encoded: varint 2 · size + dropped? · the values, see `ascending-values.ts`.
 */
import { type ByteReader, type ByteWriter, CorruptBytesError } from '../../bytes.ts';
import { hash53 } from '../../hash64.ts';
import type { ColumnStorage } from '../../tiles/row-block.ts';
import { readAscendingValues, writeAscendingValues } from '../ascending-values.ts';
import {
  type ColumnType,
  NARROW_VALUES_MAX,
  type PartialAggregate,
  type PartialFactory,
} from '../partial-aggregate.ts';
import { compareStoredValues, type StoredValue } from '../stored-value.ts';

interface Hashed {
  readonly value: StoredValue;
  readonly hash: number;
}

function compareHashed(a: Hashed, b: Hashed): number {
  return a.hash - b.hash || compareStoredValues(a.value, b.value);
}

export class ValueSetState {
  readonly #max: number;
  readonly #type: ColumnType;
  /** Up to twice `#max` values until the last by hash are dropped. */
  #values = new Set<StoredValue>();
  /** Values behind it are of no use: so many before it were met. null: all are. */
  #lastOfUse: Hashed | null = null;
  #dropped = false;

  constructor(max: number, type: ColumnType) {
    this.#max = max;
    this.#type = type;
  }

  clear(): void {
    // Never emptied: see `PartialAggregate.clear`.
    if (this.#values.size > 0) this.#values = new Set();
    this.#lastOfUse = null;
    this.#dropped = false;
  }

  /** As `distinct` hashes it: the text of the value, booleans as words. */
  #hashed(value: StoredValue): Hashed {
    const text = this.#type === 'boolean' ? String(value === 1) : String(value);
    return { value, hash: hash53(text) };
  }

  add(value: StoredValue): void {
    if (this.#values.has(value)) return;
    if (this.#lastOfUse !== null && compareHashed(this.#hashed(value), this.#lastOfUse) > 0) {
      this.#dropped = true;
      return;
    }
    this.#values.add(value);
    if (this.#values.size > 2 * this.#max) this.#drop();
  }

  /** Down to `#max` values, so that a state never shows how many it happened to hold. */
  #drop(): void {
    if (this.#values.size <= this.#max) return;
    const ordered = Array.from(this.#values, (value) => this.#hashed(value)).sort(compareHashed);
    for (let i = this.#max; i < ordered.length; i++) this.#values.delete(ordered[i]!.value);
    this.#lastOfUse = ordered[this.#max - 1]!;
    this.#dropped = true;
  }

  /** Whether there were more than `max` different values, so that not all are here. */
  get truncated(): boolean {
    return this.#dropped || this.#values.size > this.#max;
  }

  /** The values kept, ascending. */
  ascending(): StoredValue[] {
    this.#drop();
    return [...this.#values].sort(compareStoredValues);
  }

  encode(w: ByteWriter): void {
    const values = this.ascending();
    w.varint(2 * values.length + (this.#dropped ? 1 : 0));
    writeAscendingValues(values, w);
  }

  absorb(r: ByteReader, storage: ColumnStorage): void {
    const head = r.varint();
    const size = Math.floor(head / 2);
    const dropped = head % 2 === 1;
    if (size > this.#max || (dropped && size < this.#max))
      throw new CorruptBytesError(`${size} values where ${this.#max} are kept`);
    for (const value of readAscendingValues(size, r, storage)) this.add(value);
    this.#dropped ||= dropped;
  }
}

export const valueSet: PartialFactory = ({
  key,
  column,
  storage,
  type,
  params,
}): PartialAggregate<ValueSetState> => ({
  key,
  column,
  wide: params[0]! > NARROW_VALUES_MAX,
  create: () => new ValueSetState(params[0]!, type),
  clear(state) {
    state.clear();
  },
  addRows(state, rows, from, to) {
    const values = rows.columns[column]!;
    for (let i = from; i < to; i++) {
      const value = values[i]!;
      if (value !== null && !Number.isNaN(value)) state.add(value);
    }
  },
  absorb(state, r) {
    state.absorb(r, storage);
  },
  encode(state, w) {
    state.encode(w);
  },
});
