import { decode, encode } from '@msgpack/msgpack';
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ApiError } from './error-catalogue.ts';
import { decodeMessagePack, encodeMessagePack, MESSAGE_PACK_VALUES_MAX } from './message-pack.ts';

const bytes = (hex: string): Uint8Array => Buffer.from(hex.replaceAll(' ', ''), 'hex');
const hexOf = (data: Uint8Array): string => Buffer.from(data).toString('hex');

/** From the formats of the specification, github.com/msgpack/msgpack/blob/master/spec.md: the shortest of each value. */
const GOLDEN: readonly (readonly [unknown, string])[] = [
  [null, 'c0'],
  [false, 'c2'],
  [true, 'c3'],
  [0, '00'],
  [127, '7f'],
  [128, 'cc 80'],
  [255, 'cc ff'],
  [256, 'cd 0100'],
  [65_536, 'ce 00010000'],
  [2 ** 32 - 1, 'ce ffffffff'],
  [2 ** 32, 'd3 0000000100000000'],
  [Number.MAX_SAFE_INTEGER, 'd3 001fffffffffffff'],
  [-1, 'ff'],
  [-32, 'e0'],
  [-33, 'd0 df'],
  [-129, 'd1 ff7f'],
  [-32_769, 'd2 ffff7fff'],
  [-(2 ** 31) - 1, 'd3 ffffffff7fffffff'],
  [0.5, 'cb 3fe0000000000000'],
  [2 ** 60, 'cb 43b0000000000000'],
  [2n ** 53n + 1n, 'd3 0020000000000001'],
  [2n ** 63n - 1n, 'd3 7fffffffffffffff'],
  [-(2n ** 63n), 'd3 8000000000000000'],
  ['', 'a0'],
  ['é', 'a2 c3a9'],
  [[], '90'],
  [[1, 'a'], '92 01 a1 61'],
  [{}, '80'],
  [{ a: null }, '81 a1 61 c0'],
];

describe('MessagePack is written as the specification has it', () => {
  test.each(GOLDEN)('%o', (value, hex) => {
    expect(hexOf(encodeMessagePack(value))).toBe(hexOf(bytes(hex)));
  });

  test('maps, also with keys that objects inherit', () => {
    const map = new Map([
      ['__proto__', 1],
      ['constructor', 2],
      ['toJSON', 3],
    ]);
    expect(hexOf(encodeMessagePack(map))).toBe(
      hexOf(
        Buffer.concat([
          bytes('83 a9'),
          Buffer.from('__proto__'),
          bytes('01 ab'),
          Buffer.from('constructor'),
          bytes('02 a6'),
          Buffer.from('toJSON'),
          bytes('03'),
        ]),
      ),
    );
    const own = Object.assign(Object.create(null), { toJSON: 1, constructor: 2 });
    expect(decode(encodeMessagePack(own))).toEqual({ toJSON: 1, constructor: 2 });
  });

  test('integers of more than 64 bits as text, −0 as 0, fields that are undefined left out, nothing not finite', () => {
    expect(
      decode(encodeMessagePack({ a: 2n ** 63n, b: -0, c: undefined, d: [Number.NaN, Infinity] })),
    ).toEqual({
      a: '9223372036854775808',
      b: 0,
      d: [null, null],
    });
    expect(hexOf(encodeMessagePack(-0))).toBe('00');
  });

  test('40 fields, 70,000 values and a text of 70,000 bytes', () => {
    const value = {
      ...Object.fromEntries(Array.from({ length: 40 }, (_, i) => [`field_${i}`, i])),
      many: Array.from({ length: 70_000 }, (_, i) => i),
      text: 'x'.repeat(70_000),
    };
    expect(decode(encodeMessagePack(value))).toEqual(value);
  });
});

describe('MessagePack is read', () => {
  test.each(GOLDEN)('%o', (value, hex) => {
    expect(decodeMessagePack(bytes(hex))).toEqual(value);
  });

  test('in longer formats than needed, small 64-bit integers as numbers', () => {
    const longer: readonly (readonly [string, unknown])[] = [
      ['d3 0000000000000005', 5],
      ['cf 0000000000000005', 5],
      ['d3 fffffffffffffffb', -5],
      ['d3 0020000000000000', 9_007_199_254_740_992n],
      ['cf 7fffffffffffffff', 2n ** 63n - 1n],
      ['cf ffffffffffffffff', 2n ** 64n - 1n],
      ['ca 3f000000', 0.5],
      ['d9 01 61', 'a'],
      ['da 0001 61', 'a'],
      ['db 00000001 61', 'a'],
      ['dc 0001 c0', [null]],
      ['dd 00000001 c0', [null]],
      ['de 0001 a1 61 01', { a: 1 }],
      ['df 00000001 a1 61 01', { a: 1 }],
    ];
    for (const [hex, value] of longer) expect(decodeMessagePack(bytes(hex)), hex).toEqual(value);
  });

  test('the last of two equal keys counts, as in JSON', () => {
    expect(decodeMessagePack(bytes('82 a1 61 01 a1 61 02'))).toEqual({ a: 2 });
  });

  test('64 deep', () => {
    expect(decodeMessagePack(new Uint8Array([...new Array(63).fill(0x91), 0x90]))).toBeInstanceOf(Array);
  });
});

