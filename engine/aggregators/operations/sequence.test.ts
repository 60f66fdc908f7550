/** `max_gap`, `min_gap` and `changes`: what lies between two events. */
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ByteReader, ByteWriter, CorruptBytesError } from '../../bytes.ts';
import type { ColumnType } from '../partial-aggregate.ts';
import { partialRegistry } from '../partial-registry.ts';
import { answer, rowsOf } from '../testing/answer.ts';
import { inOrder, type Sample, samples, splitOutwards, type Value } from '../testing/row-samples.ts';

const types: readonly ColumnType[] = ['string', 'integer', 'long', 'double', 'boolean', 'timestamp'];
const row = (timeMs: number, idLo: number, value: Value): Sample => ({ timeMs, idHi: 0, idLo, value });

const cut = (type: ColumnType) =>
  samples(type, 20).chain((rows) =>
    fc.record({ rows: fc.constant(inOrder(rows)), parts: splitOutwards(rows) }),
  );

function gapsOf(rows: readonly Sample[]): number[] {
  return rows.slice(1).map(({ timeMs }, i) => timeMs - rows[i]!.timeMs);
}

describe('gaps', () => {
  test.each(types)('are those between consecutive events, with a column of %s between its values', (type) => {
    fc.assert(
      fc.property(cut(type), ({ rows, parts }) => {
        const dealt = parts.map((part) => part.rows);
        const withValue = rows.filter(({ value }) => value !== null);
        for (const [column, counted] of [
          [null, rows],
          ['x', withValue],
        ] as const) {
          const gaps = gapsOf(counted);
          const [largest, smallest] =
            gaps.length === 0 ? [null, null] : [Math.max(...gaps), Math.min(...gaps)];
          expect(answer('max_gap', type, dealt, [], column)).toBe(largest);
          expect(answer('min_gap', type, dealt, [], column)).toBe(smallest);
        }
      }),
    );
  });

  test('of fewer than two events are null', () => {
    expect(answer('max_gap', 'double', [rowsOf([1])], [], null)).toBeNull();
    expect(answer('min_gap', 'double', [rowsOf([1])], [], null)).toBeNull();
    expect(answer('max_gap', 'double', [rowsOf([1, null, null])])).toBeNull();
  });

  test('of events of one millisecond are 0, in one part and across the seam of two', () => {
    const rows = [row(5, 1, 1), row(5, 2, 1), row(5, 3, 1)];
    for (const parts of [[rows], rows.map((one) => [one]), rows.toReversed().map((one) => [one])]) {
      expect(answer('max_gap', 'integer', parts, [], null)).toBe(0);
      expect(answer('min_gap', 'integer', parts, [], null)).toBe(0);
    }
  });

  test('count the seam whether a part is put behind or before', () => {
    const [a, b, c] = [[row(0, 1, 1), row(10, 2, 1)], [row(110, 3, 1)], [row(115, 4, 1), row(119, 5, 1)]];
    for (const parts of [
      [a, b, c],
      [c, b, a],
      [b, a, c],
      [b, c, a],
    ]) {
      expect(answer('max_gap', 'integer', parts as Sample[][], [], null)).toBe(100);
      expect(answer('min_gap', 'integer', parts as Sample[][], [], null)).toBe(4);
    }
  });

  test('of a part within another are taken as they are, without a seam, and its ends do not count', () => {
    const outer = [row(0, 1, 1), row(100, 2, 1)];
    const inner = [row(40, 3, 1), row(42, 4, 1)];
    for (const parts of [
      [outer, inner],
      [inner, outer],
    ]) {
      expect(answer('max_gap', 'integer', parts, [], null)).toBe(100);
      expect(answer('min_gap', 'integer', parts, [], null)).toBe(2);
      // The outermost ends stay: the next gap is counted from them.
      expect(answer('max_gap', 'integer', [...parts, [row(205, 5, 1)]], [], null)).toBe(105);
    }
  });
});

describe('changes', () => {
  test.each(types)('of %s are counted between values, nulls skipped', (type) => {
    fc.assert(
      fc.property(cut(type), ({ rows, parts }) => {
        const values = rows.map(({ value }) => value).filter((value) => value !== null);
        const expected = values.filter((value, i) => i > 0 && value !== values[i - 1]).length;
        const dealt = parts.map((part) => part.rows);
        expect(answer('changes', type, dealt)).toBe(expected);
      }),
    );
  });

  test('of one value and of equal values are none', () => {
    expect(answer('changes', 'string', [rowsOf(['a'])])).toBe(0);
    expect(answer('changes', 'string', [rowsOf(['a', null, 'a']), [row(9000, 1, 'a')]])).toBe(0);
  });

  test('count across the seam of two parts, put behind or before', () => {
    const [a, b] = [[row(1, 1, 'x'), row(2, 2, 'y')], [row(3, 3, 'x')]];
    expect(answer('changes', 'string', [a, b])).toBe(2);
    expect(answer('changes', 'string', [b, a])).toBe(2);
    expect(answer('changes', 'string', [a, [row(3, 3, 'y')]])).toBe(1);
  });

  test('of one millisecond follow the ids, high half first', () => {
    const at = (idHi: number, idLo: number, value: string): Sample => ({ timeMs: 5, idHi, idLo, value });
    const rows = [at(2 ** 31, 0, 'a'), at(1, 2 ** 32 - 1, 'b'), at(1, 0, 'a')];
    for (const parts of [[rows], rows.map((one) => [one]), rows.toReversed().map((one) => [one])]) {
      expect(answer('changes', 'string', parts)).toBe(2);
    }
  });

  test('of long integers that a double would make equal are counted', () => {
    expect(answer('changes', 'long', [rowsOf([2n ** 62n, 2n ** 62n + 1n, 2n ** 62n + 1n])])).toBe(1);
  });

  test('of a part within another are added, without a seam, and its ends do not count', () => {
    const outer = [row(0, 1, 'a'), row(100, 2, 'b')];
    const inner = [row(40, 3, 'c'), row(42, 4, 'd')];
    for (const parts of [
      [outer, inner],
      [inner, outer],
    ]) {
      expect(answer('changes', 'string', parts)).toBe(2);
      expect(answer('changes', 'string', [...parts, [row(101, 5, 'b')]])).toBe(2);
      expect(answer('changes', 'string', [...parts, [row(101, 5, 'd')]])).toBe(3);
    }
  });

  test('of a damaged state are refused', () => {
    const args = { key: 'k', column: 0, storage: 'number', type: 'double', params: [] } as const;
    const partial = partialRegistry.get('changes')!(args);
    const w = new ByteWriter();
    w.u8(3);
    expect(() => partial.absorb(partial.create(), new ByteReader(w.finish()))).toThrow(CorruptBytesError);
  });
});
