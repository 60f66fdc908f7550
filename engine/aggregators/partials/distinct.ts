/**
 * Partials `distinct(bound)` and `approx_distinct(p)` over a column of 53-bit hashes: the set itself while it has at
 * most `bound` members, HyperLogLog registers beyond. Which of the two a state is depends on the size of the union
 * only, so merge order never shows. Hashes of n different values collide with p ≈ n² / 2⁵⁴: 2⁻³⁴ for 1024 values.
 */
import { type ByteReader, type ByteWriter, CorruptBytesError } from '../../bytes.ts';
import { createRegisters, estimate, observe, rankMaxOf } from '../hyperloglog.ts';
import type { PartialAggregate, PartialFactory } from '../partial-aggregate.ts';
import { absorbRegisters, encodeRegisters } from '../register-coding.ts';

const NO_HASH = -1;
const FIRST_SLOTS = 16;
const NO_HASHES = new Float64Array(0);
/** A cleared state keeps room for so many hashes in order, 8 KiB. */
const KEPT_SORTED = 1024;

/** Precision of `distinct`: its registers are stored, so it must not change. */
const DISTINCT_PRECISION = 12;

/**
 * A tile that takes one more event is read, added to and written: what was read stays in order, beside a table of what
 * came since, as sorting all of it again would be most of that. Where a second set comes, all go into the table.
 */
export class DistinctState {
  readonly #exactUpTo: number;
  readonly #precision: number;
  /** The first set that was absorbed: the first `#sortedSize`, ascending. None of them is in `#slots`. */
  #sorted = NO_HASHES;
  #sortedSize = 0;
  /** Open addressing: a hash sits in the first free slot from its low bits on. At most half full. */
  #slots = new Float64Array(FIRST_SLOTS).fill(NO_HASH);
  #tableSize = 0;
  /** Not null once there were more than `#exactUpTo` hashes, which are then kept nowhere else. */
  #registers: Uint8Array | null = null;

  constructor(exactUpTo: number, precision = DISTINCT_PRECISION) {
    this.#exactUpTo = exactUpTo;
    this.#precision = precision;
  }

