import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ByteReader, ByteWriter, CorruptBytesError } from '../../bytes.ts';
import type { ColumnType } from '../partial-aggregate.ts';
import { partialRegistry } from '../partial-registry.ts';
import { answer, nullIfNone, WINDOW } from '../testing/answer.ts';
import { inOrder, type Sample, samples, toBlock, type Value } from '../testing/row-samples.ts';

const row = (timeMs: number, idLo: number, by: Value, value: Value): Sample => ({
  timeMs,
  idHi: 0,
  idLo,
  value,
  by,
});

/** Values by `by`, equal ones in the order of events. */
function sortedBy(rows: readonly Sample[]): Value[] {
  return inOrder(rows)
    .filter(({ value, by }) => value !== null && by !== null)
    .sort((a, b) => (a.by! < b.by! ? -1 : a.by! > b.by! ? 1 : 0))
    .map(({ value }) => value);
}

const pairs: readonly (readonly [ColumnType, ColumnType])[] = [
  ['string', 'double'],
  ['long', 'integer'],
  ['integer', 'long'],
  ['double', 'timestamp'],
];

test.each(pairs)('values of %s by %s are the ends of the sorted events', (type, by) => {
  fc.assert(
    fc.property(
      samples(type, 30, by),
      fc.nat({ max: 30 }),
      fc.integer({ min: 1, max: 40 }),
      (rows, cut, n) => {
        const parts = [rows.slice(cut), rows.slice(0, cut)];
        const sorted = sortedBy(rows);
        expect(answer('min_by_n', type, parts, [n], 'x', WINDOW, by)).toEqual(nullIfNone(sorted.slice(0, n)));
        expect(answer('max_by_n', type, parts, [n], 'x', WINDOW, by)).toEqual(
          nullIfNone(sorted.toReversed().slice(0, n)),
        );
      },
    ),
  );
});

describe('of events with equal `by`', () => {
  const rows = [row(5, 2, 1, 'c'), row(5, 1, 1, 'b'), row(4, 9, 1, 'a')];

  test.each([[[rows]], [rows.map((one) => [one])], [rows.toReversed().map((one) => [one])]])(
    'the newer comes first for max and the older for min',
    (parts) => {
      expect(answer('max_by_n', 'string', parts, [3])).toEqual(['c', 'b', 'a']);
      expect(answer('max_by_n', 'string', parts, [1])).toEqual(['c']);
      expect(answer('min_by_n', 'string', parts, [3])).toEqual(['a', 'b', 'c']);
      expect(answer('min_by_n', 'string', parts, [1])).toEqual(['a']);
    },
  );
});

test('an event with a null in either column does not count', () => {
  const rows = [row(1, 1, null, 'no'), row(2, 2, 9, null), row(3, 3, 1, 'yes')];
  expect(answer('max_by_n', 'string', [rows], [5])).toEqual(['yes']);
  expect(answer('min_by_n', 'string', [rows], [5])).toEqual(['yes']);
  expect(answer('max_by_n', 'string', [rows.slice(0, 2)], [5])).toBeNull();
});

test('long integers that a double would make equal are told apart', () => {
  const rows = [row(9, 1, 2n ** 62n, 'less'), row(1, 2, 2n ** 62n + 1n, 'more'), row(5, 3, 7, 'number')];
  const parts = rows.map((one) => [one]);
  expect(answer('max_by_n', 'string', parts, [2], 'x', WINDOW, 'long')).toEqual(['more', 'less']);
  expect(answer('min_by_n', 'string', parts, [2], 'x', WINDOW, 'long')).toEqual(['number', 'less']);
});

test('of a boolean column are booleans', () => {
  expect(answer('max_by_n', 'boolean', [[row(1, 1, 1, 1), row(2, 2, 2, 0)]], [2])).toEqual([false, true]);
});

test('a thousand of fifteen hundred rows come out sorted, whatever their order was', () => {
  const rows = Array.from({ length: 1500 }, (_, i) =>
    row(i, i, (i * 7919) % 1500, `at ${(i * 7919) % 1500}`),
  );
  const parts = Array.from({ length: 15 }, (_, p) => rows.slice(p * 100, p * 100 + 100));
  const ascending = Array.from({ length: 1000 }, (_, i) => i);
  expect(answer('min_by_n', 'string', parts, [1000])).toEqual(ascending.map((i) => `at ${i}`));
  expect(answer('max_by_n', 'string', parts, [1000])).toEqual(ascending.map((i) => `at ${1499 - i}`));
});

test.each(['max_by_n', 'min_by_n'])(
  'a stored %s of more rows than it keeps is refused as corrupt',
  (kind) => {
    const orderBy = { column: 1, storage: 'number', type: 'double' } as const;
    const [three, two] = [3, 2].map((n) =>
      partialRegistry.get(kind)!({
        ...{ key: kind, column: 0, storage: 'number', type: 'double' },
        orderBy,
        params: [n],
      }),
    );
    const state = three!.create();
    three!.addRows(
      state,
      toBlock(
        [1, 2, 3].map((i) => row(i, i, i, i)),
        'number',
        'number',
      ),
      0,
      3,
    );
    const w = new ByteWriter();
    three!.encode(state, w);
    expect(() => two!.absorb(two!.create(), new ByteReader(w.finish()))).toThrow(CorruptBytesError);
  },
);

test('a partial without a column to order by, or with a text one, is refused', () => {
  const args = { key: 'k', column: 0, storage: 'number', type: 'double', params: [1] } as const;
  expect(() => partialRegistry.get('max_by_n')!(args)).toThrow(/k needs a column to order by/);
  const orderBy = { column: 1, storage: 'text', type: 'string' } as const;
  expect(() => partialRegistry.get('max_by_n')!({ ...args, orderBy })).toThrow(/k needs a column of numbers/);
});
