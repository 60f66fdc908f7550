/**
 * Exact sums of doubles as a floating-point expansion: a list of doubles of growing magnitude that do not
 * overlap and whose mathematical sum is the value (J. R. Shewchuk, "Adaptive Precision Floating-Point
 * Arithmetic and Fast Robust Geometric Predicates", 1997; the same method as Python's `math.fsum`).
 *
 * 1. `add` carries a double through the parts with two-sum, which keeps each rounding error as a part of its
 *    own, so nothing is lost and the value depends on the set of doubles added, never on their order.
 * 2. `round` adds the parts from the largest down and repairs the one case where round-half-even would see a
 *    tie that a smaller part breaks: the nearest double to the exact value.
 * 3. `encode` first makes the parts canonical: the nearest double to the value, the nearest double to what
 *    remains, and so on, so that equal values are equal bytes.
 *
 * Cents and integers take one or two parts; 40 parts cover the whole range of doubles. Callers keep every
 * intermediate below 2¹⁰²³ (columns are bounded by 1e140, so squares and their sums are). Sums are exact down to
 * the denormals; products only while their last bit is ≥ 2⁻¹⁰⁷⁴, that is for full-precision factors of
 * magnitude ≥ 2⁻⁴⁸⁵ (≈ 1e−146); below it each product is off by at most 2⁻¹⁰⁷², the same for every order.
 */
import { type ByteReader, type ByteWriter, CorruptBytesError } from '../bytes.ts';

/** 2²⁷ + 1: Veltkamp's constant, cuts a double in two halves whose products with other halves are exact. */
export const SPLITTER = 134217729;

/** `ByteWriter.zigzag` takes |v| ≤ 2⁵². */
const ZIGZAG_MAX = 2 ** 52;

const TWO_32 = 2 ** 32;
const TWO_33 = 2 ** 33;
const TWO_64 = 2 ** 64;

/** Canonical parts are at least 53 bits apart: (1024 + 1074) / 53 rounded up. */
const CANONICAL_PARTS_MAX = 40;

const longBits = new DataView(new ArrayBuffer(8));

/** The rounding error of `product = a * b`: a·b = product + error exactly (Dekker's two-product). */
export function productError(a: number, b: number, product: number): number {
  const aCut = SPLITTER * a;
  const aHigh = aCut - (aCut - a);
  const aLow = a - aHigh;
  const bCut = SPLITTER * b;
  const bHigh = bCut - (bCut - b);
  const bLow = b - bHigh;
  return aLow * bLow - (product - aHigh * bHigh - aLow * bHigh - aHigh * bLow);
}

export class Expansion {
  /** Non-overlapping, none zero, ascending in magnitude; those from `count` on mean nothing. */
  #parts = new Float64Array(4);
  #count = 0;

  clear(): void {
    this.#count = 0;
  }

  get isZero(): boolean {
    return this.#count === 0;
  }

  /** How many parts the value takes at the moment: for tests of compactness. */
  get partCount(): number {
    return this.#count;
  }

  add(value: number): void {
    const parts = this.#parts;
    const count = this.#count;
    let carry = value;
    let kept = 0;
    for (let i = 0; i < count; i++) {
      const part = parts[i]!;
      const sum = carry + part;
      const rounded = sum - carry;
      const error = carry - (sum - rounded) + (part - rounded);
      if (error !== 0) parts[kept++] = error;
      carry = sum;
    }
    if (carry !== 0) {
      if (kept === parts.length) this.#grow();
      this.#parts[kept++] = carry;
    }
    this.#count = kept;
  }

  /** Adds a·b exactly. */
  addProduct(a: number, b: number): void {
    const product = a * b;
    this.add(productError(a, b, product));
    this.add(product);
  }

  /** @param value −2⁶³ ≤ value < 2⁶³ */
  addLong(value: bigint): void {
    longBits.setBigInt64(0, value);
    this.add(longBits.getUint32(4));
    this.add(longBits.getInt32(0) * TWO_32);
  }

  /** Adds value² exactly. @param value −2⁶³ ≤ value < 2⁶³ */
  addLongSquare(value: bigint): void {
    longBits.setBigInt64(0, value);
    const low = longBits.getUint32(4);
    const high = longBits.getInt32(0);
    this.addProduct(low, low);
    this.addProduct(high * TWO_33, low);
    this.addProduct(high * TWO_64, high);
  }

  /** Adds an integer of any length within the range of doubles. */
  addInteger(value: bigint): void {
    // The nearest double is no further off than half its own unit, so what is left has 53 bits less each time.
    for (let left = value; left !== 0n; ) {
      const nearest = Number(left);
      this.add(nearest);
      left -= BigInt(nearest);
    }
  }

