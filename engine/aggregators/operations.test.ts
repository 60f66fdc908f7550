/** Every operation against a plain computation over all values, through rows dealt out at random. */
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ByteReader, ByteWriter, CorruptBytesError } from '../bytes.ts';
import { hash53 } from '../hash64.ts';
import { operationRegistry } from './operation-registry.ts';
import type { ColumnType } from './partial-aggregate.ts';
import { partialRegistry } from './partial-registry.ts';
import { answer, nonNull, nullIfNone, rowsOf, WINDOW } from './testing/answer.ts';
import { exactSpreadOf, exactSumOf, fromUnits, isNear } from './testing/exact-reference.ts';
import { inOrder, longs, type Sample, samples, toBlock } from './testing/row-samples.ts';

describe.each([...operationRegistry.values()])('$name', (operation) => {
  const fixed = operation.params.map(({ default: value, min }) => value ?? min);
  const params = operation.list === undefined ? fixed : [...fixed, operation.list.min];
  const columns = operation.columnOptional ? [null, 'x'] : ['x'];

  test('answers its declared empty value for no rows', () => {
    for (const type of operation.accepts!) {
      for (const column of columns) {
        expect(answer(operation.name, type, [[]], params, column)).toBe(operation.empty);
      }
    }
  });

  test('answers its declared empty value where the column has only nulls', () => {
    for (const type of operation.accepts!) {
      expect(answer(operation.name, type, [rowsOf([null, null])], params)).toBe(operation.empty);
    }
  });

  test('has parameters whose default lies within their bounds', () => {
    for (const { min, max, default: value } of operation.params) {
      expect(min).toBeLessThanOrEqual(value ?? min);
      expect(value ?? max).toBeLessThanOrEqual(max);
    }
  });

  test('names a result type', () => {
    for (const type of operation.accepts!) expect(operation.resultType(type)).toMatch(/^[a-z]+(\[\])?$/);
  });
});

test('the names of the operations are those of the catalogue', () => {
  expect([...operationRegistry.keys()].sort()).toEqual([
    'all',
    'any',
    'approx_distinct_count',
    'bottom_n',
    'changes',
    'collect_set',
    'count',
    'distinct_count',
    'entropy',
    'exp_decay_count',
    'exp_decay_mean',
    'exp_decay_sum',
    'first',
    'first_distinct_n',
    'first_n',
    'histogram',
    'kurtosis',
    'last',
    'last_distinct_n',
    'last_n',
    'max',
    'max_by_n',
    'max_gap',
    'mean',
    'median',
    'min',
    'min_by_n',
    'min_gap',
    'percentile',
    'percentiles',
    'rate',
    'skew',
    'stddev_pop',
    'stddev_samp',
    'sum',
    'time_since_first',
    'time_since_last',
    'top_k_frequent',
    'top_n',
    'var_pop',
    'var_samp',
  ]);
});

test('count counts rows without a column and non-null values with one', () => {
  fc.assert(
    fc.property(samples('double', 20), samples('double', 20), (a, b) => {
      const rows = [...a, ...b];
      expect(answer('count', 'double', [a, b], [], null)).toBe(rows.length);
      expect(answer('count', 'double', [a, b])).toBe(nonNull(rows.map(({ value }) => value)).length);
    }),
  );
});

test('sum and mean of doubles come from the nearest double to the exact sum', () => {
  fc.assert(
    fc.property(samples('double', 20), samples('double', 20), (a, b) => {
      const values = nonNull([...a, ...b].map(({ value }) => value as number | null));
      const sum = fromUnits(exactSumOf(values));
      expect(answer('sum', 'double', [a, b])).toBe(sum);
      expect(answer('mean', 'double', [b, a])).toBe(values.length === 0 ? null : sum / values.length);
    }),
  );
});

test('sums of values of every magnitude in one block lose nothing', () => {
  const spans = [1e140, 1e120, 1e100, 1e80, 1e60, 1e40, 1e20, 1, 1e-20, 1e-40, 1e-60];
  const values = [...spans, ...spans.slice(0, -1).map((span) => -span), 3 * 1e-60];
  expect(answer('sum', 'double', [rowsOf(values)])).toBe(fromUnits(exactSumOf([1e-60, 3 * 1e-60])));
  const ladder = spans.map((span) => span / 3);
  const found = answer('var_pop', 'double', [rowsOf(ladder)]) as number;
  expect(isNear(found, exactSpreadOf(ladder), BigInt(ladder.length ** 2), 1e-15)).toBe(true);
});

test('sum of integers and longs is the exact integer', () => {
  expect(answer('sum', 'integer', [rowsOf([2 ** 53 - 1, 2]), rowsOf([null])])).toBe(2n ** 53n + 1n);
  expect(answer('sum', 'long', [rowsOf([2n ** 63n - 1n, 1]), rowsOf([-(2n ** 63n)])])).toBe(0);
  expect(answer('sum', 'long', [rowsOf([2n ** 62n + 1n]), rowsOf([7])])).toBe(2n ** 62n + 8n);
});

