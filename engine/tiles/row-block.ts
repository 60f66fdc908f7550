import { readAscendingTexts, writeAscendingTexts } from '../ascending-texts.ts';
import { type ByteReader, type ByteWriter, CorruptBytesError, unfolded } from '../bytes.ts';
import type { EventId } from '../event-id.ts';

/**
 * How a column of rows is held in memory.
 *
 * - `number`: a Float64Array, null is NaN (a NaN is never accepted as a value). Doubles, integers, timestamps
 *   (ms), booleans (0 or 1) and 53-bit hashes of values that only need to be told apart.
 * - `long`: an array of safe integers as `number`, others as `bigint`; null is null.
 * - `text`: an array of strings; null is null.
 * - `text_hash`: as `number`, the 53-bit hashes of the texts of the column just before it. Not among the bytes: computed
 *   when the rows are read.
 */
export type ColumnStorage = 'number' | 'long' | 'text' | 'text_hash';

export type ColumnVector = Float64Array | (number | bigint | null)[] | (string | null)[];

/**
 * Rows of one entity key as a struct of arrays, ascending in the total order of C3: (time, idHi, idLo).
 *
 * `times` are event times in ms, 0 ≤ t < 2⁴⁵. An id is 64 bits in two unsigned halves whose order is the
 * order of the event ids (see `event-id.ts`).
 */
export interface RowBlock {
  readonly length: number;
  readonly times: Float64Array;
  readonly idHi: Uint32Array;
  readonly idLo: Uint32Array;
  readonly columns: readonly ColumnVector[];
}

export function emptyRows(storages: readonly ColumnStorage[]): RowBlock {
  return allocateRows(0, storages);
}

const holdsDoubles = (storage: ColumnStorage): boolean => storage === 'number' || storage === 'text_hash';

/**
 * V8 keeps typed arrays of up to 64 bytes in its own heap. A larger one has memory of its own, which costs about a
 * microsecond to get and to give back: the arrays of such rows lie in one slab, one behind the other, those of the next
 * rows behind them. Nobody keeps rows for longer than a read or a write takes, so that slabs do not last either.
 */
const OWN_ARRAYS_MAX = 8;
const SLAB_BYTES = 32 * 1024;
/** More would leave much of a slab unused. */
const IN_SLAB_MAX = SLAB_BYTES / 8;

let slab = new ArrayBuffer(SLAB_BYTES);
let slabUsed = 0;

/** Zeros. @param bytes a multiple of 8 */
function slabBytes(bytes: number): { readonly buffer: ArrayBuffer; readonly at: number } {
  if (bytes > IN_SLAB_MAX) return { buffer: new ArrayBuffer(bytes), at: 0 };
  if (slabUsed + bytes > SLAB_BYTES) {
    slab = new ArrayBuffer(SLAB_BYTES);
    slabUsed = 0;
  }
  const at = slabUsed;
  slabUsed += bytes;
  return { buffer: slab, at };
}

export function allocateRows(length: number, storages: readonly ColumnStorage[]): RowBlock {
  if (length <= OWN_ARRAYS_MAX) {
    return {
      length,
      times: new Float64Array(length),
      idHi: new Uint32Array(length),
      idLo: new Uint32Array(length),
      columns: storages.map((storage) =>
        holdsDoubles(storage) ? new Float64Array(length) : new Array(length).fill(null),
      ),
    };
  }
  let doubles = 1;
  for (const storage of storages) if (holdsDoubles(storage)) doubles++;
  const columnBytes = 8 * length;
  const { buffer, at: start } = slabBytes(columnBytes * (doubles + 1));
  const times = new Float64Array(buffer, start, length);
  const columns = new Array<ColumnVector>(storages.length);
  let at = start + columnBytes;
  for (let c = 0; c < storages.length; c++) {
    if (holdsDoubles(storages[c]!)) {
      columns[c] = new Float64Array(buffer, at, length);
      at += columnBytes;
    } else {
      columns[c] = new Array<null>(length).fill(null);
    }
  }
  const idHi = new Uint32Array(buffer, at, length);
  const idLo = new Uint32Array(buffer, at + 4 * length, length);
  return { length, times, idHi, idLo, columns };
}

