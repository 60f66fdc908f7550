import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ByteReader, ByteWriter, CorruptBytesError } from '../bytes.ts';
import { Expansion } from './expansion.ts';
import { exactSumOf, fromUnits, toUnits } from './testing/exact-reference.ts';
import { doubles, longs } from './testing/row-samples.ts';

function expansionOf(values: readonly (number | bigint)[]): Expansion {
  const sum = new Expansion();
  for (const value of values) {
    if (typeof value === 'bigint') sum.addLong(value);
    else sum.add(value);
  }
  return sum;
}

function bytesOf(sum: Expansion): Uint8Array {
  const w = new ByteWriter();
  sum.encode(w);
  return w.finish();
}

describe('the reference', () => {
  test('gives every double back', () => {
    fc.assert(
      fc.property(fc.double({ noNaN: true, noDefaultInfinity: true }), (value) => {
        expect(fromUnits(toUnits(value))).toBe(value + 0);
      }),
    );
  });

  test('rounds ties to even and anything beyond a tie away from it', () => {
    const tie = toUnits(2 ** 53) + toUnits(1);
    expect(fromUnits(tie)).toBe(2 ** 53);
    expect(fromUnits(tie + 1n)).toBe(2 ** 53 + 2);
    expect(fromUnits(tie + toUnits(2))).toBe(2 ** 53 + 4);
  });
});

describe('a sum of doubles', () => {
  test('rounds to the double nearest to the exact sum', () => {
    fc.assert(
      fc.property(fc.array(doubles, { maxLength: 40 }), (values) => {
        expect(expansionOf(values).round()).toBe(fromUnits(exactSumOf(values)));
      }),
      { numRuns: 1000 },
    );
  });

  test('rounds right where large parts cancel', () => {
    fc.assert(
      fc.property(
        fc.array(doubles, { maxLength: 12 }),
        fc.array(doubles, { maxLength: 3 }),
        (noise, rest) => {
          const values = [...noise, ...rest, ...noise.map((value) => -value)];
          expect(expansionOf(values).round()).toBe(fromUnits(exactSumOf(rest)));
        },
      ),
      { numRuns: 500 },
    );
  });

  // The cases of Python's test_math.testFsum, with the answers given there.
  test.each([
    [[], 0],
    [[0], 0],
    [[1e100, 1, -1e100, 1e-100, 1e50, -1, -1e50], 1e-100],
    [[2 ** 53, -0.5, -(2 ** -54)], 2 ** 53 - 1],
    [[2 ** 53, 1, 2 ** -100], 2 ** 53 + 2],
    [[2 ** 53 + 10, 1, 2 ** -100], 2 ** 53 + 12],
    [[2 ** 53 - 4, 0.5, 2 ** -54], 2 ** 53 - 3],
    [[1e16, 1, 1e-16], 10000000000000002],
    [[1e16 - 2, 1 - 2 ** -53, -(1e16 - 2), -(1 - 2 ** -53)], 0],
    [[5e-324, 5e-324, -1e-323], 0],
    [[1e140, 5e-324, -1e140], 5e-324],
  ] as [number[], number][])('%j is %d', (values, sum) => {
    expect(expansionOf(values).round()).toBe(sum);
    expect(expansionOf(values.toReversed()).round()).toBe(sum);
  });

  test('keeps to few parts over the whole range of magnitudes', () => {
    const sum = new Expansion();
    for (let i = 0; i < 20_000; i++) {
      const magnitude = 2 ** (((i * 7919) % 1500) - 1040);
      sum.add(magnitude * (1 + ((i * 104_729) % 1_000_003) / 1_000_003) * (i % 3 === 0 ? -1 : 1));
    }
    expect(sum.partCount).toBeLessThanOrEqual(64);
    expect(bytesOf(sum).length).toBeLessThanOrEqual(1 + 40 * 8);
  });

  test('two values a bit apart at every distance are both kept', () => {
    const sum = new Expansion();
    for (let exponent = -1074; exponent <= 400; exponent += 2) sum.add(2 ** exponent);
    for (let exponent = 400; exponent > -1074; exponent -= 2) sum.add(-(2 ** exponent));
    expect(sum.round()).toBe(5e-324);
  });
});

