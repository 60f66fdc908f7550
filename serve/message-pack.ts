/**
 * Bodies as MessagePack, of the plain kinds that JSON has as well: nil, booleans, numbers, text, arrays, and maps whose
 * keys are text. Extensions (dates, records and references of msgpackr among them) are neither written nor read, so
 * that every implementation understands what is sent, and nothing that is received does more than hold a value.
 *
 * 64-bit integers stay exact in both directions: a whole number within ±(2⁵³ − 1) is a `number` here, one beyond that a
 * `bigint`.
 */
import { isUtf8 } from 'node:buffer';
import { Packr, Unpackr } from 'msgpackr';
import { LONG_MAX, LONG_MIN } from '../engine/definitions/column-value.ts';
import { ApiError } from './error-catalogue.ts';

const packr = new Packr({ useRecords: false, variableMapSize: true });

const unpackr = new Unpackr({ useRecords: false, mapsAsObjects: true, int64AsType: 'bigint' });

/** Numbers that msgpackr writes as integers; other whole ones it would write as doubles. */
const INT_MIN = -(2 ** 31);
const UINT_END = 2 ** 32;

/**
 * Of plain objects, maps, arrays and scalars. Whole numbers within ±(2⁵³ − 1) and bigints of 64 bits become integers,
 * larger bigints decimal text, as in JSON; fields that are undefined are left out.
 */
export function encodeMessagePack(body: unknown): Buffer {
  return packr.pack(packable(body));
}

function packable(value: unknown): unknown {
  switch (typeof value) {
    case 'number':
      if (!Number.isFinite(value)) return null;
      return Number.isSafeInteger(value) && (value < INT_MIN || value >= UINT_END)
        ? BigInt(value)
        : value + 0;
    case 'bigint':
      return value >= LONG_MIN && value <= LONG_MAX ? value : value.toString();
    case 'object': {
      if (value === null) return null;
      if (Array.isArray(value)) return value.map(packable);
      const entries = value instanceof Map ? [...value] : Object.entries(value);
      const kept = entries
        .filter(([, own]) => own !== undefined)
        .map(([key, own]) => [key, packable(own)] as const);
      // Maps only: a key of an object may be one that msgpackr looks at, such as `toJSON` or `constructor`.
      return new Map(kept);
    }
    default:
      return value;
  }
}

/** Of a body: arrays and maps within one another. */
const DEPTH_MAX = 64;
/**
 * Of a body: an empty map takes one byte here, and a hundred once it is an object. A push of the most events may have 80
 * columns in each.
 */
export const MESSAGE_PACK_VALUES_MAX = 4_000_000;

/** @throws ApiError `invalid_msgpack` */
export function decodeMessagePack(body: Uint8Array): unknown {
  const plain = new PlainMessagePack(body);
  const problem = plain.problem();
  if (problem !== null) throw new ApiError('invalid_msgpack', `the body ${problem}`);
  let value: unknown;
  try {
    value = unpackr.unpack(body);
  } catch (error) {
    throw new ApiError('invalid_msgpack', 'the body is not MessagePack', {}, { cause: error });
  }
  return plain.hasInt64 ? withSafeNumbers(value) : value;
}

/** Bigints that a number holds exactly as numbers: in which of its formats an integer was sent says nothing. */
function withSafeNumbers(value: unknown): unknown {
  if (typeof value === 'bigint') {
    const number = Number(value);
    return Number.isSafeInteger(number) ? number : value;
  }
  if (typeof value !== 'object' || value === null) return value;
  const parts = value as Record<string, unknown>;
  for (const name of Object.keys(parts)) {
    const part = parts[name];
    if (typeof part === 'bigint' || typeof part === 'object') parts[name] = withSafeNumbers(part);
  }
  return value;
}

const CUT_OFF = 'ends in the middle of a value';
const BINARY = 'has binary data: only text, numbers, booleans, nil, arrays and maps are allowed';
const EXTENSION = 'has an extension type: only text, numbers, booleans, nil, arrays and maps are allowed';

/**
 * Walks over the bytes before anything is made of them, so that what they claim (a text of 4 GB, an array of 2³² values)
 * costs nothing, and extensions are never looked at.
 */
