import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ByteReader, ByteWriter, CorruptBytesError } from '../bytes.ts';
import {
  allocateRows,
  type ColumnStorage,
  compareRows,
  decodeRows,
  encodeRows,
  lowerBound,
  mergeRows,
  type RowBlock,
  sliceRows,
  sortRows,
} from './row-block.ts';

type Value = number | bigint | string | null;

function block(
  times: readonly number[],
  columns: readonly (readonly Value[])[],
  storages: ColumnStorage[],
): RowBlock {
  const rows = allocateRows(times.length, storages);
  times.forEach((timeMs, i) => {
    rows.times[i] = timeMs;
    rows.idHi[i] = 0x8000_0000;
    rows.idLo[i] = i;
    columns.forEach((column, c) => {
      const value = column[i]!;
      rows.columns[c]![i] = value === null && storages[c] === 'number' ? Number.NaN : value;
    });
  });
  return rows;
}

function encoded(rows: RowBlock, storages: readonly ColumnStorage[]): Uint8Array {
  const w = new ByteWriter(4);
  encodeRows(rows, storages, w);
  return w.finish();
}

/** The column after a round trip, and the bytes all rows took. */
function roundTrip(values: readonly Value[], storage: ColumnStorage): { values: Value[]; bytes: number } {
  const rows = block(
    values.map((_, i) => i),
    [values],
    [storage],
  );
  const bytes = encoded(rows, [storage]);
  const r = new ByteReader(bytes);
  const back = decodeRows(r, [storage]);
  expect(r.done).toBe(true);
  expect(back.times).toEqual(rows.times);
  expect(back.idLo).toEqual(rows.idLo);
  return {
    values: [...(back.columns[0] as Iterable<Value>)].map((v) => (Number.isNaN(v) ? null : v)),
    bytes: bytes.length,
  };
}

describe('a column of numbers comes back bit for bit', () => {
  const safe = 2 ** 53 - 1;
  test.each([
    ['integers', [0, 1, -1, null, 2 ** 51, -(2 ** 51), null]],
    ['integers beyond the varint', [2 ** 51 + 1, -(2 ** 51) - 1, safe, -safe, null]],
    ['hundredths', [0.01, -0.01, 57.16, 1066.8, null, 0.07, 1.005 - 0.005]],
    ['thousandths', [0.001, -2.345, 80995.123, null]],
    ['what is no decimal fraction', [0.1 + 0.2, 1 / 3, null]],
    ['extremes', [1e140, -1e140, 5e-324, -5e-324, 1e16, 1, null]],
    ['only nulls', [null, null]],
    ['none', []],
  ])('%s', (_, values) => {
    expect(roundTrip(values, 'number').values).toEqual(values);
  });

  test('any mixture', () => {
    const cents = fc.integer({ min: -1e9, max: 1e9 }).map((n) => n / 100);
    const mills = fc.integer({ min: -1e9, max: 1e9 }).map((n) => n / 1000);
    const any = fc.double({ min: -1e140, max: 1e140, noNaN: true }).map((v) => v + 0);
    const column = (value: fc.Arbitrary<number>): fc.Arbitrary<(number | null)[]> =>
      fc.array(fc.option(value, { freq: 5 }), { maxLength: 12 });
    const wholes = fc.maxSafeInteger().map((v) => v + 0);
    fc.assert(
      fc.property(fc.oneof(column(cents), column(mills), column(any), column(wholes)), (values) => {
        expect(roundTrip(values, 'number').values).toEqual(values);
      }),
      { numRuns: 500 },
    );
  });

  test('cents and small integers take a few bytes, not eight', () => {
    const rows = 100;
    const overhead = roundTrip(new Array(rows).fill(null), 'number').bytes;
    const cents = Array.from({ length: rows }, (_, i) => i + 0.25);
    expect(roundTrip(cents, 'number').bytes - overhead).toBeLessThanOrEqual(2 * rows);
    expect(roundTrip(new Array(rows).fill(1 / 3), 'number').bytes - overhead).toBe(7 * rows);
  });
});

test('a column of longs comes back exactly, as a number where it is safe', () => {
  const values = [0, -1, 2 ** 51, -(2 ** 51), 2 ** 53 - 1, null, 2n ** 53n, -(2n ** 63n), 2n ** 63n - 1n];
  expect(roundTrip(values, 'long').values).toEqual(values);
});