test('min and max are the ends of the exact order, numbers and bigints mixed', () => {
  for (const type of ['double', 'integer', 'long', 'timestamp'] as const) {
    fc.assert(
      fc.property(samples(type, 10), samples(type, 10), (a, b) => {
        const values = nonNull([...a, ...b].map(({ value }) => value as number | bigint | null));
        const sorted = values.toSorted((x, y) => (x < y ? -1 : x > y ? 1 : 0));
        expect(answer('min', type, [a, b])).toBe(sorted[0] ?? null);
        expect(answer('max', type, [a, b])).toBe(sorted.at(-1) ?? null);
      }),
    );
  }
});

describe('variance and standard deviation', () => {
  const spans = [1, 1e-130, 1e-60, 1e16, 1e70, 1e140];
  const values = fc.oneof(
    fc.integer({ min: -1000, max: 1000 }),
    fc.constantFrom(1e16, 1e16 + 2, -1e16, 1, 0.1, 5e-324, ...spans),
    ...spans.flatMap((span) => [
      fc.double({ min: span / 1e3, max: span, noNaN: true }),
      fc.double({ min: -span, max: -span / 1e3, noNaN: true }),
    ]),
  );
  const variances = [
    ['var_pop', 'stddev_pop', 0],
    ['var_samp', 'stddev_samp', 1],
  ] as const;

  function expectRight(type: ColumnType, parts: readonly (readonly (number | bigint)[])[]): void {
    const all = parts.flat();
    const samplesOf = parts.map(rowsOf);
    for (const [variance, deviation, missing] of variances) {
      const found = answer(variance, type, samplesOf) as number | null;
      if (all.length <= missing) {
        expect(found).toBeNull();
        continue;
      }
      const denominator = BigInt(all.length * (all.length - missing));
      expect(isNear(found!, exactSpreadOf(all), denominator, 1e-14)).toBe(true);
      expect(answer(deviation, type, samplesOf)).toBe(Math.sqrt(found!));
      expect(answer(variance, type, samplesOf.toReversed())).toBe(found);
      expect(answer(variance, type, [rowsOf(all.toReversed())])).toBe(found);
    }
  }

  test('of doubles are within 1e-14 of the exact value, the same bits in any order', () => {
    fc.assert(
      fc.property(fc.array(fc.array(values, { maxLength: 6 }), { maxLength: 4 }), (parts) => {
        expectRight('double', parts);
      }),
      { numRuns: 400 },
    );
  });

  test('of values that agree in all but their last bits are as exact', () => {
    const close = fc.integer({ min: 0, max: 4 }).map((ulps) => 1e16 + 2 * ulps);
    fc.assert(
      fc.property(fc.array(close, { maxLength: 30 }), (near) => expectRight('double', [near, [1e16]])),
    );
  });

  test('of longs are within 1e-14 of the exact value', () => {
    fc.assert(
      fc.property(fc.array(fc.array(longs, { maxLength: 6 }), { maxLength: 4 }), (parts) => {
        expectRight('long', parts);
      }),
      { numRuns: 200 },
    );
  });

  test('of 1e16 next to 1 do not cancel', () => {
    expect(answer('var_pop', 'double', [rowsOf([1e16, 1e16 + 2])])).toBe(1);
    expect(answer('var_samp', 'double', [rowsOf([1e16, 1e16 + 2])])).toBe(2);
    // ((1e16 − 1) / 2)² = 24999999999999995000000000000000.25
    expect(answer('var_pop', 'double', [rowsOf([1e16, 1])])).toBe(Number(24999999999999995n * 10n ** 15n));
  });

  test('of equal values are 0, also where their squares underflow', () => {
    for (const value of [0.1, 1e140, -1e-160, 5e-324]) {
      expect(answer('stddev_pop', 'double', [rowsOf([value, value]), rowsOf([value])])).toBe(0);
    }
  });

  test('is 0, not negative, where rounding of squares that underflow would make it so', () => {
    const values = [3.581129407975823e-151, 3.5811294079758236e-151];
    expect(answer('var_pop', 'double', [rowsOf(values)])).toBe(0);
    expect(answer('stddev_samp', 'double', [rowsOf(values)])).toBe(0);
  });

  test('of values too small to square are not negative and off by less than 1e-320 or 1e-14', () => {
    fc.assert(
      fc.property(
        fc.array(fc.double({ min: -1e-145, max: 1e-145, noNaN: true }), { minLength: 1 }),
        (tiny) => {
          const found = answer('var_pop', 'double', [rowsOf(tiny.map((value) => value + 0))]) as number;
          const squared = BigInt(tiny.length) ** 2n;
          const exact = fromUnits((exactSpreadOf(tiny) / squared) >> 1074n);
          expect(found).toBeGreaterThanOrEqual(0);
          expect(Math.abs(found - exact)).toBeLessThan(Math.max(1e-320, 1e-14 * exact));
        },
      ),
    );
  });
});

