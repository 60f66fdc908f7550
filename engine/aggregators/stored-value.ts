/**
 * One value of a column inside a partial's state, as the row block holds it: a number, a long or a text.
 * Layout: a tag byte and the value in the smallest form that gives it back; one form per value. (−0 comes back as 0.)
 */
import { type ByteReader, type ByteWriter, CorruptBytesError } from '../bytes.ts';
import type { ColumnStorage } from '../tiles/row-block.ts';
import type { ColumnType, FeatureValue } from './partial-aggregate.ts';

export type StoredValue = number | bigint | string;

/** How a value is written. */
export const VALUE_TAG = { integer: 0, hundredths: 1, f64: 2, i64: 3, text: 4 } as const;

/** `ByteWriter.zigzag` takes |v| ≤ 2⁵². */
const ZIGZAG_MAX = 2 ** 52;

function isScaledInteger(value: number, scale: number): boolean {
  const scaled = Math.round(value * scale);
  return Math.abs(scaled) <= ZIGZAG_MAX && scaled / scale === value;
}

export function tagOf(value: StoredValue): number {
  if (typeof value === 'string') return VALUE_TAG.text;
  if (typeof value === 'bigint') return VALUE_TAG.i64;
  if (isScaledInteger(value, 1)) return VALUE_TAG.integer;
  return isScaledInteger(value, 100) ? VALUE_TAG.hundredths : VALUE_TAG.f64;
}

export function writeStoredValue(value: StoredValue, w: ByteWriter): void {
  const tag = tagOf(value);
  w.u8(tag);
  if (typeof value === 'string') w.text(value);
  else if (typeof value === 'bigint') w.i64(value);
  else if (tag === VALUE_TAG.f64) w.f64(value);
  else w.zigzag(tag === VALUE_TAG.integer ? value : Math.round(value * 100));
}

/** @throws CorruptBytesError where the storage holds no values of that kind */
export function readTag(r: ByteReader, storage: ColumnStorage): number {
  const tag = r.u8();
  const fits =
    storage === 'text'
      ? tag === VALUE_TAG.text
      : tag <= VALUE_TAG.f64 || (tag === VALUE_TAG.i64 && storage === 'long');
  if (!fits) throw new CorruptBytesError(`a value tagged ${tag} in a ${storage} column`);
  return tag;
}

export function readStoredValue(r: ByteReader, storage: ColumnStorage): StoredValue {
  switch (readTag(r, storage)) {
    case VALUE_TAG.integer:
      return r.zigzag();
    case VALUE_TAG.hundredths:
      return r.zigzag() / 100;
    case VALUE_TAG.f64:
      return r.f64();
    case VALUE_TAG.i64:
      return r.i64();
    default:
      return r.text();
  }
}

/** Goes past a value without making it. */
export function skipStoredValue(r: ByteReader, storage: ColumnStorage): void {
  const tag = readTag(r, storage);
  if (tag === VALUE_TAG.text) r.skip(r.varint());
  else if (tag === VALUE_TAG.f64 || tag === VALUE_TAG.i64) r.skip(8);
  else r.varint();
}

/** The natural order of values of one column: numbers and bigints by what they are worth, text by code units. */
export function compareStoredValues(a: StoredValue, b: StoredValue): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** As the caller sees it: booleans are stored as 0 and 1. */
export function toFeatureValue(value: StoredValue, type: ColumnType): FeatureValue {
  return type === 'boolean' ? value !== 0 : value;
}