test('a column of texts comes back exactly', () => {
  const values = ['', 'a', null, '\u0000', '\ufeffbom', '読む', '😀', ' blank ', 'x'.repeat(1000)];
  expect(roundTrip(values, 'text').values).toEqual(values);
});

describe('damaged bytes', () => {
  const storages: ColumnStorage[] = ['number', 'long', 'text'];
  const rows = block(
    [5, 5, 9],
    [
      [1.25, null, 3],
      [1, 2n ** 60n, null],
      ['ä', null, 'z'],
    ],
    storages,
  );
  const bytes = encoded(rows, storages);

  test('cut off anywhere are refused', () => {
    for (let end = 0; end < bytes.length; end++) {
      expect(() => decodeRows(new ByteReader(bytes, 0, end), storages)).toThrow(CorruptBytesError);
    }
  });

  test('changed anywhere are refused or read as other rows, and nothing else happens', () => {
    for (let at = 0; at < bytes.length; at++) {
      for (const value of [0, 1, 2, 3, 4, 0x7f, 0x80, 0xc3, 0xff]) {
        const changed = bytes.slice();
        changed[at] = value;
        try {
          decodeRows(new ByteReader(changed), storages);
        } catch (error) {
          expect(error).toBeInstanceOf(CorruptBytesError);
        }
      }
    }
  });

  test('a count that the bytes cannot hold allocates nothing', () => {
    for (const count of [4, 1_000, 2 ** 31, 2 ** 32 + 1, 2 ** 40, Number.MAX_SAFE_INTEGER]) {
      const w = new ByteWriter();
      w.varint(count);
      w.raw(new Uint8Array(26));
      const before = process.memoryUsage().arrayBuffers;
      expect(() => decodeRows(new ByteReader(w.finish()), storages)).toThrow(CorruptBytesError);
      expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(10_000_000);
    }
  });

  test('text that is not UTF-8 is refused', () => {
    const text = encoded(block([1], [['ab']], ['text']), ['text']);
    text[text.length - 1] = 0xff;
    expect(() => decodeRows(new ByteReader(text), ['text'])).toThrow(CorruptBytesError);
  });

  test.each([['number'], ['long'], ['text']] as const)(
    'an unknown encoding of a %s is refused',
    (storage) => {
      const value = storage === 'text' ? 'x' : 1;
      const one = encoded(block([1], [[value]], [storage]), [storage]);
      // varint n, varint time, id: the column begins behind these ten bytes.
      one[10] = 9;
      expect(() => decodeRows(new ByteReader(one), [storage])).toThrow(CorruptBytesError);
    },
  );
});

describe('order', () => {
  const storages: ColumnStorage[] = ['number'];
  const arbitraryRows = fc
    .array(
      fc.record({ time: fc.integer({ min: 0, max: 5 }), hi: fc.integer({ min: 0, max: 2 }), lo: fc.nat(2) }),
      {
        maxLength: 20,
      },
    )
    .map((items) => {
      const rows = allocateRows(items.length, storages);
      items.forEach(({ time, hi, lo }, i) => {
        rows.times[i] = time;
        rows.idHi[i] = hi * 0x7fff_ffff;
        rows.idLo[i] = lo * 0x7fff_ffff;
        rows.columns[0]![i] = time * 100 + hi * 10 + lo;
      });
      return rows;
    });
  const isSorted = (rows: RowBlock): boolean => {
    for (let i = 1; i < rows.length; i++) if (compareRows(rows, i - 1, rows, i) > 0) return false;
    return true;
  };
  const values = (rows: RowBlock): number[] => [...(rows.columns[0] as Float64Array)];

  test('sorting and merging keep every row with its values', () => {
    fc.assert(
      fc.property(arbitraryRows, arbitraryRows, (a, b) => {
        const merged = mergeRows(sortRows(a, storages), sortRows(b, storages), storages);
        expect(isSorted(merged)).toBe(true);
        expect(values(merged)).toEqual([...values(a), ...values(b)].sort((x, y) => x - y));
      }),
    );
  });

  test('lowerBound is the first row at or after a time', () => {
    fc.assert(
      fc.property(arbitraryRows, fc.integer({ min: -1, max: 7 }), (unsorted, time) => {
        const rows = sortRows(unsorted, storages);
        const index = [...rows.times].findIndex((t) => t >= time);
        expect(lowerBound(rows, time)).toBe(index < 0 ? rows.length : index);
        expect(values(sliceRows(rows, 0, lowerBound(rows, time)))).toEqual(
          values(rows).slice(0, lowerBound(rows, time)),
        );
      }),
    );
  });
});
