/**
 * One value of a column inside a partial's state, as the row block holds it: a number, a long or a text.
 * Layout: a tag byte and the value in the smallest form that gives it back; one form per value. (−0 comes back as 0.)
 */
import { type ByteReader, type ByteWriter, CorruptBytesError } from '../bytes.ts';
import type { ColumnStorage } from '../tiles/row-block.ts';
import type { ColumnType, FeatureValue } from './partial-aggregate.ts';

export type StoredValue = number | bigint | string;

const INTEGER = 0;
const HUNDREDTHS = 1;
const F64 = 2;
const I64 = 3;
const TEXT = 4;

/** `ByteWriter.zigzag` takes |v| ≤ 2⁵². */
const ZIGZAG_MAX = 2 ** 52;

function isScaledInteger(value: number, scale: number): boolean {
  const scaled = Math.round(value * scale);
  return Math.abs(scaled) <= ZIGZAG_MAX && scaled / scale === value;
}

export function writeStoredValue(value: StoredValue, w: ByteWriter): void {
  if (typeof value === 'string') {
    w.u8(TEXT);
    w.text(value);
  } else if (typeof value === 'bigint') {
    w.u8(I64);
    w.i64(value);
  } else if (isScaledInteger(value, 1)) {
    w.u8(INTEGER);
    w.zigzag(value);
  } else if (isScaledInteger(value, 100)) {
    w.u8(HUNDREDTHS);
    w.zigzag(Math.round(value * 100));
  } else {
    w.u8(F64);
    w.f64(value);
  }
}

function fits(tag: number, storage: ColumnStorage): boolean {
  if (storage === 'text') return tag === TEXT;
  return tag <= F64 || (tag === I64 && storage === 'long');
}

export function readStoredValue(r: ByteReader, storage: ColumnStorage): StoredValue {
  const tag = r.u8();
  if (!fits(tag, storage)) throw new CorruptBytesError(`a value tagged ${tag} in a ${storage} column`);
  switch (tag) {
    case INTEGER:
      return r.zigzag();
    case HUNDREDTHS:
      return r.zigzag() / 100;
    case F64:
      return r.f64();
    case I64:
      return r.i64();
    default:
      return r.text();
  }
}

/** Goes past a value without making it. */
export function skipStoredValue(r: ByteReader, storage: ColumnStorage): void {
  const tag = r.u8();
  if (!fits(tag, storage)) throw new CorruptBytesError(`a value tagged ${tag} in a ${storage} column`);
  if (tag === TEXT) r.skip(r.varint());
  else if (tag === F64 || tag === I64) r.skip(8);
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
