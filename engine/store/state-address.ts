/**
 * What every tile store refuses, in one place, so that a key one store takes is never a key another one
 * collapses. Entity keys are hostile input: any well-formed Unicode is legal, including the empty key, `}` and
 * NUL; a lone surrogate is not, because UTF-8 has no form for it and two such keys would become one.
 */
import type { FieldName, RecordWrite, StateAddress, Token, WatermarkName } from './tile-store.ts';

/** Longest entity key and source name, in UTF-8 bytes. */
export const MAX_ENTITY_KEY_BYTES = 1024;
export const MAX_SOURCE_BYTES = 255;
export const MAX_RECORD_BYTES = 16 * 1024;
export const MAX_SHARD = 0xffff;
export const MAX_PARTITION = 0xffff;
const MAX_FIELD_NAME = 16;

/** An address, field, token or name that no store accepts. Never retryable. Does not echo the key: it may be personal data. */
export class InvalidAddressError extends Error {
  override readonly name = 'InvalidAddressError';
}

const LONE_SURROGATE = /\p{Surrogate}/u;
const HEX_16 = /^[0-9a-f]{16}$/;
const RECORD_NAME = /^[A-Za-z0-9:_.-]{1,64}$/;

export function checkText(what: string, text: string, maxBytes: number): void {
  if (typeof text !== 'string') throw new InvalidAddressError(`${what} must be a string`);
  if (LONE_SURROGATE.test(text)) {
    throw new InvalidAddressError(
      `${what} has a lone surrogate: it is not Unicode text and has no UTF-8 form`,
    );
  }
  // A UTF-16 unit takes at most three bytes: only texts that might be too long are measured.
  if (text.length * 3 > maxBytes && Buffer.byteLength(text) > maxBytes) {
    throw new InvalidAddressError(
      `${what} has ${Buffer.byteLength(text)} UTF-8 bytes; at most ${maxBytes} are allowed`,
    );
  }
}

export function checkShard(shard: number): void {
  checkInteger('shard', shard, MAX_SHARD);
}

export function checkAddress(address: StateAddress): void {
  checkShard(address.shard);
  checkNamespace(address.namespace);
  checkText('entity key', address.key, MAX_ENTITY_KEY_BYTES);
}

/** Dozens of names are checked for each read: a loop is several times as fast as a regular expression. */
export function checkFieldName(field: FieldName): void {
  let isName = typeof field === 'string' && field.length > 0 && field.length <= MAX_FIELD_NAME;
  for (let i = 0; isName && i < field.length; i++) isName = isNameUnit(field.charCodeAt(i));
  if (!isName) throw new InvalidAddressError('a field name is 1 to 16 ASCII letters, digits and colons');
}

/** A letter, a digit or a colon, which follows the digits. */
function isNameUnit(unit: number): boolean {
  return (unit >= 0x30 && unit <= 0x3a) || (unit >= 0x41 && unit <= 0x5a) || (unit >= 0x61 && unit <= 0x7a);
}

export function checkWatermarkName(name: WatermarkName): void {
  checkNamespace(name.namespace);
  checkInteger('partition', name.partition, MAX_PARTITION);
  checkText('source', name.source, MAX_SOURCE_BYTES);
}

export function checkToken(token: Token): void {
  if (!HEX_16.test(token)) throw new InvalidAddressError('a token is 16 lower-case hex digits');
}

/** A processing time, ms: an integer, 0 ≤ value ≤ 2⁵³ − 1. */
export function checkTimeMs(what: string, timeMs: number): void {
  checkInteger(what, timeMs, Number.MAX_SAFE_INTEGER);
}

export function checkRecordName(name: string): void {
  if (!RECORD_NAME.test(name)) {
    throw new InvalidAddressError('a record name is 1 to 64 ASCII letters, digits, ":", "_", "-" and "."');
  }
}

export function checkRecordWrite({ name, expected, next }: RecordWrite): void {
  checkRecordName(name);
  if (expected !== null) checkToken(expected);
  checkToken(next.token);
  checkText('record', next.text, MAX_RECORD_BYTES);
}

export function checkNamespace(namespace: string): void {
  if (!HEX_16.test(namespace)) throw new InvalidAddressError('a namespace is 16 lower-case hex digits');
}

function checkInteger(what: string, value: number, max: number): void {
  if (!Number.isSafeInteger(value) || value < 0 || value > max) {
    throw new InvalidAddressError(`${what} must be an integer from 0 to ${max}, not ${value}`);
  }
}
