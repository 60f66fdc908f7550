import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { ByteReader, ByteWriter, CorruptBytesError } from '../../bytes.ts';
import type { ColumnType } from '../partial-aggregate.ts';
import { partialRegistry } from '../partial-registry.ts';
import { answer, nonNull, nullIfNone, rowsOf } from '../testing/answer.ts';
import { samples, toBlock } from '../testing/row-samples.ts';

const types: readonly ColumnType[] = ['double', 'integer', 'long', 'timestamp'];

test.each(types)('of %s are the ends of the sorted values, numbers and bigints mixed', (type) => {
  fc.assert(
    fc.property(samples(type, 15), samples(type, 15), fc.integer({ min: 1, max: 40 }), (a, b, n) => {
      const values = nonNull([...a, ...b].map(({ value }) => value as number | bigint | null));
      const sorted = values.toSorted((x, y) => (x < y ? -1 : x > y ? 1 : 0));
      expect(answer('bottom_n', type, [a, b], [n])).toEqual(nullIfNone(sorted.slice(0, n)));
      expect(answer('top_n', type, [a, b], [n])).toEqual(nullIfNone(sorted.toReversed().slice(0, n)));
    }),
  );
});

test('repeated values count as often as they occur, in one part and in several', () => {
  const parts = [rowsOf([5, 1, 5, null]), rowsOf([5, 3])];
  expect(answer('top_n', 'integer', parts, [4])).toEqual([5, 5, 5, 3]);
  expect(answer('bottom_n', 'integer', parts, [3])).toEqual([1, 3, 5]);
});

test('long integers that a double would make equal are told apart', () => {
  const parts = [rowsOf([2n ** 62n + 1n, 2 ** 53 - 1]), rowsOf([2n ** 62n, 2n ** 53n, -(2n ** 63n)])];
  expect(answer('top_n', 'long', parts, [3])).toEqual([2n ** 62n + 1n, 2n ** 62n, 2n ** 53n]);
  expect(answer('bottom_n', 'long', parts, [2])).toEqual([-(2n ** 63n), 2 ** 53 - 1]);
});

test('a thousand of fifteen hundred values come out sorted, whatever their order was', () => {
  const scrambled = Array.from({ length: 1500 }, (_, i) => (i * 7919) % 1500);
  const parts = Array.from({ length: 15 }, (_, p) => rowsOf(scrambled.slice(p * 100, p * 100 + 100)));
  const ascending = Array.from({ length: 1000 }, (_, i) => i);
  expect(answer('bottom_n', 'integer', parts, [1000])).toEqual(ascending);
  expect(answer('top_n', 'integer', parts, [1000])).toEqual(ascending.map((i) => 1499 - i));
});

test('the answer is a list of its own: a later read does not change it', () => {
  const first = answer('top_n', 'integer', [rowsOf([1, 2])], [2]);
  answer('top_n', 'integer', [rowsOf([7, 8])], [2]);
  expect(first).toEqual([2, 1]);
});

test.each(['largest_n', 'smallest_n'])('a stored %s of more values than it keeps is refused', (kind) => {
  const [three, two] = [3, 2].map((n) =>
    partialRegistry.get(kind)!({ key: kind, column: 0, storage: 'number', type: 'double', params: [n] }),
  );
  const state = three!.create();
  three!.addRows(state, toBlock(rowsOf([1, 2, 3]), 'number'), 0, 3);
  const w = new ByteWriter();
  three!.encode(state, w);
  expect(() => two!.absorb(two!.create(), new ByteReader(w.finish()))).toThrow(CorruptBytesError);
});

test('text is refused where a partial is made', () => {
  const args = { key: 'k', column: 0, storage: 'text', type: 'string', params: [1] } as const;
  expect(() => partialRegistry.get('largest_n')!(args)).toThrow(/k needs a column of numbers/);
});
