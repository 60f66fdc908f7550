/**
 * Partial `frequent(capacity)`: how often each value occurs, for at most `capacity` values. Exact while there are no
 * more different ones; beyond, the summary of J. Misra and D. Gries ("Finding repeated elements", 1982), merged as by
 * P. K. Agarwal et al., "Mergeable Summaries" (PODS 2012): counts are added, then the (capacity + 1)-th largest is taken
 * off all of them, and those with nothing left go.
 *
 * Each time c is taken off, at least (capacity + 1) · c of n go, so that no count is lower than it should be by more
 * than n / (capacity + 1), and every value more frequent than that is here. Within that bound the counts depend on
 * how rows were split: what is known to depend on the multiset alone (a Count-Min sketch) holds no values, and the
 * values with the least hashes, which would do, are not the frequent ones. Whether something was taken off does
 * depend on the multiset alone: it is iff there are more than `capacity` different values. A merge of several parts adds
 * all of them before it takes anything off, which is once where a merge by two would be each time.
 *
 * Encoded: varint taken off · varint size · the values, see `ascending-values.ts` · by value ascending: varint count.
 */
import { type ByteReader, type ByteWriter, CorruptBytesError } from '../../bytes.ts';
import type { ColumnStorage } from '../../tiles/row-block.ts';
import { readAscendingValues, writeAscendingValues } from '../ascending-values.ts';
import { NARROW_VALUES_MAX, type PartialAggregate, type PartialFactory } from '../partial-aggregate.ts';
import { compareStoredValues, type StoredValue } from '../stored-value.ts';

/** With more than so many times the capacity, something is taken off before there is another row or part. */
const UNREDUCED_MAX = 4;

export class FrequentState {
  readonly #capacity: number;
  /** More than the capacity until the next `#reduce`. */
  #counts = new Map<StoredValue, number>();
  #takenOff = 0;

  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  /** By how much a count may be too low: 0 while all are exact. */
  get takenOff(): number {
    this.#reduce();
    return this.#takenOff;
  }

  clear(): void {
    // Never emptied: see `PartialAggregate.clear`.
    if (this.#counts.size > 0) this.#counts = new Map();
    this.#takenOff = 0;
  }

  add(value: StoredValue): void {
    this.#count(value, 1);
    this.#reduceIfLarge();
  }

  #count(value: StoredValue, count: number): void {
    this.#counts.set(value, (this.#counts.get(value) ?? 0) + count);
  }

  /** Never with a part half added: what is taken off would depend on the order of its values. */
  #reduceIfLarge(): void {
    if (this.#counts.size > UNREDUCED_MAX * this.#capacity) this.#reduce();
  }

  #reduce(): void {
    const counts = this.#counts;
    if (counts.size <= this.#capacity) return;
    const ascending = Float64Array.from(counts.values()).sort();
    const least = ascending[ascending.length - 1 - this.#capacity]!;
    this.#takenOff += least;
    for (const [value, count] of counts) {
      if (count > least) counts.set(value, count - least);
      else counts.delete(value);
    }
  }

  /** The k most frequent values and their counts, most frequent first, equally frequent ones ascending. */
  top(k: number): [StoredValue, number][] {
    this.#reduce();
    return [...this.#counts]
      .sort(([a, countA], [b, countB]) => countB - countA || compareStoredValues(a, b))
      .slice(0, k);
  }

  encode(w: ByteWriter): void {
    this.#reduce();
    const values = [...this.#counts.keys()].sort(compareStoredValues);
    w.varint(this.#takenOff);
    w.varint(values.length);
    writeAscendingValues(values, w);
    for (const value of values) w.varint(this.#counts.get(value)!);
  }

  merge(other: FrequentState): void {
    other.#reduce();
    for (const [value, count] of other.#counts) this.#count(value, count);
    this.#takenOff += other.#takenOff;
    this.#reduceIfLarge();
  }

  absorb(r: ByteReader, storage: ColumnStorage): void {
    const takenOff = r.varint();
    const size = r.varint();
    if (size > this.#capacity)
      throw new CorruptBytesError(`${size} values where ${this.#capacity} are counted`);
    const values = readAscendingValues(size, r, storage);
    for (const value of values) this.#count(value, r.varint());
    this.#takenOff += takenOff;
    this.#reduceIfLarge();
  }
}

export const frequent: PartialFactory = ({
  key,
  column,
  storage,
  params,
}): PartialAggregate<FrequentState> => ({
  key,
  column,
  boundedError: true,
  wide: params[0]! > NARROW_VALUES_MAX,
  create: () => new FrequentState(params[0]!),
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
  merge(state, other) {
    state.merge(other);
  },
  encode(state, w) {
    state.encode(w);
  },
});