  get #size(): number {
    return this.#sortedSize + this.#tableSize;
  }

  clear(): void {
    this.#clearSorted();
    if (this.#slots.length > FIRST_SLOTS) this.#slots = new Float64Array(FIRST_SLOTS).fill(NO_HASH);
    else if (this.#tableSize > 0) this.#slots.fill(NO_HASH);
    this.#tableSize = 0;
    this.#registers = null;
  }

  #clearSorted(): void {
    this.#sortedSize = 0;
    if (this.#sorted.length > KEPT_SORTED) this.#sorted = NO_HASHES;
  }

  add(hash: number): void {
    if (this.#registers !== null) {
      observe(this.#registers, hash);
      return;
    }
    if (this.#sortedSize > 0 && this.#isInSorted(hash)) return;
    const slots = this.#slots;
    const mask = slots.length - 1;
    let slot = hash & mask;
    while (slots[slot] !== NO_HASH) {
      if (slots[slot] === hash) return;
      slot = (slot + 1) & mask;
    }
    slots[slot] = hash;
    this.#tableSize++;
    if (this.#size > this.#exactUpTo) this.#toRegisters();
    else if (this.#tableSize * 2 > slots.length) this.#grow(slots.length * 2);
  }

  #isInSorted(hash: number): boolean {
    const sorted = this.#sorted;
    let from = 0;
    let to = this.#sortedSize;
    while (from < to) {
      const middle = (from + to) >>> 1;
      if (sorted[middle]! < hash) from = middle + 1;
      else to = middle;
    }
    return from < this.#sortedSize && sorted[from] === hash;
  }

  /** Room in an empty state for so many hashes in order, which the caller fills. */
  #roomForSorted(hashes: number): Float64Array {
    if (this.#sorted.length < hashes) this.#sorted = new Float64Array(hashes);
    this.#sortedSize = hashes;
    return this.#sorted;
  }

  /** All hashes into the table, where so many more may come: one new table, instead of one for each doubling. */
  #intoTable(more: number): void {
    const sorted = this.#sorted;
    const sortedSize = this.#sortedSize;
    const size = Math.min(this.#size + more, this.#exactUpTo);
    let length = this.#slots.length;
    while (size * 2 > length) length *= 2;
    if (length > this.#slots.length) this.#grow(length);
    this.#clearSorted();
    for (let i = 0; i < sortedSize; i++) this.add(sorted[i]!);
  }

  #grow(length: number): void {
    const old = this.#slots;
    this.#slots = new Float64Array(length).fill(NO_HASH);
    if (this.#tableSize === 0) return;
    const mask = this.#slots.length - 1;
    for (const hash of old) {
      if (hash === NO_HASH) continue;
      let slot = hash & mask;
      while (this.#slots[slot] !== NO_HASH) slot = (slot + 1) & mask;
      this.#slots[slot] = hash;
    }
  }

  #toRegisters(): Uint8Array {
    const registers = createRegisters(this.#precision);
    for (let i = 0; i < this.#sortedSize; i++) observe(registers, this.#sorted[i]!);
    for (const hash of this.#slots) if (hash !== NO_HASH) observe(registers, hash);
    this.clear();
    this.#registers = registers;
    return registers;
  }

  /** Exact up to the bound; beyond it the estimate, and never less than what is certain: bound + 1. */
  count(): number {
    if (this.#registers === null) return this.#size;
    return Math.max(Math.round(estimate(this.#registers)), this.#exactUpTo + 1);
  }

  #tableInOrder(): Float64Array {
    if (this.#tableSize === 0) return NO_HASHES;
    const hashes = new Float64Array(this.#tableSize);
    let size = 0;
    for (const hash of this.#slots) if (hash !== NO_HASH) hashes[size++] = hash;
    return hashes.sort();
  }

  /** Layout: 0 and the registers (`register-coding.ts`), or size + 1 and the sorted hashes as varint differences. */
  encode(w: ByteWriter): void {
    if (this.#registers !== null) {
      w.varint(0);
      encodeRegisters(this.#registers, w);
      return;
    }
    w.varint(this.#size + 1);
    const sorted = this.#sorted;
    const sortedSize = this.#sortedSize;
    let next = 0;
    let previous = 0;
    for (const hash of this.#tableInOrder()) {
      for (; next < sortedSize && sorted[next]! < hash; next++) {
        w.varint(sorted[next]! - previous);
        previous = sorted[next]!;
      }
      w.varint(hash - previous);
      previous = hash;
    }
    for (; next < sortedSize; next++) {
      w.varint(sorted[next]! - previous);
      previous = sorted[next]!;
    }
  }

  merge(other: DistinctState): void {
    if (other.#registers === null) {
      const inOrder = other.#sorted;
      const size = other.#sortedSize;
      if (this.#registers === null && this.#size === 0) {
        this.#roomForSorted(size).set(inOrder.subarray(0, size));
      } else {
        if (this.#registers === null) this.#intoTable(other.#size);
        for (let i = 0; i < size; i++) this.add(inOrder[i]!);
      }
      if (other.#tableSize > 0) for (const hash of other.#slots) if (hash !== NO_HASH) this.add(hash);
      return;
    }
    const registers = this.#registers ?? this.#toRegisters();
    const theirs = other.#registers;
    for (let i = 0; i < registers.length; i++) if (theirs[i]! > registers[i]!) registers[i] = theirs[i]!;
  }

  absorb(r: ByteReader): void {
    const sizePlusOne = r.varint();
    if (sizePlusOne === 0) {
      const registers = this.#registers ?? this.#toRegisters();
      absorbRegisters(registers, rankMaxOf(registers), r);
      return;
    }
    const size = sizePlusOne - 1;
    if (size > this.#exactUpTo)
      throw new CorruptBytesError(`${size} hashes where ${this.#exactUpTo} are kept`);
    const inOrder = this.#registers === null && this.#size === 0 ? this.#roomForSorted(size) : null;
    if (this.#registers === null && inOrder === null) this.#intoTable(size);
    let hash = 0;
    for (let i = 0; i < size; i++) {
      const step = r.varint();
      if (step === 0 && i > 0) throw new CorruptBytesError(`a hash that is there twice: ${hash}`);
      hash += step;
      if (hash > Number.MAX_SAFE_INTEGER) throw new CorruptBytesError(`a hash of more than 53 bits: ${hash}`);
      if (inOrder === null) this.add(hash);
      else inOrder[i] = hash;
    }
  }
}

function distinctHashes(stateOf: (params: readonly number[]) => DistinctState): PartialFactory {
  return ({ key, column, storage, params }): PartialAggregate<DistinctState> => {
    if (storage !== 'number') throw new TypeError(`${key} needs a column of hashes`);
    return {
      key,
      column,
      wide: true,
      create: () => stateOf(params),
      clear(state) {
        state.clear();
      },
      addRows(state, rows, from, to) {
        const hashes = rows.columns[column] as Float64Array;
        for (let i = from; i < to; i++) if (!Number.isNaN(hashes[i]!)) state.add(hashes[i]!);
      },
      absorb(state, r) {
        state.absorb(r);
      },
      merge(state, other) {
        state.merge(other);
      },
      encode(state, w) {
        state.encode(w);
      },
    };
  };
}

/**
 * Up to how many values `approx_distinct` of a precision is exact: as many hashes as take little more than so few
 * registers do, 2^p / 32. That is 64 for p = 11, 512 for p = 14, and 1 for p = 4 and 5.
 */
export function exactUpToOf(precision: number): number {
  return Math.max(1, 2 ** precision / 32);
}

export const distinct = distinctHashes(([exactUpTo]) => new DistinctState(exactUpTo!));

export const approxDistinct = distinctHashes(
  ([precision]) => new DistinctState(exactUpToOf(precision!), precision!),
);
