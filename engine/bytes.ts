/**
 * Growing byte writer and bounds-checked reader for everything Millrace stores.
 *
 * Integers are LEB128 varints (7 bits per byte, low bits first) over the safe integers 0 ≤ v ≤ 2⁵³ − 1;
 * signed ones are zigzag-folded first, so their range is |v| ≤ 2⁵². Fixed-width numbers are little-endian.
 */
import { readText } from './read-text.ts';

/** zigzag(2⁵²) is the largest varint there is, and exact as a double. */
const VARINT_MAX = 2 ** 53;
const VARINT_BYTES_MAX = 8;
/** The first four bytes of a varint are its low 28 bits, the others its high ones: to write, each half is an integer of 32 bits. */
const HIGH_BITS_FROM = 28;
const HIGH_ONE = 2 ** HIGH_BITS_FROM;

/** A stored value could not be decoded: the bytes are damaged or of another version. Never retryable. */
export class CorruptBytesError extends Error {
  override readonly name = 'CorruptBytesError';
}

const textEncoder = new TextEncoder();

/** 0, −1, 1, −2 … of 0, 1, 2, 3 …: the integer that zigzag made @param folded of, 0 ≤ folded ≤ 2⁵³. */
export function unfolded(folded: number): number {
  // A remainder of doubles takes longer than all the rest of reading a number.
  if (folded < 2 ** 31) {
    const small = folded | 0;
    return (small & 1) === 0 ? small >> 1 : ~(small >> 1);
  }
  const half = Math.floor(folded / 2);
  return half * 2 === folded ? half : -half - 1;
}

export class ByteWriter {
  #bytes: Uint8Array;
  #view: DataView;
  #length = 0;

  constructor(initialBytes = 256) {
    this.#bytes = new Uint8Array(initialBytes);
    this.#view = new DataView(this.#bytes.buffer);
  }

  get length(): number {
    return this.#length;
  }

  /** Starts again at zero bytes, keeping the buffer. */
  clear(): void {
    this.#length = 0;
  }

  /** A copy of what was written: safe to keep after the writer is reused. */
  finish(): Uint8Array {
    return this.#bytes.slice(0, this.#length);
  }

