/**
 * Reads the primitives that Avro and Protobuf share (base-128 varints, little-endian floats, length-prefixed
 * UTF-8) out of bytes that nobody vouches for: every length is checked against what is left, so that neither
 * time nor memory can exceed what the record itself takes.
 */
import { isUtf8 } from 'node:buffer';

/** The bytes are not what their schema says. One object for all: it is thrown where bytes are read. */
export class MalformedRecord extends Error {
  override readonly name = 'MalformedRecord';
}

const malformed = new MalformedRecord('the bytes do not match the schema they name');

const TWO_32 = 2 ** 32;
/** High words of the safe integers lie in [−2^21, 2^21). */
const SAFE_HIGH = 2 ** 21;
const SHORT_TEXT_BYTES = 48;

/** Buffer's readers of text, which its types leave out: `toString` spends as much again on its arguments. */
interface TextBuffer extends Buffer {
  latin1Slice(start: number, end: number): string;
  utf8Slice(start: number, end: number): string;
}

const NO_BYTES = Buffer.alloc(0) as TextBuffer;

/** A Buffer over the same memory, for its fast text and float readers. */
export function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** A signed 64-bit integer of two words: a number where safe, otherwise a bigint. */
export function signed64(low: number, high: number): number | bigint {
  const signedHigh = high | 0;
  if (signedHigh >= -SAFE_HIGH && signedHigh < SAFE_HIGH) {
    const value = signedHigh * TWO_32 + (low >>> 0);
    if (value !== Number.MIN_SAFE_INTEGER - 1) return value;
  }
  return (BigInt(signedHigh) << 32n) | BigInt(low >>> 0);
}

/** An unsigned 64-bit integer likewise. */
export function unsigned64(low: number, high: number): number | bigint {
  const unsignedHigh = high >>> 0;
  return unsignedHigh < SAFE_HIGH
    ? unsignedHigh * TWO_32 + (low >>> 0)
    : (BigInt(unsignedHigh) << 32n) | BigInt(low >>> 0);
}

export class ByteCursor {
  #bytes: TextBuffer = NO_BYTES;
  #position = 0;
  #end = 0;
  /** Low and high word of the last varint or 64-bit integer, as signed 32 bits. */
  low = 0;
  high = 0;

  /** Goes to `start` of other bytes. */
  open(bytes: Buffer, start: number): void {
    this.#bytes = bytes as TextBuffer;
    this.#position = start;
    this.#end = bytes.length;
  }

  /** Lets go of the bytes, which may be a slice of something large. */
  close(): void {
    this.#bytes = NO_BYTES;
  }

  get position(): number {
    return this.#position;
  }

  get remaining(): number {
    return this.#end - this.#position;
  }

  /** Ends the readable part `length` bytes from here. Returns the end so far, for `leave`. */
  enter(length: number): number {
    const end = this.#end;
    if (length < 0 || length > end - this.#position) throw malformed;
    this.#end = this.#position + length;
    return end;
  }

  leave(end: number): void {
    this.#position = this.#end;
    this.#end = end;
  }

  fail(): never {
    throw malformed;
  }

  byte(): number {
    if (this.#position >= this.#end) throw malformed;
    return this.#bytes[this.#position++]!;
  }

  skip(length: number): void {
    if (length < 0 || length > this.#end - this.#position) throw malformed;
    this.#position += length;
  }

  /** A base-128 varint of at most 64 bits, into `low` and `high`. */
  varint(): void {
    const bytes = this.#bytes;
    let position = this.#position;
    // Beyond the end a Buffer reads as undefined, which ends the number; the bound is checked once, below.
    let byte = bytes[position++]!;
    let low = byte & 0x7f;
    let high = 0;
    for (let shift = 7; byte & 0x80; shift += 7) {
      byte = bytes[position++]!;
      const bits = byte & 0x7f;
      if (shift < 28) low |= bits << shift;
      else if (shift === 28) {
        low |= bits << 28;
        high = bits >>> 4;
      } else if (shift < 63) high |= bits << (shift - 32);
      else {
        // The tenth byte has the last bit and no successor.
        if (byte > 1) throw malformed;
        high |= bits << 31;
      }
    }
    if (position > this.#end) throw malformed;
    this.#position = position;
    this.low = low;
    this.high = high;
  }

  /** Undoes zigzag in `low` and `high`: 0, −1, 1, −2 … are written as 0, 1, 2, 3 … */
  unzigzag(): void {
    const sign = -(this.low & 1);
    this.low = ((this.low >>> 1) | (this.high << 31)) ^ sign;
    this.high = (this.high >>> 1) ^ sign;
  }

  /** An IEEE 754 double. */
  double(): number {
    const at = this.#position;
    this.skip(8);
    return this.#bytes.readDoubleLE(at);
  }

  float(): number {
    const at = this.#position;
    this.skip(4);
    return this.#bytes.readFloatLE(at);
  }

  /** Four bytes into `low`. */
  fixed32(): void {
    const at = this.#position;
    this.skip(4);
    this.low = this.#bytes.readInt32LE(at);
  }

  /** Eight bytes into `low` and `high`. */
  fixed64(): void {
    const at = this.#position;
    this.skip(8);
    this.low = this.#bytes.readInt32LE(at);
    this.high = this.#bytes.readInt32LE(at + 4);
  }

  /** The length words as a length that the bytes left can hold. */
  length(): number {
    const { low, high } = this;
    if (high !== 0 || low < 0 || low > this.#end - this.#position) throw malformed;
    return low;
  }

  /** `length` bytes of UTF-8. */
  text(length: number): string {
    const bytes = this.#bytes;
    const start = this.#position;
    this.skip(length);
    const end = start + length;
    if (length <= SHORT_TEXT_BYTES) {
      let bits = 0;
      for (let at = start; at < end; at++) bits |= bytes[at]!;
      // ASCII, as most short texts are: the reader that need not decode is faster, and cannot fail.
      if (bits < 0x80) return bytes.latin1Slice(start, end);
    }
    const text = bytes.utf8Slice(start, end);
    // The fast reader writes U+FFFD for what is no UTF-8; only where there is one must it be told from a real one.
    if (text.includes('\ufffd') && !isUtf8(bytes.subarray(start, end))) throw malformed;
    return text;
  }
}