const BAD: readonly (readonly [string, Uint8Array, string])[] = [
  ['nothing', new Uint8Array(0), 'ends in the middle'],
  ['the byte that is never used', bytes('c1'), 'is not MessagePack'],
  ['a second value', bytes('c0 c0'), 'bytes behind its value'],
  ['a cut off integer', bytes('ce 0000'), 'ends in the middle'],
  ['a cut off double', bytes('cb 00'), 'ends in the middle'],
  ['a cut off text', bytes('a5 61'), 'ends in the middle'],
  ['a cut off length', bytes('da 00'), 'ends in the middle'],
  ['a cut off map', bytes('82 a1 61 01'), 'ends in the middle'],
  ['a map without a value', bytes('81 a1 61'), 'ends in the middle'],
  ['a cut off length of an array', bytes('dd 0000'), 'ends in the middle'],
  ['a text of 4 GB', bytes('db ffffffff 61'), 'ends in the middle'],
  ['an array of 2³² − 1 values', bytes('dd ffffffff c0'), 'ends in the middle'],
  ['a map of 2³² − 1 entries', bytes('df ffffffff c0'), 'ends in the middle'],
  ['text that is not UTF-8', bytes('a1 ff'), 'not UTF-8'],
  ['a lone surrogate', bytes('a3 eda080'), 'not UTF-8'],
  ['a key that is a number', bytes('81 01 01'), 'key that is not text'],
  ['a key that is an array', bytes('81 90 01'), 'key that is not text'],
  ['a key __proto__', Buffer.concat([bytes('81 a9'), Buffer.from('__proto__'), bytes('80')]), "'__proto__'"],
  ['binary data', bytes('c4 01 61'), 'binary data'],
  ['a time', bytes('d6 ff 00000000'), 'extension type'],
  ['a record of msgpackr', bytes('d4 72 40 91 a1 61 01'), 'extension type'],
  ['a reference of msgpackr', bytes('d6 70 00000001'), 'extension type'],
  ['an extension of 8 bits', bytes('c7 00 05'), 'extension type'],
  ['65 arrays in one another', new Uint8Array([...new Array(64).fill(0x91), 0x90]), '64 deep'],
  ['a million arrays in one another', new Uint8Array(1_000_000).fill(0x91), '64 deep'],
  [
    'more values than are allowed',
    Buffer.concat([
      bytes('dd'),
      Buffer.from(new Uint32Array([MESSAGE_PACK_VALUES_MAX]).buffer).reverse(),
      Buffer.alloc(MESSAGE_PACK_VALUES_MAX, 0x80),
    ]),
    'more than',
  ],
];

describe('MessagePack is refused, saying why, where it is', () => {
  test.each(BAD)('%s', (_what, body, words) => {
    let refused: unknown;
    try {
      decodeMessagePack(body);
    } catch (error) {
      refused = error;
    }
    expect(refused).toBeInstanceOf(ApiError);
    expect((refused as ApiError).code).toBe('invalid_msgpack');
    expect((refused as ApiError).message).toContain(words);
  });
});

const scalar = fc.oneof(
  fc.constant(null),
  fc.boolean(),
  fc.maxSafeInteger(),
  fc.double({ noNaN: true, noDefaultInfinity: true }).map((value) => value + 0),
  fc
    .bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n })
    .filter((value) => !Number.isSafeInteger(Number(value))),
  fc.string({ unit: 'binary' }).map((text) => text.replaceAll(/\p{Cs}/gu, '?')),
);
const anyValue = fc.letrec((tie) => ({
  value: fc.oneof(
    { depthSize: 'small' },
    scalar,
    fc.array(tie('value')),
    fc.dictionary(
      fc.string().filter((key) => key !== '__proto__'),
      tie('value'),
      { noNullPrototype: true },
    ),
  ),
})).value;

describe('another implementation', () => {
  test('reads what is written, and what it writes is read', () => {
    fc.assert(
      fc.property(anyValue, (value) => {
        const written = encodeMessagePack(value);
        expect(numbers(decode(written, { useBigInt64: true }))).toEqual(value);
        expect(decodeMessagePack(written)).toEqual(value);
        expect(decodeMessagePack(encode(value, { useBigInt64: true }))).toEqual(value);
      }),
    );
  });

  test('and random bytes are read as it reads them, or refused', () => {
    const interesting = fc.oneof(
      fc.constantFrom(0x81, 0x91, 0xa1, 0xc0, 0xd3, 0xcb, 0x61, 0x00),
      fc.nat(255),
    );
    fc.assert(
      fc.property(fc.array(interesting, { maxLength: 40 }), (raw) => {
        let value: unknown;
        try {
          value = decodeMessagePack(new Uint8Array(raw));
        } catch (error) {
          expect(error).toBeInstanceOf(ApiError);
          return;
        }
        expect(value).toEqual(numbers(decode(new Uint8Array(raw), { useBigInt64: true })));
      }),
      { numRuns: 3_000 },
    );
  });
});

/** It gives every 64-bit integer as a bigint. */
function numbers(value: unknown): unknown {
  if (typeof value === 'bigint') return Number.isSafeInteger(Number(value)) ? Number(value) : value;
  if (Array.isArray(value)) return value.map(numbers);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, own]) => [key, numbers(own)]));
}