/** Sets the value of row `i` in column `c`. */
export function setValue(rows: RowBlock, c: number, i: number, value: number | bigint | string | null): void {
  const column = rows.columns[c]!;
  column[i] = value === null && column instanceof Float64Array ? Number.NaN : value;
}

/** Negative, 0 or positive as row `i` of `a` comes before, equals or comes after row `j` of `b` (C3). */
export function compareRows(a: RowBlock, i: number, b: RowBlock, j: number): number {
  return a.times[i]! - b.times[j]! || a.idHi[i]! - b.idHi[j]! || a.idLo[i]! - b.idLo[j]!;
}

/** The first index whose time is ≥ `timeMs`; `rows.length` where there is none. */
export function lowerBound(rows: RowBlock, timeMs: number): number {
  let low = 0;
  let high = rows.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (rows.times[middle]! < timeMs) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** The first index whose row is behind the event with this time and id (C3); `rows.length` where there is none. */
export function firstBehind(rows: RowBlock, timeMs: number, id: EventId): number {
  let low = 0;
  let high = rows.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const order = rows.times[middle]! - timeMs || rows.idHi[middle]! - id.hi || rows.idLo[middle]! - id.lo;
    if (order <= 0) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Whether the event with this time and id is among the rows. */
export function containsRow(rows: RowBlock, timeMs: number, id: EventId): boolean {
  const i = firstBehind(rows, timeMs, id) - 1;
  return i >= 0 && rows.times[i] === timeMs && rows.idHi[i] === id.hi && rows.idLo[i] === id.lo;
}

/** Copies row `i` of one block over row `j` of another with the same columns. */
export function copyRow(from: RowBlock, i: number, to: RowBlock, j: number): void {
  to.times[j] = from.times[i]!;
  to.idHi[j] = from.idHi[i]!;
  to.idLo[j] = from.idLo[i]!;
  for (let c = 0; c < from.columns.length; c++) to.columns[c]![j] = from.columns[c]![i]!;
}

/** Storages that hold the same values; longs count as texts, as both are arrays. */
export function storagesOf(rows: RowBlock): ColumnStorage[] {
  return rows.columns.map((column) => (column instanceof Float64Array ? 'number' : 'text'));
}

/** Rows `from ≤ i < to`. */
export function sliceRows(rows: RowBlock, from: number, to: number): RowBlock {
  if (from === 0 && to === rows.length) return rows;
  // Not `slice`: it would give every column memory of its own.
  const sliced = allocateRows(to - from, storagesOf(rows));
  for (let i = from; i < to; i++) copyRow(rows, i, sliced, i - from);
  return sliced;
}

/** The rows named by `order`, in that order. */
export function pickRows(
  rows: RowBlock,
  order: ArrayLike<number>,
  storages: readonly ColumnStorage[],
): RowBlock {
  const picked = allocateRows(order.length, storages);
  for (let k = 0; k < order.length; k++) copyRow(rows, order[k]!, picked, k);
  return picked;
}

/** Sorted copy of rows in any order. */
export function sortRows(rows: RowBlock, storages: readonly ColumnStorage[]): RowBlock {
  let sorted = true;
  for (let i = 1; i < rows.length && sorted; i++) sorted = compareRows(rows, i - 1, rows, i) <= 0;
  if (sorted) return rows;
  const order = Array.from({ length: rows.length }, (_, i) => i).sort((i, j) =>
    compareRows(rows, i, rows, j),
  );
  return pickRows(rows, order, storages);
}

/** Merges two sorted blocks; neither is changed. */
export function mergeRows(a: RowBlock, b: RowBlock, storages: readonly ColumnStorage[]): RowBlock {
  if (a.length === 0) return b;
  if (b.length === 0) return a;
  const merged = allocateRows(a.length + b.length, storages);
  let i = 0;
  let j = 0;
  for (let k = 0; k < merged.length; k++) {
    if (j >= b.length || (i < a.length && compareRows(a, i, b, j) <= 0)) copyRow(a, i++, merged, k);
    else copyRow(b, j++, merged, k);
  }
  return merged;
}

/** Bytes of a text in UTF-8. A surrogate counts for half of its pair: there are no lone ones. */
function utf8Bytes(text: string): number {
  let bytes = 0;
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    bytes += unit < 0x80 ? 1 : unit < 0x800 || (unit & 0xf800) === 0xd800 ? 2 : 3;
  }
  return bytes;
}

/**
 * Bytes a row takes at most, near enough to decide when a leaf is full: 4 for the time, 8 for the id, 8 for a number.
 * What its neighbours save it, with ids and times close to its own, is left out: then the weight of a leaf is that of
 * its rows however they are split.
 */
export function rowWeightBytes(rows: RowBlock, storages: readonly ColumnStorage[], i: number): number {
  let bytes = 12;
  for (let c = 0; c < storages.length; c++) {
    if (storages[c] === 'text_hash') continue;
    const value = rows.columns[c]![i];
    bytes += typeof value === 'string' ? 2 + utf8Bytes(value) : 8;
  }
  return bytes;
}

export function rowsWeightBytes(rows: RowBlock, storages: readonly ColumnStorage[]): number {
  let bytes = 0;
  for (let i = 0; i < rows.length; i++) bytes += rowWeightBytes(rows, storages, i);
  return bytes;
}

// Encodings of a column of numbers: the smallest that gives every bit back is chosen per block.
const RAW_F64 = 0;
const INTEGER = 1;
const HUNDREDTHS = 2;
const THOUSANDTHS = 3;
const SCALE: readonly number[] = [1, 1, 100, 1000];

/** Scaled integers stay below 2⁵¹, so that `zigzag(v) + 1` (0 stands for null) is a safe varint. */
const SCALED_MAX = 2 ** 51;

function scaledExactly(value: number, scale: number): boolean {
  const scaled = Math.round(value * scale);
  // −0 would come back as 0, but never gets here: decoding an event has made it 0 already.
  return Math.abs(scaled) <= SCALED_MAX && scaled / scale === value;
}

function numberMode(column: Float64Array): number {
  for (const mode of [INTEGER, HUNDREDTHS, THOUSANDTHS]) {
    const scale = SCALE[mode]!;
    let fits = true;
    for (let i = 0; i < column.length && fits; i++) {
      fits = Number.isNaN(column[i]!) || scaledExactly(column[i]!, scale);
    }
    if (fits) return mode;
  }
  return RAW_F64;
}

function writeNumbers(column: Float64Array, w: ByteWriter): void {
  const mode = numberMode(column);
  w.u8(mode);
  if (mode === RAW_F64) {
    for (const value of column) w.f64(value);
    return;
  }
  const scale = SCALE[mode]!;
  for (const value of column) {
    if (Number.isNaN(value)) {
      w.varint(0);
    } else {
      const scaled = Math.round(value * scale);
      w.varint((scaled < 0 ? -2 * scaled - 1 : 2 * scaled) + 1);
    }
  }
}

function readNumbers(r: ByteReader, column: Float64Array): void {
  const mode = r.u8();
  if (mode > THOUSANDTHS) throw new CorruptBytesError(`unknown number encoding ${mode}`);
  if (mode === RAW_F64) {
    for (let i = 0; i < column.length; i++) column[i] = r.f64();
    return;
  }
  const scale = SCALE[mode]!;
  for (let i = 0; i < column.length; i++) {
    const stored = r.varint();
    column[i] = stored === 0 ? Number.NaN : unfolded(stored - 1) / scale;
  }
}

// A long is a tag byte and its value.
const LONG_NULL = 0;
const LONG_VARINT = 1;
const LONG_FIXED = 2;

function writeLongs(column: readonly (number | bigint | null)[], w: ByteWriter): void {
  for (const value of column) {
    if (value === null) {
      w.u8(LONG_NULL);
    } else if (typeof value === 'number' && Math.abs(value) <= SCALED_MAX) {
      w.u8(LONG_VARINT);
      w.zigzag(value);
    } else {
      w.u8(LONG_FIXED);
      w.i64(BigInt(value));
    }
  }
}

function readLongs(r: ByteReader, column: (number | bigint | null)[]): void {
  for (let i = 0; i < column.length; i++) {
    const tag = r.u8();
    if (tag === LONG_NULL) column[i] = null;
    else if (tag === LONG_VARINT) column[i] = r.zigzag();
    else if (tag === LONG_FIXED) {
      const value = r.i64();
      const asNumber = Number(value);
      column[i] = Number.isSafeInteger(asNumber) ? asNumber : value;
    } else throw new CorruptBytesError(`unknown long encoding ${tag}`);
  }
}

function writeTexts(column: readonly (string | null)[], w: ByteWriter): void {
  const places = new Map<string, number>();
  for (const value of column) if (value !== null) places.set(value, 0);
  const texts = [...places.keys()].sort();
  w.varint(texts.length);
  writeAscendingTexts(texts, w);
  texts.forEach((text, place) => {
    places.set(text, place + 1);
  });
  for (const value of column) w.varint(value === null ? 0 : places.get(value)!);
}

/** @param hashes the column of their hashes; null: there is none */
function readTexts(r: ByteReader, column: (string | null)[], hashes: Float64Array | null): void {
  const texts = readAscendingTexts(r.varint(), r);
  for (let i = 0; i < column.length; i++) {
    const place = r.varint();
    if (place > texts.length) throw new CorruptBytesError(`text ${place} of ${texts.length}`);
    const read = place === 0 ? null : texts[place - 1]!;
    column[i] = read === null ? null : read.text;
    if (hashes !== null) hashes[i] = read === null ? Number.NaN : read.hash;
  }
}

// Encodings of the ids of a block.
const IDS_FIXED = 0;
const IDS_DIFFERENCES = 1;

const TWO_32 = 2 ** 32;

/** The high half of the integer 0 as an event id: see `event-id.ts`. */
const ZERO_HI = 2 ** 31;

/** Where two high halves are closer than this, the ids differ by less than 2⁵², which a zigzag varint can say. */
const HI_DIFFERENCE_END = 2 ** 20;

function zigzagBytes(value: number): number {
  const folded = value < 0 ? -2 * value - 1 : 2 * value;
  let bytes = 1;
  for (let end = 0x80; folded >= end; end *= 0x80) bytes++;
  return bytes;
}

/** Hashed texts lie all over the 64 bits; integers and log positions mostly follow each other closely. */
function idsMode({ length, idHi, idLo }: RowBlock): number {
  const bytesFixed = 8 * length;
  let bytes = zigzagBytes(idHi[0]! - ZERO_HI) + 4;
  for (let i = 1; i < length && bytes < bytesFixed; i++) {
    const high = idHi[i]! - idHi[i - 1]!;
    if (high >= HI_DIFFERENCE_END || high <= -HI_DIFFERENCE_END) return IDS_FIXED;
    bytes += zigzagBytes(high * TWO_32 + (idLo[i]! - idLo[i - 1]!));
  }
  return bytes < bytesFixed ? IDS_DIFFERENCES : IDS_FIXED;
}

function writeIds(rows: RowBlock, w: ByteWriter): void {
  const { length, idHi, idLo } = rows;
  const mode = idsMode(rows);
  w.u8(mode);
  if (mode === IDS_FIXED) {
    for (let i = 0; i < length; i++) {
      w.u32(idHi[i]!);
      w.u32(idLo[i]!);
    }
    return;
  }
  w.zigzag(idHi[0]! - ZERO_HI);
  w.u32(idLo[0]!);
  for (let i = 1; i < length; i++) w.zigzag((idHi[i]! - idHi[i - 1]!) * TWO_32 + (idLo[i]! - idLo[i - 1]!));
}

/** @param rows at least one */
function readIds(r: ByteReader, { length, idHi, idLo }: RowBlock): void {
  const mode = r.u8();
  if (mode === IDS_FIXED) {
    r.u32Pairs(idHi, idLo);
    return;
  }
  if (mode !== IDS_DIFFERENCES) throw new CorruptBytesError(`unknown encoding of ids ${mode}`);
  let hi = r.zigzag() + ZERO_HI;
  let lo = r.u32();
  for (let i = 0; ; i++) {
    if (hi < 0 || hi >= TWO_32)
      throw new CorruptBytesError(`an event id beyond 64 bits before ${r.position}`);
    idHi[i] = hi;
    idLo[i] = lo;
    if (i + 1 === length) return;
    lo += r.zigzag();
    if (lo < 0 || lo >= TWO_32) {
      const carry = Math.floor(lo / TWO_32);
      hi += carry;
      lo -= carry * TWO_32;
    }
  }
}

/**
 * Layout: varint n · where n > 0: varint time₀ · (n − 1) varint time deltas · the ids · the columns in order.
 *
 * - ids: u8 0 · n × (u32 idHi, u32 idLo), or u8 1 · zigzag (idHi₀ − 2³¹) · u32 idLo₀ · (n − 1) × zigzag (id −
 *   previous id, as 64-bit integers), whichever is smaller; 1 only where every difference is within ±2⁵².
 * - `number`: mode byte, values; `long`: tag and value each; `text_hash`: nothing.
 * - `text`: varint different texts · these, see `ascending-texts.ts` · per row varint its place among them from 1 on, 0: null.
 */
export function encodeRows(rows: RowBlock, storages: readonly ColumnStorage[], w: ByteWriter): void {
  const n = rows.length;
  w.varint(n);
  if (n === 0) return;
  let previousMs = 0;
  for (let i = 0; i < n; i++) {
    const timeMs = rows.times[i]!;
    w.varint(timeMs - previousMs);
    previousMs = timeMs;
  }
  writeIds(rows, w);
  for (let c = 0; c < storages.length; c++) {
    const column = rows.columns[c]!;
    if (storages[c] === 'number') writeNumbers(column as Float64Array, w);
    else if (storages[c] === 'long') writeLongs(column as (number | bigint | null)[], w);
    else if (storages[c] === 'text') writeTexts(column as (string | null)[], w);
  }
}

export function decodeRows(r: ByteReader, storages: readonly ColumnStorage[]): RowBlock {
  const n = r.varint();
  if (n === 0) return emptyRows(storages);
  // Of every row its time, its id and each value that is stored take a byte at least.
  let rowBytesMin = 2;
  for (const storage of storages) if (storage !== 'text_hash') rowBytesMin++;
  if (n * rowBytesMin > r.remaining) throw new CorruptBytesError(`${n} rows in ${r.remaining} bytes`);
  const rows = allocateRows(n, storages);
  let timeMs = 0;
  for (let i = 0; i < n; i++) {
    timeMs += r.varint();
    rows.times[i] = timeMs;
  }
  readIds(r, rows);
  for (let c = 0; c < storages.length; c++) {
    const column = rows.columns[c]!;
    if (storages[c] === 'number') readNumbers(r, column as Float64Array);
    else if (storages[c] === 'long') readLongs(r, column as (number | bigint | null)[]);
    else if (storages[c] === 'text') {
      const hashes = storages[c + 1] === 'text_hash' ? (rows.columns[c + 1] as Float64Array) : null;
      readTexts(r, column as (string | null)[], hashes);
    }
  }
  return rows;
}