describe('first and last', () => {
  const types: readonly ColumnType[] = ['string', 'integer', 'long', 'double', 'timestamp'];

  test.each(types)('of %s follow the total order, skip nulls and list the oldest first', (type) => {
    fc.assert(
      fc.property(samples(type, 20), fc.nat({ max: 20 }), (rows, cut) => {
        const parts = [rows.slice(cut), rows.slice(0, cut)];
        const ordered = nonNull(inOrder(rows).map(({ value }) => value));
        expect(answer('first', type, parts)).toBe(ordered[0] ?? null);
        expect(answer('last', type, parts)).toBe(ordered.at(-1) ?? null);
        expect(answer('first_n', type, parts, [3])).toEqual(nullIfNone(ordered.slice(0, 3)));
        expect(answer('last_n', type, parts, [3])).toEqual(nullIfNone(ordered.slice(-3)));
      }),
    );
  });

  test('equal times are decided by the id, high half first', () => {
    const at = (idHi: number, idLo: number, value: string): Sample => ({ timeMs: 5, idHi, idLo, value });
    const rows = [at(2 ** 31, 0, 'c'), at(1, 2 ** 32 - 1, 'b'), at(1, 0, 'a')];
    expect(answer('first_n', 'string', [rows], [3])).toEqual(['a', 'b', 'c']);
    expect(answer('last', 'string', [[rows[0]!], [rows[1]!], [rows[2]!]])).toBe('c');
  });

  test('of a boolean column are booleans', () => {
    expect(answer('first', 'boolean', [rowsOf([1, 0])])).toBe(true);
    expect(answer('last_n', 'boolean', [rowsOf([1, null, 0])], [5])).toEqual([true, false]);
  });

  test('a thousand rows from many parts in falling order come out in order', () => {
    const rows = rowsOf(Array.from({ length: 1500 }, (_, i) => i));
    const parts = Array.from({ length: 15 }, (_, p) => rows.slice(1400 - p * 100, 1500 - p * 100));
    expect(answer('first_n', 'integer', parts, [1000])).toEqual(Array.from({ length: 1000 }, (_, i) => i));
    expect(answer('last_n', 'integer', parts, [1000])).toEqual(
      Array.from({ length: 1000 }, (_, i) => i + 500),
    );
  });
});

test.each(['first_n', 'last_n'])('a stored %s of more rows than it keeps is refused as corrupt', (kind) => {
  const [three, two] = [3, 2].map((k) =>
    partialRegistry.get(kind)!({ key: kind, column: 0, storage: 'number', type: 'double', params: [k] }),
  );
  const state = three!.create();
  three!.addRows(state, toBlock(rowsOf([1, 2, 3]), 'number'), 0, 3);
  const w = new ByteWriter();
  three!.encode(state, w);
  expect(() => two!.absorb(two!.create(), new ByteReader(w.finish()))).toThrow(CorruptBytesError);
});

test('distinct_count does not count a value twice, in one part or in several', () => {
  const hashes = ['a', 'b', 'a', null, 'c'].map((text) => (text === null ? null : hash53(text)));
  const parts = [rowsOf(hashes), rowsOf([hash53('c'), hash53('d')])];
  expect(answer('distinct_count', 'string', parts, [1024])).toBe(4);
});

test('any and all of booleans are what some and every say of the values that are not null', () => {
  fc.assert(
    fc.property(samples('boolean', 8), samples('boolean', 8), (a, b) => {
      const values = nonNull([...a, ...b].map(({ value }) => value));
      expect(answer('any', 'boolean', [a, b])).toBe(values.some((value) => value === 1));
      expect(answer('all', 'boolean', [a, b])).toBe(values.every((value) => value === 1));
    }),
  );
});

describe('rate', () => {
  const rows = rowsOf([1, null, 3]);

  test('is events per second of the window counted, with a column those that have a value', () => {
    const window = { atMs: 90_000, fromMs: 3_000, toMs: 10_000 };
    expect(answer('rate', 'double', [rows], [], null, window)).toBe(3 / 7);
    expect(answer('rate', 'double', [rows], [], 'x', window)).toBe(2 / 7);
    expect(answer('rate', 'double', [rows], [], null, WINDOW)).toBe(0.03);
  });

  test('is not to be had of a window without an old edge', () => {
    expect(() => answer('rate', 'double', [rows], [], null, { ...WINDOW, fromMs: null })).toThrow(TypeError);
  });
});

test('time_since_first and time_since_last are the age of the oldest and newest event, or value', () => {
  const atMs = 2 ** 45;
  const window = { atMs, fromMs: null, toMs: atMs - 1 };
  for (const type of ['double', 'long', 'string'] as const) {
    fc.assert(
      fc.property(samples(type, 8), samples(type, 8), (a, b) => {
        const rows = [...a, ...b];
        for (const [column, counted] of [
          [null, rows],
          ['x', rows.filter(({ value }) => value !== null)],
        ] as const) {
          const ages = counted.map(({ timeMs }) => atMs - timeMs);
          const none = ages.length === 0;
          const ofOldest = answer('time_since_first', type, [a, b], [], column, window);
          const ofNewest = answer('time_since_last', type, [b, a], [], column, window);
          expect(ofOldest).toBe(none ? null : Math.max(...ages));
          expect(ofNewest).toBe(none ? null : Math.min(...ages));
        }
      }),
    );
  }
});
