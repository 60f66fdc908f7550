import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ByteReader, ByteWriter, CorruptBytesError } from '../bytes.ts';
import { type EventId, integerEventId, positionEventId, textEventId } from '../event-id.ts';
import { hash53 } from '../hash64.ts';
import {
  allocateRows,
  type ColumnStorage,
  compareRows,
  decodeRows,
  encodeRows,
  lowerBound,
  mergeRows,
  type RowBlock,
  rowsWeightBytes,
  rowWeightBytes,
  setValue,
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
      setValue(rows, c, i, column[i]!);
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

test('a text that comes again takes a byte, and one that begins like another only what is its own', () => {
  const times = Array.from({ length: 100 }, (_, i) => i);
  const bytes = (texts: readonly string[]) => encoded(block(times, [[...texts]], ['text']), ['text']).length;
  const empty = bytes(times.map(() => ''));
  expect(bytes(times.map((i) => ['Germany', 'France', 'Poland'][i % 3]!))).toBe(
    empty - 1 + (1 + 6) + (1 + 7) + (1 + 6),
  );
  const ids = times.map((i) => `merchant-${1000 + i}`);
  // Of most, one digit; of every tenth, two; of the first, all.
  expect(bytes(ids)).toBe(empty - 1 + 100 + 90 + 2 * 9 + 13);
});

test('hashes of texts that are there take no bytes, and come back as they were', () => {
  const storages: ColumnStorage[] = ['text', 'text_hash', 'number', 'text'];
  const text = fc.option(
    fc.oneof(fc.string({ unit: 'binary' }), fc.string(), fc.constantFrom('', 'a', 'm1', 'm2')),
  );
  fc.assert(
    fc.property(fc.array(text, { minLength: 1, maxLength: 20 }), (texts) => {
      const times = texts.map((_, i) => i);
      const hashes = texts.map((of) => (of === null ? null : hash53(of)));
      const rows = block(times, [texts, hashes, times, texts], storages);
      const bytes = encoded(rows, storages);
      expect(bytes).toEqual(
        encoded(block(times, [texts, times, texts], ['text', 'number', 'text']), ['text', 'number', 'text']),
      );
      const r = new ByteReader(bytes);
      expect(decodeRows(r, storages)).toEqual(rows);
      expect(r.done).toBe(true);
    }),
  );
});

describe('ids come back exactly', () => {
  const LONG_MIN = -(2n ** 63n);
  const LONG_MAX = 2n ** 63n - 1n;

  const withIds = (ids: readonly EventId[]): RowBlock => {
    const rows = block(new Array(ids.length).fill(0), [], []);
    ids.forEach(({ hi, lo }, i) => {
      rows.idHi[i] = hi;
      rows.idLo[i] = lo;
    });
    return rows;
  };
  /** Bytes of all ids, what says how they are encoded included. */
  function idBytes(ids: readonly EventId[]): number {
    const rows = withIds(ids);
    const bytes = encoded(rows, []);
    const r = new ByteReader(bytes);
    const back = decodeRows(r, []);
    expect(r.done).toBe(true);
    expect(back.idHi).toEqual(rows.idHi);
    expect(back.idLo).toEqual(rows.idLo);
    const count = new ByteWriter();
    count.varint(ids.length);
    return bytes.length - count.length - ids.length;
  }
  const ofIntegers = (...values: (number | bigint)[]): number => idBytes(values.map(integerEventId));

  test('where they lie closely, in the bytes of their differences', () => {
    expect(ofIntegers(1_000_000_000)).toBe(1 + 5);
    expect(ofIntegers(1_000_000_000, 1_000_000_063, 1_000_000_000)).toBe(1 + 5 + 1 + 1);
    expect(ofIntegers(-1, 0, -1, 1)).toBe(1 + 5 + 3);
    expect(ofIntegers(2n ** 62n, 2n ** 62n + 8_000n, 2n ** 62n + 1n)).toBe(1 + 9 + 2 + 2);
    expect(idBytes(Array.from({ length: 100 }, (_, i) => positionEventId(4_095, 2 ** 52 - 100 + i)))).toBe(
      1 + 9 + 99,
    );
  });

  test('where they do not, in eight bytes each', () => {
    const hashed = Array.from({ length: 50 }, (_, i) => textEventId(`event ${i}`));
    expect(idBytes(hashed)).toBe(1 + 8 * 50);
    expect(ofIntegers(LONG_MIN, LONG_MAX, LONG_MIN)).toBe(1 + 24);
    expect(ofIntegers(0n, LONG_MAX)).toBe(1 + 16);
  });

  test('at the widest difference there is, and beyond', () => {
    for (const start of [LONG_MIN, -(2n ** 52n), -1n, 0n, 1n, 2n ** 32n - 1n, LONG_MAX - 2n ** 53n]) {
      for (const by of [2n ** 20n - 1n, 2n ** 20n, 2n ** 32n, 2n ** 51n, 2n ** 52n - 2n ** 32n, 2n ** 52n]) {
        for (const more of [-1n, 0n, 1n, 2n ** 32n - 1n, 2n ** 32n]) {
          // Close ones between them, so that differences pay.
          const ids = [start, start + 1n, start + by + more, start + by + more + 1n, start, start + 2n];
          ofIntegers(...ids, ...new Array(20).fill(start));
        }
      }
    }
  });

  test('any mixture', () => {
    const near = fc.bigInt({ min: -300n, max: 300n });
    const base = fc.constantFrom(0n, LONG_MIN + 300n, LONG_MAX - 300n, 2n ** 53n, -(2n ** 32n), 2n ** 52n);
    const close = fc.tuple(base, near).map(([from, by]) => integerEventId(from + by));
    const hashed = fc.string().map(textEventId);
    const any = fc.bigInt({ min: LONG_MIN, max: LONG_MAX }).map(integerEventId);
    const safe = fc.maxSafeInteger().map(integerEventId);
    const ids = [close, safe, any, hashed].map((id) => fc.array(id, { minLength: 1, maxLength: 12 }));
    fc.assert(
      fc.property(
        fc.oneof(...ids, fc.array(fc.oneof(close, safe, any, hashed), { minLength: 1 })),
        (some) => {
          expect(idBytes(some)).toBeLessThanOrEqual(1 + 8 * some.length);
        },
      ),
      { numRuns: 500 },
    );
  });

  test('differences that lead beyond 64 bits are refused', () => {
    for (const [first, ...differences] of [
      [2 ** 32 - 1 - 2 ** 31, 0, 1],
      [-(2 ** 31), -1],
      [2 ** 31 + 1],
      [2 ** 52],
      [-(2 ** 52)],
      [0, 2 ** 52, ...new Array(3_000).fill(2 ** 52)],
      [0, -(2 ** 52), ...new Array(3_000).fill(-(2 ** 52))],
    ] as const) {
      const w = new ByteWriter();
      w.varint(1 + differences.length);
      w.raw(new Uint8Array(1 + differences.length));
      w.u8(1);
      w.zigzag(first);
      w.u32(first === 2 ** 32 - 1 - 2 ** 31 ? 2 ** 32 - 1 : 0);
      for (const difference of differences) w.zigzag(difference);
      expect(() => decodeRows(new ByteReader(w.finish()), [])).toThrow(/beyond 64 bits/);
    }
    const unknown = encoded(withIds([{ hi: 0, lo: 0 }]), []);
    unknown[2] = 2;
    expect(() => decodeRows(new ByteReader(unknown), [])).toThrow(CorruptBytesError);
  });
});

describe('the weight of rows', () => {
  const storages: ColumnStorage[] = ['number', 'text'];

  test('is no less than their bytes, where ids are hashes and numbers as wide as they get', () => {
    const texts = ['', 'abc', 'äöü', '読む', '😀', 'é'.repeat(60)];
    texts.forEach((text) => {
      const rows = block([2 ** 28 - 1], [[1 / 3], [text]], storages);
      rows.idHi[0] = 1;
      // One byte each for the number of rows, the modes of ids and numbers, how many texts there are, and long texts' length.
      const others = Buffer.byteLength(text) < 15 ? 4 : 5;
      expect(rowWeightBytes(rows, storages, 0)).toBe(encoded(rows, storages).length - others);
    });
  });

  test('adds up', () => {
    fc.assert(
      fc.property(fc.array(fc.string({ unit: 'grapheme' })), fc.nat(), (texts, cut) => {
        const rows = block(
          texts.map((_, i) => i),
          [texts.map((_, i) => i), texts],
          storages,
        );
        const at = cut % (texts.length + 1);
        const parts = [sliceRows(rows, 0, at), sliceRows(rows, at, texts.length)];
        expect(rowsWeightBytes(rows, storages)).toBe(
          parts.reduce((sum, part) => sum + rowsWeightBytes(part, storages), 0),
        );
      }),
    );
  });
});

describe('damaged bytes', () => {
  const storages: ColumnStorage[] = ['number', 'long', 'text', 'text_hash'];
  const rows = block(
    [5, 5, 9],
    [
      [1.25, null, 3],
      [1, 2n ** 60n, null],
      ['ä', null, 'z'],
      [hash53('ä'), null, hash53('z')],
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
    text[text.length - 2] = 0xff;
    expect(() => decodeRows(new ByteReader(text), ['text'])).toThrow(CorruptBytesError);
  });

  test('a text that is not among those of its block is refused', () => {
    const text = encoded(block([1], [['ab']], ['text']), ['text']);
    text[text.length - 1] = 2;
    expect(() => decodeRows(new ByteReader(text), ['text'])).toThrow(/text 2 of 1/);
  });

  test.each([['number'], ['long'], ['text']] as const)(
    'an unknown encoding of a %s is refused',
    (storage) => {
      const value = storage === 'text' ? 'x' : 1;
      const one = encoded(block([1], [[value]], [storage]), [storage]);
      // varint n, varint time, mode and five bytes of the id: the column begins behind these eight.
      one[8] = 9;
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
