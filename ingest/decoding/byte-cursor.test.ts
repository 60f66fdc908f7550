import { describe, expect, test } from 'vitest';
import { SeededRandom } from '../../engine/testing/random.ts';
import { ByteCursor, MalformedRecord, signed64, unsigned64 } from './byte-cursor.ts';

const MASK = 2n ** 64n - 1n;

/** The slow twin: a varint of unsigned 64 bits. */
function varintOf(value: bigint): Buffer {
  const bytes: number[] = [];
  for (let rest = value & MASK; ; rest >>= 7n) {
    if (rest < 128n) return Buffer.from([...bytes, Number(rest)]);
    bytes.push(Number(rest & 127n) | 128);
  }
}

function cursorOver(bytes: Uint8Array | readonly number[]): ByteCursor {
  const cursor = new ByteCursor();
  cursor.open(Buffer.from(bytes), 0);
  return cursor;
}

const random = new SeededRandom(7);
const NUMBERS = [
  ...Array.from({ length: 65 }, (_, bits) => 2n ** BigInt(bits)).flatMap((power) => [
    power - 1n,
    power,
    power + 1n,
  ]),
  ...Array.from({ length: 200 }, () => BigInt(`0x${random.hex64()}`) >> BigInt(random.below(64))),
].filter((value) => value <= MASK);
const normal = (value: bigint): number | bigint =>
  Number.isSafeInteger(Number(value)) && BigInt(Number(value)) === value ? Number(value) : value;

describe('integers of 64 bits', () => {
  test('varints keep every bit, signed and not', () => {
    for (const value of NUMBERS) {
      const cursor = cursorOver(varintOf(value));
      cursor.varint();
      expect(unsigned64(cursor.low, cursor.high)).toBe(normal(value));
      expect(signed64(cursor.low, cursor.high)).toBe(normal(BigInt.asIntN(64, value)));
      expect(cursor.remaining).toBe(0);
    }
  });

  test('zigzag is undone', () => {
    for (const unsigned of NUMBERS) {
      const value = BigInt.asIntN(64, unsigned);
      const cursor = cursorOver(varintOf((value << 1n) ^ (value >> 63n)));
      cursor.varint();
      cursor.unzigzag();
      expect(signed64(cursor.low, cursor.high)).toBe(normal(value));
    }
  });

  test('a varint that ends nowhere, or has more than 64 bits, is malformed', () => {
    for (const bytes of [
      [],
      [0x80],
      Array(9).fill(0xff),
      [...Array(9).fill(0xff), 2],
      Array(11).fill(0x80),
    ]) {
      expect(() => cursorOver(bytes).varint(), String(bytes)).toThrow(MalformedRecord);
    }
  });
});

describe('text', () => {
  test.each(['', 'plain', 'naïve', '🚀', '\ufffd', `${'a'.repeat(100)}é`])('%j comes back', (text) => {
    const bytes = Buffer.from(text);
    expect(cursorOver(bytes).text(bytes.length)).toBe(text);
  });

  test('what is no UTF-8 is malformed, also beside a real U+FFFD', () => {
    for (const bytes of [[0xff], [0x61, 0xc3], [0xed, 0xa0, 0x80], [...Buffer.from('\ufffd'), 0xfe]]) {
      expect(() => cursorOver(bytes).text(bytes.length)).toThrow(MalformedRecord);
    }
  });
});

test('nothing is read beyond a part that was entered', () => {
  const cursor = cursorOver([1, 2, 3, 0x80, 5]);
  const end = cursor.enter(4);
  cursor.skip(3);
  // The byte behind the part would end the number.
  expect(() => cursor.varint()).toThrow(MalformedRecord);
  expect(() => cursor.skip(2)).toThrow(MalformedRecord);
  expect(() => cursor.skip(-1)).toThrow(MalformedRecord);
  expect(() => cursor.enter(2)).toThrow(MalformedRecord);
  cursor.leave(end);
  expect(cursor.byte()).toBe(5);
  expect(() => cursor.byte()).toThrow(MalformedRecord);
});
