import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ByteReader, ByteWriter, CorruptBytesError } from './bytes.ts';

test('what is written is read back', () => {
  fc.assert(
    fc.property(
      fc.maxSafeNat(),
      fc.integer({ min: -(2 ** 52), max: 2 ** 52 }),
      fc.double(),
      fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
      fc.string({ unit: 'binary' }),
      fc.uint8Array(),
      (whole, signed, number, long, text, blob) => {
        const w = new ByteWriter(1);
        w.varint(whole);
        w.zigzag(signed);
        w.f64(number);
        w.i64(long);
        w.u32(whole % 2 ** 32);
        w.text(text);
        w.blob(blob);
        const r = new ByteReader(w.finish());
        expect(r.varint()).toBe(whole);
        expect(r.zigzag()).toBe(signed + 0);
        expect(r.f64()).toBe(number);
        expect(r.i64()).toBe(long);
        expect(r.u32()).toBe(whole % 2 ** 32);
        expect(r.text()).toBe(text);
        expect(r.blob()).toEqual(blob);
        expect(r.done).toBe(true);
        expect(r.remaining).toBe(0);
      },
    ),
  );
}, 60_000);

test.each(
  [2 ** 30, 2 ** 31, 2 ** 32, 2 ** 51, 2 ** 52]
    .flatMap((n) => [n - 1, n, 1 - n, -n])
    .filter((n) => Math.abs(n) <= 2 ** 52),
)('zigzag %d', (value) => {
  const w = new ByteWriter();
  w.zigzag(value);
  expect(new ByteReader(w.finish()).zigzag()).toBe(value);
});

test.each([
  0,
  127,
  128,
  2 ** 28 - 1,
  2 ** 28,
  2 ** 28 + 1,
  2 ** 32,
  2 ** 14 - 1,
  2 ** 14,
  2 ** 49 - 1,
  2 ** 49,
  2 ** 53 - 1,
])('varint %d', (value) => {
  const w = new ByteWriter();
  w.varint(value);
  expect(new ByteReader(w.finish()).varint()).toBe(value);
});

test('a written copy does not change when the writer is used again', () => {
  const w = new ByteWriter();
  w.text('first');
  const kept = w.finish();
  w.clear();
  w.text('other');
  expect(new ByteReader(kept).text()).toBe('first');
});

test('a reader of a part ends with the part', () => {
  const bytes = Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8, 9, 10);
  const r = new ByteReader(bytes.subarray(1), 1, 4);
  expect([r.u8(), r.u8(), r.u8()]).toEqual([3, 4, 5]);
  expect(() => r.u8()).toThrow(CorruptBytesError);
});

describe('damaged bytes are refused', () => {
  const read = (bytes: number[], how: (r: ByteReader) => unknown) => () =>
    how(new ByteReader(Uint8Array.from(bytes)));
  test('numbers cut off', () => {
    expect(read([], (r) => r.u8())).toThrow(CorruptBytesError);
    expect(read([1, 2, 3], (r) => r.u32())).toThrow(CorruptBytesError);
    expect(read([1, 2, 3, 4, 5, 6, 7], (r) => r.f64())).toThrow(CorruptBytesError);
    expect(read([1, 2, 3, 4, 5, 6, 7], (r) => r.i64())).toThrow(CorruptBytesError);
    expect(read([0x80, 0x80], (r) => r.varint())).toThrow(CorruptBytesError);
  });
  test('varints beyond 2⁵³', () => {
    expect(read(new Array(9).fill(0x80), (r) => r.varint())).toThrow(CorruptBytesError);
    expect(read([0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x11], (r) => r.varint())).toThrow(
      CorruptBytesError,
    );
    expect(read([255, 255, 255, 255, 255, 255, 255, 0x0f], (r) => r.varint())()).toBe(2 ** 53 - 1);
  });
  test('lengths beyond the end', () => {
    expect(read([5, 1, 2], (r) => r.blob())).toThrow(CorruptBytesError);
    expect(read([255, 255, 255, 255, 255, 255, 255, 0x0f], (r) => r.blob())).toThrow(CorruptBytesError);
  });
  test('text that is not UTF-8', () => {
    for (const bytes of [[0xff], [0xc3], [0xed, 0xa0, 0x80], [0xc0, 0x80]]) {
      expect(read([bytes.length, ...bytes], (r) => r.text())).toThrow(CorruptBytesError);
    }
  });
});
