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
 * depend on the multiset alone: it is iff there are more than `capacity` different values.
 *
 * Encoded: varint taken off · varint size · by value ascending: stored value, varint count.
 */
import { type ByteReader, type ByteWriter, CorruptBytesError } from '../../bytes.ts';
import type { ColumnStorage } from '../../tiles/row-block.ts';
import { NARROW_VALUES_MAX, type PartialAggregate, type PartialFactory } from '../partial-aggregate.ts';
import { compareStoredValues, readStoredValue, type StoredValue, writeStoredValue } from '../stored-value.ts';

export class FrequentState {
  readonly #capacity: number;
  readonly #counts = new Map<StoredValue, number>();
  #takenOff = 0;

  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  /** By how much a count may be too low: 0 while all are exact. */
  get takenOff(): number {
    return this.#takenOff;
  }

  clear(): void {
    this.#counts.clear();
    this.#takenOff = 0;
  }

  /** `reduce` has to follow the last value added. */
  add(value: StoredValue, count: number): void {
    this.#counts.set(value, (this.#counts.get(value) ?? 0) + count);
  }

  reduce(): void {
    const counts = this.#counts;
    if (counts.size <= this.#capacity) return;
    const descending = Float64Array.from(counts.values()).sort().reverse();
    const least = descending[this.#capacity]!;
    this.#takenOff += least;
    for (const [value, count] of counts) {
      if (count > least) counts.set(value, count - least);
      else counts.delete(value);
    }
  }

  /** The k most frequent values and their counts, most frequent first, equally frequent ones ascending. */
  top(k: number): [StoredValue, number][] {
    return [...this.#counts]
      .sort(([a, countA], [b, countB]) => countB - countA || compareStoredValues(a, b))
      .slice(0, k);
  }

  encode(w: ByteWriter): void {
    w.varint(this.#takenOff);
    w.varint(this.#counts.size);
    for (const value of [...this.#counts.keys()].sort(compareStoredValues)) {
      writeStoredValue(value, w);
      w.varint(this.#counts.get(value)!);
    }
  }

  absorb(r: ByteReader, storage: ColumnStorage): void {
    const takenOff = r.varint();
    const size = r.varint();
    if (size > this.#capacity)
      throw new CorruptBytesError(`${size} values where ${this.#capacity} are counted`);
    for (let i = 0; i < size; i++) {
      const value = readStoredValue(r, storage);
      this.add(value, r.varint());
    }
    this.#takenOff += takenOff;
    this.reduce();
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
      if (value !== null && !Number.isNaN(value)) state.add(value, 1);
    }
    state.reduce();
  },
  absorb(state, r) {
    state.absorb(r, storage);
  },
  encode(state, w) {
    state.encode(w);
  },
});
