/**
 * Bytes of different values of one column, ascending: texts as in `ascending-texts.ts`; others as `writeStoredValue` has them,
 * but of integers and of hundredths only the first is in zigzag, the rest are varint differences from the one before with
 * the same tag.
 */
import { readAscendingTexts, writeAscendingTexts } from '../ascending-texts.ts';
import { type ByteReader, type ByteWriter, CorruptBytesError } from '../bytes.ts';
import type { ColumnStorage } from '../tiles/row-block.ts';
import { readTag, type StoredValue, tagOf, VALUE_TAG } from './stored-value.ts';

/** `ByteWriter.zigzag` takes |v| ≤ 2⁵². */
const SCALED_MAX = 2 ** 52;

/** @param values different ones, ascending as `compareStoredValues` has it, of one column */
export function writeAscendingValues(values: readonly StoredValue[], w: ByteWriter): void {
  if (typeof values[0] === 'string') writeAscendingTexts(values as readonly string[], w);
  else writeNumbers(values as readonly (number | bigint)[], w);
}

function writeNumbers(values: readonly (number | bigint)[], w: ByteWriter): void {
  /** By tag; NaN: there was none. */
  const before = [Number.NaN, Number.NaN];
  for (const value of values) {
    const tag = tagOf(value);
    w.u8(tag);
    if (typeof value === 'bigint') {
      w.i64(value);
    } else if (tag === VALUE_TAG.f64) {
      w.f64(value);
    } else {
      const scaled = tag === VALUE_TAG.integer ? value : Math.round(value * 100);
      const last = before[tag]!;
      if (Number.isNaN(last)) w.zigzag(scaled);
      else w.varint(scaled - last);
      before[tag] = scaled;
    }
  }
}

/** @throws CorruptBytesError where the bytes hold less, or values of another kind */
export function readAscendingValues(size: number, r: ByteReader, storage: ColumnStorage): StoredValue[] {
  return storage === 'text'
    ? readAscendingTexts(size, r).map(({ text }) => text)
    : readNumbers(size, r, storage);
}

function readNumbers(size: number, r: ByteReader, storage: ColumnStorage): (number | bigint)[] {
  if (size > r.remaining) throw new CorruptBytesError(`${size} values in ${r.remaining} bytes`);
  const values = new Array<number | bigint>(size);
  const before = [Number.NaN, Number.NaN];
  for (let i = 0; i < size; i++) {
    const tag = readTag(r, storage);
    if (tag === VALUE_TAG.i64) {
      values[i] = r.i64();
    } else if (tag === VALUE_TAG.f64) {
      values[i] = r.f64();
    } else {
      const last = before[tag]!;
      const scaled = Number.isNaN(last) ? r.zigzag() : last + r.varint();
      if (scaled > SCALED_MAX) throw new CorruptBytesError(`a value of ${scaled}`);
      before[tag] = scaled;
      values[i] = tag === VALUE_TAG.integer ? scaled : scaled / 100;
    }
  }
  return values;
}