  #reserve(extraBytes: number): void {
    const needed = this.#length + extraBytes;
    if (needed <= this.#bytes.length) return;
    const grown = new Uint8Array(Math.max(needed, this.#bytes.length * 2));
    grown.set(this.#bytes.subarray(0, this.#length));
    this.#bytes = grown;
    this.#view = new DataView(grown.buffer);
  }

  u8(value: number): void {
    this.#reserve(1);
    this.#bytes[this.#length++] = value;
  }

  u32(value: number): void {
    this.#reserve(4);
    this.#view.setUint32(this.#length, value, true);
    this.#length += 4;
  }

  f64(value: number): void {
    this.#reserve(8);
    this.#view.setFloat64(this.#length, value, true);
    this.#length += 8;
  }

  i64(value: bigint): void {
    this.#reserve(8);
    this.#view.setBigInt64(this.#length, value, true);
    this.#length += 8;
  }

  /** @param value an integer, 0 ≤ value ≤ 2⁵³ − 1 */
  varint(value: number): void {
    this.#reserve(8);
    const bytes = this.#bytes;
    let at = this.#length;
    let rest = value;
    // Integers of 32 bits are shifted and masked in a cycle each, larger ones divided in some 10 ns each.
    if (value >= HIGH_ONE) {
      const high = Math.floor(value / HIGH_ONE);
      const low = value - high * HIGH_ONE;
      for (let shift = 0; shift < HIGH_BITS_FROM; shift += 7) bytes[at++] = (low >>> shift) | 0x80;
      rest = high;
    }
    for (; rest >= 0x80; rest >>>= 7) bytes[at++] = rest | 0x80;
    bytes[at++] = rest;
    this.#length = at;
  }

  /** @param value an integer, |value| ≤ 2⁵² */
  zigzag(value: number): void {
    this.varint(value < 0 ? -2 * value - 1 : 2 * value);
  }

  /** Raw bytes without a length. */
  raw(value: Uint8Array): void {
    this.#reserve(value.length);
    this.#bytes.set(value, this.#length);
    this.#length += value.length;
  }

  /** Length-prefixed bytes. */
  blob(value: Uint8Array): void {
    this.varint(value.length);
    this.raw(value);
  }

  /** Length-prefixed UTF-8. */
  text(value: string): void {
    this.blob(textEncoder.encode(value));
  }
}

/** The bytes of one number of fixed width. */
const eightBytes = new Uint8Array(8);
const eight = new DataView(eightBytes.buffer);

export class ByteReader {
  readonly #bytes: Uint8Array;
  #at: number;
  readonly #end: number;

  constructor(bytes: Uint8Array, start = 0, end = bytes.length) {
    this.#bytes = bytes;
    this.#at = start;
    this.#end = end;
  }

  get position(): number {
    return this.#at;
  }

  get done(): boolean {
    return this.#at >= this.#end;
  }

  /** Bytes left: what a count read from the bytes is checked against before anything is allocated for it. */
  get remaining(): number {
    return this.#end - this.#at;
  }

  #take(bytes: number): number {
    const at = this.#at;
    if (at + bytes > this.#end)
      throw new CorruptBytesError(`wanted ${bytes} bytes at ${at}, end is ${this.#end}`);
    this.#at = at + bytes;
    return at;
  }

  skip(bytes: number): void {
    this.#take(bytes);
  }

  u8(): number {
    return this.#bytes[this.#take(1)]!;
  }

  u32(): number {
    const at = this.#take(4);
    const bytes = this.#bytes;
    const low = bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16);
    return (low | (bytes[at + 3]! << 24)) >>> 0;
  }

  f64(): number {
    this.#copyToEight();
    return eight.getFloat64(0, true);
  }

  i64(): bigint {
    this.#copyToEight();
    return eight.getBigInt64(0, true);
  }

  /** A view of all bytes would cost more than the copy: few readers meet more than a number or two of fixed width. */
  #copyToEight(): void {
    const at = this.#take(8);
    for (let i = 0; i < 8; i++) eightBytes[i] = this.#bytes[at + i]!;
  }

  varint(): number {
    const bytes = this.#bytes;
    let at = this.#at;
    // Checked once for all bytes, and not for each: this is the innermost loop of whatever is read.
    const end = Math.min(this.#end, at + VARINT_BYTES_MAX);
    let value = 0;
    for (let scale = 1; at < end; scale *= 0x80) {
      const byte = bytes[at++]!;
      if (byte < 0x80) {
        value += byte * scale;
        if (value > VARINT_MAX) break;
        this.#at = at;
        return value;
      }
      value += (byte & 0x7f) * scale;
    }
    const cut = at === this.#end && at < this.#at + VARINT_BYTES_MAX;
    this.#at = at;
    if (cut) this.#take(1);
    throw new CorruptBytesError(`varint beyond 2⁵³ before ${at}`);
  }

  /** As many pairs of `u32` as the arrays are long. */
  u32Pairs(first: Uint32Array, second: Uint32Array): void {
    let at = this.#take(8 * first.length);
    const bytes = this.#bytes;
    for (let i = 0; i < first.length; i++, at += 8) {
      first[i] = bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24);
      second[i] = bytes[at + 4]! | (bytes[at + 5]! << 8) | (bytes[at + 6]! << 16) | (bytes[at + 7]! << 24);
    }
  }

  zigzag(): number {
    return unfolded(this.varint());
  }

  /** A view into the underlying bytes, not a copy. */
  raw(bytes: number): Uint8Array {
    const at = this.#take(bytes);
    return this.#bytes.subarray(at, at + bytes);
  }

  blob(): Uint8Array {
    return this.raw(this.varint());
  }

  text(): string {
    const length = this.varint();
    const at = this.#take(length);
    try {
      return readText(this.#bytes, at, at + length).text;
    } catch (error) {
      throw new CorruptBytesError(`text before ${this.#at} is not UTF-8`, { cause: error });
    }
  }
}
