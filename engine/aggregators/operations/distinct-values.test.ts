/** Operations on the different values of a column: `entropy`, `collect_set`, `first_distinct_n`, `last_distinct_n`. */
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ByteReader, ByteWriter, CorruptBytesError } from '../../bytes.ts';
import { hash53 } from '../../hash64.ts';
import type { ColumnType, FeatureValue } from '../partial-aggregate.ts';
import { HashCountsState } from '../partials/hash-counts.ts';
import { ValueSetState } from '../partials/value-set.ts';
import { answer, isTruncated, rowsOf } from '../testing/answer.ts';
import { type Sample, samples, type Value } from '../testing/row-samples.ts';

function bytes(write: (w: ByteWriter) => void): ByteReader {
  const w = new ByteWriter();
  write(w);
  return new ByteReader(w.finish());
}

describe('entropy', () => {
  const hashed = (texts: readonly (string | null)[]): Sample[] =>
    rowsOf(texts.map((text) => (text === null ? null : hash53(text))));
  const of = (parts: readonly (readonly (string | null)[])[], max = 1024): FeatureValue =>
    answer('entropy', 'string', parts.map(hashed), [max]);

  test('of one value is 0, of m equally frequent ones log₂ m', () => {
    expect(of([['a', 'a'], ['a']])).toBe(0);
    expect(Object.is(of([['a']]), 0)).toBe(true);
    expect(of([['a', 'b'], [null], ['b', 'a']])).toBe(1);
    expect(of([['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h']])).toBe(3);
    expect(of([['a', 'a', 'b', 'c']])).toBe(1.5);
  });

  test('is the sum over all values, the same bits in any order', () => {
    const texts = fc.array(fc.array(fc.nat({ max: 9 }).map(String), { maxLength: 20 }), { maxLength: 5 });
    fc.assert(
      fc.property(texts, (parts) => {
        const all = parts.flat();
        const counts = [...new Set(all)].map((text) => all.filter((other) => other === text).length);
        const right = counts.reduce((sum, c) => sum + (c / all.length) * Math.log2(all.length / c), 0);
        const found = of(parts);
        if (all.length === 0) expect(found).toBeNull();
        else expect(Math.abs((found as number) - right)).toBeLessThan(1e-14);
        expect(of(parts.toReversed())).toBe(found);
      }),
    );
  });

  test('is null and truncated as soon as there are more than max values', () => {
    const parts = [['a', 'b'], ['c']];
    expect(of(parts, 3)).not.toBeNull();
    expect(isTruncated('entropy', 'string', parts.map(hashed), [3])).toBe(false);
    expect(of(parts, 2)).toBeNull();
    expect(isTruncated('entropy', 'string', parts.map(hashed), [2])).toBe(true);
    // Known to the part alone, which no longer has the third.
    expect(of([['a', 'b', 'c']], 2)).toBeNull();
  });

  test('counts of the hashes kept are exact beyond the bound', () => {
    const values = Array.from({ length: 300 }, (_, i) => hash53(String(i % 60)));
    const state = new HashCountsState(8);
    for (const hash of values) state.add(hash, 1);
    expect(state.counts()).toEqual(new Array(8).fill(5));
  });

  test('a state that no rows give is refused as corrupt', () => {
    const refused: ((w: ByteWriter) => void)[] = [
      (w) => w.varint(2 * 3),
      (w) => w.varint(2 * 1 + 1),
      (w) => {
        w.varint(2 * 2);
        for (const part of [Number.MAX_SAFE_INTEGER, 1, 1, 1]) w.varint(part);
      },
    ];
    for (const write of refused) {
      const padded = bytes((w) => {
        write(w);
        w.raw(new Uint8Array(30));
      });
      expect(() => new HashCountsState(2).absorb(padded)).toThrow(CorruptBytesError);
    }
  });
});

describe('collect_set', () => {
  const types: readonly ColumnType[] = ['string', 'integer', 'long', 'double', 'timestamp'];

  test.each(types)(
    'of %s has every value once, ascending; beyond max those with the least hashes',
    (type) => {
      fc.assert(
        fc.property(samples(type, 20), fc.nat({ max: 20 }), fc.constantFrom(1, 3, 100), (rows, cut, max) => {
          const parts = [rows.slice(cut), rows.slice(0, cut)];
          const all = [...new Set(rows.map(({ value }) => value).filter((value) => value !== null))];
          const byHash = all.toSorted((a, b) => hash53(String(a)) - hash53(String(b))).slice(0, max);
          const right = byHash.sort((a, b) => (a < b ? -1 : a > b ? 1 : 0));
          expect(answer('collect_set', type, parts, [max])).toEqual(right.length === 0 ? null : right);
          expect(isTruncated('collect_set', type, parts, [max])).toBe(all.length > max);
        }),
      );
    },
  );

  test('of booleans has false before true, and hashes them as words', () => {
    expect(answer('collect_set', 'boolean', [rowsOf([1, 0, 1])], [2])).toEqual([false, true]);
    const kept = hash53('true') < hash53('false');
    expect(answer('collect_set', 'boolean', [rowsOf([1, 0])], [1])).toEqual([kept]);
  });

  test('a set of more values than are kept, or of fewer than a truncated one has, is refused as corrupt', () => {
    for (const head of [2 * 3, 2 * 1 + 1]) {
      const padded = bytes((w) => {
        w.varint(head);
        w.raw(new Uint8Array(30));
      });
      expect(() => new ValueSetState(2, 'integer').absorb(padded, 'number')).toThrow(CorruptBytesError);
    }
  });
});

describe('first_distinct_n and last_distinct_n', () => {
  const inOrder = (rows: readonly Sample[]): Value[] =>
    rows
      .toSorted((a, b) => a.timeMs - b.timeMs || a.idHi - b.idHi || a.idLo - b.idLo)
      .map(({ value }) => value)
      .filter((value) => value !== null);
  const few: fc.Arbitrary<Sample[]> = samples('integer', 25).map((rows) =>
    rows.map((row) => (typeof row.value === 'number' ? { ...row, value: Math.abs(row.value) % 6 } : row)),
  );

  test('are the values by their first and last occurrence in the total order', () => {
    fc.assert(
      fc.property(few, fc.nat({ max: 25 }), fc.constantFrom(1, 2, 4, 1000), (rows, cut, n) => {
        const parts = [rows.slice(cut), rows.slice(0, cut)];
        const values = inOrder(rows);
        const first = [...new Set(values)].slice(0, n);
        const last = [...new Set(values.toReversed())].slice(0, n).reverse();
        expect(answer('first_distinct_n', 'integer', parts, [n])).toEqual(first.length === 0 ? null : first);
        expect(answer('last_distinct_n', 'integer', parts, [n])).toEqual(last.length === 0 ? null : last);
      }),
      { numRuns: 400 },
    );
  });

  test('a value that comes again moves in the one and stays in the other', () => {
    const rows = rowsOf(['a', 'b', null, 'c', 'a']);
    expect(answer('first_distinct_n', 'string', [rows], [2])).toEqual(['a', 'b']);
    expect(answer('last_distinct_n', 'string', [rows], [2])).toEqual(['c', 'a']);
    expect(answer('last_distinct_n', 'boolean', [rowsOf([1, 0, 1])], [5])).toEqual([false, true]);
  });
});
