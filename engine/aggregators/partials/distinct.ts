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

/** Precision of `distinct`: its registers are stored, so it must not change. */
const DISTINCT_PRECISION = 12;

export class DistinctState {
  readonly #exactUpTo: number;
  readonly #precision: number;
  /** Open addressing: a hash sits in the first free slot from its low bits on. At most half full. */
  #slots = new Float64Array(FIRST_SLOTS).fill(NO_HASH);
  #size = 0;
  /** Not null once there were more than `#exactUpTo` hashes; the slots are then empty. */
  #registers: Uint8Array | null = null;

  constructor(exactUpTo: number, precision = DISTINCT_PRECISION) {
    this.#exactUpTo = exactUpTo;
    this.#precision = precision;
  }

  clear(): void {
    if (this.#slots.length === FIRST_SLOTS) this.#slots.fill(NO_HASH);
    else this.#slots = new Float64Array(FIRST_SLOTS).fill(NO_HASH);
    this.#size = 0;
    this.#registers = null;
  }

  add(hash: number): void {
    if (this.#registers !== null) {
      observe(this.#registers, hash);
      return;
    }
    const slots = this.#slots;
    const mask = slots.length - 1;
    let slot = hash & mask;
    while (slots[slot] !== NO_HASH) {
      if (slots[slot] === hash) return;
      slot = (slot + 1) & mask;
    }
    slots[slot] = hash;
    this.#size++;
    if (this.#size > this.#exactUpTo) this.#toRegisters();
    else if (this.#size * 2 > slots.length) this.#grow(slots.length * 2);
  }

  /** So many more may come: one new table for all of them, instead of one for each doubling. */
  #reserve(hashes: number): void {
    const size = Math.min(this.#size + hashes, this.#exactUpTo);
    let length = this.#slots.length;
    while (size * 2 > length) length *= 2;
    if (length > this.#slots.length) this.#grow(length);
  }

  #grow(length: number): void {
    const old = this.#slots;
    this.#slots = new Float64Array(length).fill(NO_HASH);
    if (this.#size === 0) return;
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

  /** Layout: 0 and the registers (`register-coding.ts`), or size + 1 and the sorted hashes as varint differences. */
  encode(w: ByteWriter): void {
    if (this.#registers !== null) {
      w.varint(0);
      encodeRegisters(this.#registers, w);
      return;
    }
    w.varint(this.#size + 1);
    const hashes = this.#slots.filter((hash) => hash !== NO_HASH).sort();
    let previous = 0;
    for (const hash of hashes) {
      w.varint(hash - previous);
      previous = hash;
    }
  }

  merge(other: DistinctState): void {
    if (other.#registers === null) {
      if (this.#registers === null) this.#reserve(other.#size);
      for (const hash of other.#slots) if (hash !== NO_HASH) this.add(hash);
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
    if (this.#registers === null) this.#reserve(size);
    let hash = 0;
    for (let i = 0; i < size; i++) {
      hash += r.varint();
      if (hash > Number.MAX_SAFE_INTEGER) throw new CorruptBytesError(`a hash of more than 53 bits: ${hash}`);
      this.add(hash);
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