class PlainMessagePack {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #at = 0;
  /** Whether there is an integer in a format of 64 bits. */
  hasInt64 = false;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** What is wrong with the bytes, in words that follow "the body"; null: nothing. */
  problem(): string | null {
    const { length } = this.#bytes;
    /** Values still to come of each array or map that is open; of a map keys count too. */
    const open: { left: number; readonly isMap: boolean }[] = [{ left: 1, isMap: false }];
    let values = 0;
    while (open.length > 0) {
      const inner = open[open.length - 1]!;
      if (inner.left === 0) {
        open.pop();
        continue;
      }
      const isKey = inner.isMap && inner.left % 2 === 0;
      inner.left--;
      if (++values > MESSAGE_PACK_VALUES_MAX) return `has more than ${MESSAGE_PACK_VALUES_MAX} values`;
      if (this.#at >= length) return CUT_OFF;
      const type = this.#bytes[this.#at++]!;
      const isText = (type >= 0xa0 && type <= 0xbf) || (type >= 0xd9 && type <= 0xdb);
      if (isKey && !isText) return 'has a map with a key that is not text';
      if (isText) {
        const problem = this.#text(type, isKey);
        if (problem !== null) return problem;
        continue;
      }
      const size = this.#containerSize(type);
      if (size !== null) {
        const isMap = type >= 0xde || type <= 0x8f;
        const parts = isMap ? 2 * size : size;
        // A value takes one byte at least.
        if (parts > length - this.#at) return CUT_OFF;
        if (open.length > DEPTH_MAX) return `has arrays and maps more than ${DEPTH_MAX} deep`;
        open.push({ left: parts, isMap });
        continue;
      }
      const bytes = scalarBytes(type);
      if (typeof bytes === 'string') return bytes;
      if (bytes > length - this.#at) return CUT_OFF;
      this.#at += bytes;
      if (type === 0xcf || type === 0xd3) this.hasInt64 = true;
    }
    return this.#at === length ? null : 'has bytes behind its value';
  }

  #text(type: number, isKey: boolean): string | null {
    const size = type <= 0xbf ? type & 0x1f : this.#unsigned(1 << (type - 0xd9));
    if (size === null || size > this.#bytes.length - this.#at) return CUT_OFF;
    const text = this.#bytes.subarray(this.#at, this.#at + size);
    this.#at += size;
    if (!isUtf8(text)) return 'has text that is not UTF-8';
    // What an object would take for its prototype.
    if (isKey && size === 9 && Buffer.from(text).toString('latin1') === '__proto__')
      return "has a key '__proto__'";
    return null;
  }

  /** Of an array or map; infinite where that is cut off; null: it is neither. */
  #containerSize(type: number): number | null {
    if (type >= 0x80 && type <= 0x9f) return type & 0x0f;
    if (type === 0xdc || type === 0xde) return this.#unsigned(2) ?? Number.POSITIVE_INFINITY;
    if (type === 0xdd || type === 0xdf) return this.#unsigned(4) ?? Number.POSITIVE_INFINITY;
    return null;
  }

  #unsigned(bytes: number): number | null {
    if (bytes > this.#bytes.length - this.#at) return null;
    const at = this.#at;
    this.#at += bytes;
    if (bytes === 1) return this.#view.getUint8(at);
    return bytes === 2 ? this.#view.getUint16(at) : this.#view.getUint32(at);
  }
}

/** Bytes behind the first one, or what is wrong. */
function scalarBytes(type: number): number | string {
  if (type <= 0x7f || type >= 0xe0 || type === 0xc0 || type === 0xc2 || type === 0xc3) return 0;
  // float 32 and 64, then unsigned and signed integers of 8 to 64 bits.
  if (type === 0xca) return 4;
  if (type === 0xcb) return 8;
  if (type >= 0xcc && type <= 0xcf) return 1 << (type - 0xcc);
  if (type >= 0xd0 && type <= 0xd3) return 1 << (type - 0xd0);
  if (type >= 0xc4 && type <= 0xc6) return BINARY;
  if ((type >= 0xc7 && type <= 0xc9) || (type >= 0xd4 && type <= 0xd8)) return EXTENSION;
  return 'is not MessagePack';
}
