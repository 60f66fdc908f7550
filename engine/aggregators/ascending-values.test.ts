import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { ByteReader, ByteWriter, CorruptBytesError } from '../bytes.ts';
import type { ColumnStorage } from '../tiles/row-block.ts';
import { readAscendingValues, writeAscendingValues } from './ascending-values.ts';
import { compareStoredValues, type StoredValue } from './stored-value.ts';
import { doubles, longs } from './testing/row-samples.ts';

function encode(values: readonly StoredValue[]): Uint8Array {
  const w = new ByteWriter();
  writeAscendingValues(values, w);
  return w.finish();
}

const text = fc.oneof(
  fc.string({ unit: 'grapheme' }),
  fc.string({ unit: fc.constantFrom('a', 'b', 'é', '😀'), maxLength: 6 }),
  fc.string({ minLength: 10, maxLength: 400, unit: fc.constantFrom('x', 'y') }),
);
const cents = fc.integer({ min: -500, max: 500 }).map((amount) => amount / 100);

test.each<[ColumnStorage, fc.Arbitrary<StoredValue>]>([
  ['number', fc.oneof(doubles, cents, fc.constantFrom(2 ** 52, -(2 ** 52), 2 ** 52 / 100))],
  ['long', fc.oneof(longs, fc.integer())],
  ['text', text],
])('values of a %s column come back as they were', (storage, value) => {
  fc.assert(
    fc.property(fc.uniqueArray(value, { maxLength: 60 }), (given) => {
      const values = given.toSorted(compareStoredValues);
      const r = new ByteReader(encode(values));
      expect(readAscendingValues(values.length, r, storage)).toEqual(values);
      expect(r.done).toBe(true);
    }),
    { numRuns: 500 },
  );
});

test('what follows another takes less', () => {
  expect(encode(['m100123', 'm100124', 'm1007']).length).toBe(8 + 2 + 2);
  expect(encode([1000, 1001, 1002.5, 1003]).length).toBe(3 + 2 + 4 + 2);
});

test('damaged bytes are refused', () => {
  const read = (bytes: readonly number[], storage: ColumnStorage, size = 1) =>
    readAscendingValues(size, new ByteReader(Uint8Array.from(bytes)), storage);
  // More of the text before than there is, more than follows, no UTF-8, half of a character shared.
  for (const bytes of [[0x10], [0x02, 97], [0x01, 0xff], [0x01, 97, 0x21, 98]])
    expect(() => read(bytes, 'text', bytes.length > 3 ? 2 : 1)).toThrow(CorruptBytesError);
  expect(() => read([4, 1, 97], 'number')).toThrow(/tagged 4/);
  expect(() => read([3, 0, 0, 0, 0, 0, 0, 0, 0], 'number')).toThrow(/tagged 3/);
  expect(() => read([0, 2], 'number', 3)).toThrow(/3 values in 2 bytes/);
  const most = encode([2 ** 52]);
  expect(() => read([...most, 0, 1], 'number', 2)).toThrow(/a value of/);
});
