/**
 * Bytes of different texts, ascending by code units: each says only what it does not share with the one before it (front
 * coding: I. H. Witten, A. Moffat, T. C. Bell, "Managing Gigabytes", 1999, section 4.1).
 *
 *     text := u8 16 · min(shared, 15) + min(own, 15) · where shared ≥ 15 varint shared − 15 · where own ≥ 15 varint own − 15
 *             · own bytes of UTF-8
 *
 * where `shared` is the number of first bytes that are those of the text before.
 */
import { type ByteReader, type ByteWriter, CorruptBytesError } from './bytes.ts';
import { type ReadText, readText } from './read-text.ts';

const LENGTH_MAX = 15;

const textEncoder = new TextEncoder();

export function writeAscendingTexts(values: readonly string[], w: ByteWriter): void {
  let before: Uint8Array = new Uint8Array(0);
  for (const value of values) {
    const bytes = textEncoder.encode(value);
    let shared = 0;
    while (shared < before.length && shared < bytes.length && before[shared] === bytes[shared]) shared++;
    const own = bytes.length - shared;
    w.u8(16 * Math.min(shared, LENGTH_MAX) + Math.min(own, LENGTH_MAX));
    if (shared >= LENGTH_MAX) w.varint(shared - LENGTH_MAX);
    if (own >= LENGTH_MAX) w.varint(own - LENGTH_MAX);
    for (let i = shared; i < bytes.length; i++) w.u8(bytes[i]!);
    before = bytes;
  }
}

/** The text before, within one call. */
let scratch: Uint8Array = new Uint8Array(256);

/** @throws CorruptBytesError where the bytes hold less or no UTF-8 */
export function readAscendingTexts(size: number, r: ByteReader): ReadText[] {
  if (size > r.remaining) throw new CorruptBytesError(`${size} texts in ${r.remaining} bytes`);
  const values = new Array<ReadText>(size);
  let length = 0;
  for (let i = 0; i < size; i++) {
    const head = r.u8();
    let shared = head >>> 4;
    let own = head & 15;
    if (shared === LENGTH_MAX) shared += r.varint();
    if (own === LENGTH_MAX) own += r.varint();
    if (shared > length || own > r.remaining)
      throw new CorruptBytesError(`a text of ${shared} bytes of the one before and ${own} of its own`);
    length = shared + own;
    if (length > scratch.length) {
      const grown = new Uint8Array(2 * length);
      grown.set(scratch);
      scratch = grown;
    }
    for (let at = shared; at < length; at++) scratch[at] = r.u8();
    try {
      values[i] = readText(scratch, 0, length);
    } catch (error) {
      throw new CorruptBytesError(`text before ${r.position} is not UTF-8`, { cause: error });
    }
  }
  return values;
}
