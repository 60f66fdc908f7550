import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { ByteReader, ByteWriter, CorruptBytesError } from '../bytes.ts';
import type { ColumnStorage } from '../tiles/row-block.ts';
import { readStoredValue, type StoredValue, skipStoredValue, writeStoredValue } from './stored-value.ts';
import { doubles, longs } from './testing/row-samples.ts';

function encode(value: StoredValue): Uint8Array {
  const w = new ByteWriter();
  writeStoredValue(value, w);
  return w.finish();
}

test('every value comes back as it was, read or skipped to its end', () => {
  const any = fc.oneof(
    doubles.map((value) => ({ value, storage: 'number' as ColumnStorage })),
    longs.map((value) => ({ value, storage: 'long' as ColumnStorage })),
    fc.string().map((value) => ({ value, storage: 'text' as ColumnStorage })),
  );
  fc.assert(
    fc.property(any, ({ value, storage }) => {
      const read = new ByteReader(encode(value));
      expect(readStoredValue(read, storage)).toBe(value);
      expect(read.done).toBe(true);
      const skipped = new ByteReader(encode(value));
      skipStoredValue(skipped, storage);
      expect(skipped.done).toBe(true);
    }),
    { numRuns: 500 },
  );
});

test('whole numbers and cents take few bytes', () => {
  expect(encode(42).length).toBe(2);
  expect(encode(19.99).length).toBe(3);
  expect(encode(0.123).length).toBe(9);
});

test('a value of another kind than the column is refused as corrupt', () => {
  expect(() => readStoredValue(new ByteReader(encode('x')), 'number')).toThrow(CorruptBytesError);
  expect(() => readStoredValue(new ByteReader(encode(1)), 'text')).toThrow(CorruptBytesError);
  expect(() => skipStoredValue(new ByteReader(encode(2n ** 60n)), 'number')).toThrow(CorruptBytesError);
});
