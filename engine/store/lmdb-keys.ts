/**
 * The binary keys of the lmdb tile store. lmdb orders keys as unsigned bytes; numbers are big-endian, so that
 * they order as numbers. Every key starts with what it is grouped by, every text has its length in front or
 * ends the key: the encoding is injective.
 *
 *     state      shard u16 · namespace 8 bytes · key length u16 · entity key UTF-8
 *     field      state · field name ASCII                                  (the head has the empty name)
 *     watermark  shard u16 · namespace 8 bytes · partition u16 · source UTF-8
 *     due        shard u16 · due time u64 · state
 *     record     name ASCII
 */
import { checkAddress, checkFieldName, checkTimeMs, checkWatermarkName } from './state-address.ts';
import type { FieldName, StateAddress, WatermarkName } from './tile-store.ts';
import { readHex, writeHex } from './token-bytes.ts';

const NAMESPACE_AT = 2;
const KEY_LENGTH_AT = 10;
const KEY_AT = 12;
const DUE_STATE_AT = 10;
const TWO_32 = 2 ** 32;

const textEncoder = new TextEncoder();
/** Without `ignoreBOM` a key that starts with U+FEFF would lose it. */
const textDecoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/**
 * Builds the keys of one state after another in one buffer. What it returns is valid until its next call, which
 * is enough for lmdb: it copies keys at once.
 */
export class StateKeyWriter {
  readonly #bytes = new Uint8Array(2048);
  /** The first bytes, by how many: some fifty keys are built for each read, and views are not made anew. */
  readonly #starts = new Map<number, Uint8Array>();
  #stateEnd = 0;

  /** The state's key; `field` then builds keys of this state. */
  state(address: StateAddress): Uint8Array {
    checkAddress(address);
    const bytes = this.#bytes;
    writeU16(bytes, 0, address.shard);
    writeHex(bytes, NAMESPACE_AT, address.namespace);
    const length = writeText(bytes, KEY_AT, address.key);
    writeU16(bytes, KEY_LENGTH_AT, length);
    this.#stateEnd = KEY_AT + length;
    return this.#start(this.#stateEnd);
  }

  field(field: FieldName): Uint8Array {
    checkFieldName(field);
    let end = this.#stateEnd;
    for (let i = 0; i < field.length; i++) this.#bytes[end++] = field.charCodeAt(i);
    return this.#start(end);
  }

  #start(end: number): Uint8Array {
    let start = this.#starts.get(end);
    if (start === undefined) {
      start = this.#bytes.subarray(0, end);
      this.#starts.set(end, start);
    }
    return start;
  }
}

export function stateKey(address: StateAddress): Uint8Array {
  return new StateKeyWriter().state(address);
}

export function fieldKey(address: StateAddress, field: FieldName): Uint8Array {
  const writer = new StateKeyWriter();
  writer.state(address);
  return writer.field(field);
}

/** All keys of a state (its head and its fields) are ≥ `stateKey` and < this: field names are ASCII. */
export function endOfState(state: Uint8Array): Uint8Array {
  const end = new Uint8Array(state.length + 1);
  end.set(state);
  end[state.length] = 0x80;
  return end;
}

/** Whether a key of a state is that of its head. */
export function isHeadKey(key: Uint8Array): boolean {
  return key.length === KEY_AT + key[KEY_LENGTH_AT]! * 256 + key[KEY_LENGTH_AT + 1]!;
}

/** All keys of states, and all of watermarks, of a namespace in a shard are ≥ start and < end. */
export function namespaceRange(shard: number, namespace: string): { start: Uint8Array; end: Uint8Array } {
  const start = new Uint8Array(KEY_LENGTH_AT);
  writeU16(start, 0, shard);
  writeHex(start, NAMESPACE_AT, namespace);
  // Behind every key: what follows the number is UTF-8, in which no byte is 0xff.
  const end = new Uint8Array(KEY_AT + 1).fill(0xff);
  end.set(start);
  return { start, end };
}

export function decodeStateKey(state: Uint8Array): StateAddress {
  return {
    shard: state[0]! * 256 + state[1]!,
    namespace: readHex(state, NAMESPACE_AT),
    key: textDecoder.decode(state.subarray(KEY_AT)),
  };
}

export function watermarkKey(shard: number, name: WatermarkName): Uint8Array {
  checkWatermarkName(name);
  const bytes = new Uint8Array(KEY_AT + name.source.length * 3);
  writeU16(bytes, 0, shard);
  writeHex(bytes, NAMESPACE_AT, name.namespace);
  writeU16(bytes, KEY_LENGTH_AT, name.partition);
  return bytes.subarray(0, KEY_AT + writeText(bytes, KEY_AT, name.source));
}

export function dueKey(shard: number, dueMs: number, state: Uint8Array): Uint8Array {
  checkTimeMs('due time', dueMs);
  const bytes = new Uint8Array(DUE_STATE_AT + state.length);
  writeU16(bytes, 0, shard);
  writeU64(bytes, 2, dueMs);
  bytes.set(state, DUE_STATE_AT);
  return bytes;
}

/** Due keys of the shard with due time < `dueMs` lie from `dueKey(shard, 0, …)` up to, not including, this. */
export function dueKeyBound(shard: number, dueMs: number): Uint8Array {
  return dueKey(shard, dueMs, new Uint8Array(0));
}

export function decodeDueKey(key: Uint8Array): { dueMs: number; state: Uint8Array } {
  return { dueMs: readU64(key, 2), state: key.subarray(DUE_STATE_AT) };
}

export function writeU16(target: Uint8Array, at: number, value: number): void {
  target[at] = value >>> 8;
  target[at + 1] = value & 0xff;
}

/** @param value an integer, 0 ≤ value ≤ 2⁵³ − 1 */
export function writeU64(target: Uint8Array, at: number, value: number): void {
  const high = Math.floor(value / TWO_32);
  const low = value - high * TWO_32;
  writeU16(target, at, high >>> 16);
  writeU16(target, at + 2, high & 0xffff);
  writeU16(target, at + 4, low >>> 16);
  writeU16(target, at + 6, low & 0xffff);
}

export function readU64(bytes: Uint8Array, at: number): number {
  let value = 0;
  for (let i = 0; i < 8; i++) value = value * 256 + bytes[at + i]!;
  return value;
}

/** Writes text of a checked length as UTF-8; returns the number of bytes. */
export function writeText(target: Uint8Array, at: number, text: string): number {
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    if (unit >= 0x80) return i + textEncoder.encodeInto(text.slice(i), target.subarray(at + i)).written;
    target[at + i] = unit;
  }
  return text.length;
}
