/**
 * Partial `hash_counts(max)` over a column of 53-bit hashes: how often each occurs, for the `max` least hashes.
 *
 * A function of the multiset alone, and each count kept is exact: a hash among the `max` least of a union is among the
 * `max` least of every part in which it occurs, so that no part has dropped it. Whether any was dropped is a question
 * of how many different ones the union has.
 *
 * Encoded: varint 2 · size + dropped? · by hash ascending: varint difference, varint count.
 */
import { type ByteReader, type ByteWriter, CorruptBytesError } from '../../bytes.ts';
import { NARROW_VALUES_MAX, type PartialAggregate, type PartialFactory } from '../partial-aggregate.ts';

export class HashCountsState {
  readonly #max: number;
  /** Up to twice `#max` hashes until the largest are dropped. */
  #counts = new Map<number, number>();
  /** Greater hashes are of no use: so many lower ones were met. */
  #greatestOfUse = Number.POSITIVE_INFINITY;
  #dropped = false;

  constructor(max: number) {
    this.#max = max;
  }

  clear(): void {
    // Never emptied: see `PartialAggregate.clear`.
    if (this.#counts.size > 0) this.#counts = new Map();
    this.#greatestOfUse = Number.POSITIVE_INFINITY;
    this.#dropped = false;
  }

  add(hash: number, count: number): void {
    if (hash > this.#greatestOfUse) {
      this.#dropped = true;
      return;
    }
    this.#counts.set(hash, (this.#counts.get(hash) ?? 0) + count);
    if (this.#counts.size > 2 * this.#max) this.#drop();
  }

  #drop(): void {
    const hashes = this.#ascending();
    this.#greatestOfUse = hashes[this.#max - 1]!;
    this.#dropped = true;
    for (let i = this.#max; i < hashes.length; i++) this.#counts.delete(hashes[i]!);
  }

  #ascending(): Float64Array {
    return Float64Array.from(this.#counts.keys()).sort();
  }

  /** Whether there were more than `max` different hashes, so that not all are here. */
  get truncated(): boolean {
    return this.#dropped || this.#counts.size > this.#max;
  }

  /** Counts of the hashes kept, in the order of the hashes. */
  counts(): number[] {
    return Array.from(this.#ascending().subarray(0, this.#max), (hash) => this.#counts.get(hash)!);
  }

  encode(w: ByteWriter): void {
    const hashes = this.#ascending().subarray(0, this.#max);
    w.varint(2 * hashes.length + (this.truncated ? 1 : 0));
    let previous = 0;
    for (const hash of hashes) {
      w.varint(hash - previous);
      w.varint(this.#counts.get(hash)!);
      previous = hash;
    }
  }

  absorb(r: ByteReader): void {
    const head = r.varint();
    const size = Math.floor(head / 2);
    const truncated = head % 2 === 1;
    if (size > this.#max || (truncated && size < this.#max))
      throw new CorruptBytesError(`${size} hashes where ${this.#max} are counted`);
    let hash = 0;
    for (let i = 0; i < size; i++) {
      hash += r.varint();
      if (hash > Number.MAX_SAFE_INTEGER) throw new CorruptBytesError(`a hash of more than 53 bits: ${hash}`);
      this.add(hash, r.varint());
    }
    if (!truncated) return;
    this.#dropped = true;
    this.#greatestOfUse = Math.min(this.#greatestOfUse, hash);
  }
}

export const hashCounts: PartialFactory = ({
  key,
  column,
  storage,
  params,
}): PartialAggregate<HashCountsState> => {
  if (storage !== 'number') throw new TypeError(`${key} needs a column of hashes`);
  return {
    key,
    column,
    wide: params[0]! > NARROW_VALUES_MAX,
    create: () => new HashCountsState(params[0]!),
    clear(state) {
      state.clear();
    },
    addRows(state, rows, from, to) {
      const hashes = rows.columns[column] as Float64Array;
      for (let i = from; i < to; i++) if (!Number.isNaN(hashes[i]!)) state.add(hashes[i]!, 1);
    },
    absorb(state, r) {
      state.absorb(r);
    },
    encode(state, w) {
      state.encode(w);
    },
  };
};