describe('encoded', () => {
  test('equal sums are equal bytes, however they came about', () => {
    fc.assert(
      fc.property(fc.array(doubles, { maxLength: 20 }), doubles, doubles, (values, a, b) => {
        const roundabout = expansionOf([a, ...values.toReversed(), b, -a, -b]);
        expect(bytesOf(roundabout)).toEqual(bytesOf(expansionOf(values)));
      }),
      { numRuns: 500 },
    );
  });

  test('no bit is lost: the sum less its decoded copy is zero', () => {
    fc.assert(
      fc.property(fc.array(doubles, { maxLength: 20 }), (values) => {
        const sum = expansionOf(values.map((value) => -value));
        sum.absorb(new ByteReader(bytesOf(expansionOf(values))));
        expect(sum.isZero).toBe(true);
      }),
      { numRuns: 500 },
    );
  });

  test('a whole sum takes a few bytes', () => {
    expect(bytesOf(expansionOf([])).length).toBe(2);
    expect(bytesOf(expansionOf([20, 22])).length).toBe(2);
    expect(bytesOf(expansionOf([-123_456])).length).toBe(4);
    expect(bytesOf(expansionOf([0.1])).length).toBe(9);
  });

  test.each([Number.NaN, Number.POSITIVE_INFINITY])('%d among the parts is refused', (part) => {
    const w = new ByteWriter();
    w.varint(1);
    w.f64(part);
    expect(() => new Expansion().absorb(new ByteReader(w.finish()))).toThrow(CorruptBytesError);
  });
});

describe('64-bit integers', () => {
  test('a sum is the exact integer, a bigint only where a number could not hold it', () => {
    fc.assert(
      fc.property(fc.array(longs, { maxLength: 40 }), (values) => {
        const sum = values.reduce<bigint>((total, value) => total + BigInt(value), 0n);
        const expected = Number.isSafeInteger(Number(sum)) ? Number(sum) : sum;
        expect(expansionOf(values).toInteger()).toBe(expected);
      }),
      { numRuns: 500 },
    );
  });

  test('ones added to a sum at 2⁵³ are not lost', () => {
    expect(expansionOf([2 ** 53 - 1, 1, 1]).toInteger()).toBe(2n ** 53n + 1n);
    expect(expansionOf([2 ** 53 - 1, 1, 1, -2]).toInteger()).toBe(2 ** 53 - 1);
  });

  test('a square is exact', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }), (value) => {
        const square = new Expansion();
        square.addLongSquare(value);
        expect(BigInt(square.toInteger())).toBe(value * value);
      }),
      { numRuns: 500 },
    );
  });
});

test('products, multiples and squares of expansions are exact', () => {
  const factors = fc.oneof(
    fc.integer({ min: -1e6, max: 1e6 }),
    fc.double({ min: 1e-100, max: 1e100, noNaN: true }),
    fc.double({ min: -1e100, max: -1e-100, noNaN: true }),
  );
  fc.assert(
    fc.property(fc.array(factors, { maxLength: 6 }), fc.integer({ min: 0, max: 1e9 }), (values, n) => {
      const sum = expansionOf(values);
      const result = new Expansion();
      result.addScaled(sum, n);
      result.subtractSquare(sum);
      const units = exactSumOf(values);
      // In units of 2⁻²¹⁴⁸; the products' last bits are far above 2⁻¹⁰⁷⁴, so the shift down is exact.
      const exact = BigInt(n) * (units << 1074n) - units ** 2n;
      expect(result.round()).toBe(fromUnits(exact >> 1074n));
    }),
    { numRuns: 500 },
  );
});

describe('products of sums', () => {
  /** In units of 2⁻¹⁰⁷⁴, as the exact reference has them. */
  const parts = fc.array(
    fc.integer({ min: -(2 ** 40), max: 2 ** 40 }).map((value) => (value + 0) / 1024),
    {
      maxLength: 6,
    },
  );

  test('are exact, added and taken away', () => {
    fc.assert(
      fc.property(parts, parts, (left, right) => {
        const a = expansionOf([...left, 1e20]);
        const b = expansionOf([...right, 1e-20]);
        const exact = (exactSumOf([...left, 1e20]) * exactSumOf([...right, 1e-20])) >> 1074n;
        const product = new Expansion();
        product.addProductOf(a, b);
        expect(product.round()).toBe(fromUnits(exact));
        product.subtractProductOf(b, a);
        expect(product.isZero).toBe(true);
      }),
    );
  });

  test('integers of 300 bits are added exactly', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: -(2n ** 300n), max: 2n ** 300n }), (value) => {
        const sum = new Expansion();
        sum.addInteger(value);
        sum.addInteger(5n);
        expect(BigInt(sum.toInteger())).toBe(value + 5n);
      }),
    );
  });
});