  /** Adds `factor` times another expansion, exactly. */
  addScaled(other: Expansion, factor: number): void {
    for (let i = 0; i < other.#count; i++) this.addProduct(factor, other.#parts[i]!);
  }

  /** Adds the product of two other expansions, exactly. */
  addProductOf(a: Expansion, b: Expansion): void {
    for (let i = 0; i < a.#count; i++) this.addScaled(b, a.#parts[i]!);
  }

  /** Takes away the product of two other expansions, exactly. */
  subtractProductOf(a: Expansion, b: Expansion): void {
    for (let i = 0; i < a.#count; i++) this.addScaled(b, -a.#parts[i]!);
  }

  /** Takes away the square of another expansion, exactly. */
  subtractSquare(other: Expansion): void {
    for (let i = 0; i < other.#count; i++) {
      const part = other.#parts[i]!;
      this.addProduct(-part, part);
      for (let j = 0; j < i; j++) this.addProduct(-2 * part, other.#parts[j]!);
    }
  }

  copyFrom(other: Expansion): void {
    if (this.#parts.length < other.#count) this.#parts = new Float64Array(other.#parts.length);
    for (let i = 0; i < other.#count; i++) this.#parts[i] = other.#parts[i]!;
    this.#count = other.#count;
  }

  /** The nearest double, ties to even; never −0. */
  round(): number {
    const parts = this.#parts;
    let next = this.#count - 1;
    if (next < 0) return 0;
    let high = parts[next--]!;
    let low = 0;
    while (next >= 0) {
      const part = parts[next--]!;
      const sum = high + part;
      low = part - (sum - high);
      high = sum;
      if (low !== 0) break;
    }
    if (next >= 0 && low !== 0 && low < 0 === parts[next]! < 0) {
      // `low` may be a half unit that was rounded to even, and a smaller part says which side is nearer.
      const twice = low * 2;
      const other = high + twice;
      if (other - high === twice) high = other;
    }
    return high;
  }

  /** The exact value where only integers were added: a number where safe, else a bigint. */
  toInteger(): number | bigint {
    if (this.#count === 0) return 0;
    if (this.#count === 1 && Number.isSafeInteger(this.#parts[0]!)) return this.#parts[0]!;
    let sum = 0n;
    for (let i = 0; i < this.#count; i++) sum += BigInt(this.#parts[i]!);
    const asNumber = Number(sum);
    return Number.isSafeInteger(asNumber) ? asNumber : sum;
  }

  /** Layout: 0 and a zigzag integer, or the number of parts and the canonical parts, smallest first. */
  encode(w: ByteWriter): void {
    let source: Expansion = this;
    if (!this.#isCanonical()) {
      scratch.copyFrom(this);
      scratch.#makeCanonical();
      source = scratch;
    }
    const first = source.#count === 0 ? 0 : source.#parts[0]!;
    if (source.#count <= 1 && Number.isInteger(first) && Math.abs(first) <= ZIGZAG_MAX) {
      w.varint(0);
      w.zigzag(first);
      return;
    }
    w.varint(source.#count);
    for (let i = 0; i < source.#count; i++) w.f64(source.#parts[i]!);
  }

  /** Adds an encoded expansion. */
  absorb(r: ByteReader): void {
    const count = r.varint();
    if (count > CANONICAL_PARTS_MAX) throw new CorruptBytesError(`an exact sum of ${count} parts`);
    if (count === 0) {
      this.add(r.zigzag());
      return;
    }
    for (let i = 0; i < count; i++) {
      const part = r.f64();
      if (!Number.isFinite(part)) throw new CorruptBytesError(`${part} in an exact sum`);
      this.add(part);
    }
  }

  /** True is certain; false only means that `#makeCanonical` has to look. */
  #isCanonical(): boolean {
    if (this.#count <= 1) return true;
    return this.#count === 2 && this.#parts[0]! + this.#parts[1]! === this.#parts[1]!;
  }

  #makeCanonical(): void {
    let found = 0;
    for (let nearest = this.round(); nearest !== 0; nearest = this.round()) {
      canonical[found++] = nearest;
      this.add(-nearest);
    }
    if (this.#parts.length < found) this.#parts = new Float64Array(CANONICAL_PARTS_MAX);
    for (let i = 0; i < found; i++) this.#parts[i] = canonical[found - 1 - i]!;
    this.#count = found;
  }

  #grow(): void {
    const grown = new Float64Array(this.#parts.length * 2);
    grown.set(this.#parts);
    this.#parts = grown;
  }
}

const canonical = new Float64Array(CANONICAL_PARTS_MAX);
const scratch = new Expansion();
