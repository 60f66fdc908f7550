/** Skewness and kurtosis against their definitions in exact rational arithmetic. */
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { ColumnType } from '../partial-aggregate.ts';
import { answer, rowsOf } from '../testing/answer.ts';
import { toUnits } from '../testing/exact-reference.ts';
import { longs } from '../testing/row-samples.ts';

const TOLERANCE = 2e-15;

/** Σ(n·x − Σx)ᵏ, in units: nᵏ times the central moment. */
function centralMoment(values: readonly (number | bigint)[], power: bigint): bigint {
  const units = values.map(toUnits);
  const n = BigInt(units.length);
  const sum = units.reduce((total, x) => total + x, 0n);
  return units.reduce((total, x) => total + (n * x - sum) ** power, 0n);
}

const magnitudeOf = (x: bigint): bigint => (x < 0n ? -x : x);

const ONE = toUnits(1);

function expectSkew(found: number, values: readonly (number | bigint)[]): void {
  // G₁² = n(n − 1)/(n − 2)² · (M₃/n)² / (M₂/n)³; a relative error of the square is twice that of its root.
  const n = BigInt(values.length);
  const [m2, m3] = [centralMoment(values, 2n), centralMoment(values, 3n)];
  expect(Math.sign(found)).toBe(m3 === 0n ? 0 : m3 < 0n ? -1 : 1);
  const numerator = n * (n - 1n) * n * m3 ** 2n;
  const denominator = (n - 2n) ** 2n * m2 ** 3n;
  const difference = magnitudeOf(toUnits(found) ** 2n * denominator - numerator * ONE ** 2n);
  expect(difference <= toUnits(2 * TOLERANCE) * numerator * ONE, `${found}`).toBe(true);
}

function expectKurtosis(found: number, values: readonly (number | bigint)[]): void {
  // G₂ = n(n + 1)(n − 1) / ((n − 2)(n − 3)) · M₄/M₂² − 3(n − 1)² / ((n − 2)(n − 3))
  const n = BigInt(values.length);
  const [m2, m4] = [centralMoment(values, 2n), centralMoment(values, 4n)];
  const numerator = n * (n + 1n) * (n - 1n) * m4 - 3n * (n - 1n) ** 2n * m2 ** 2n;
  const denominator = (n - 2n) * (n - 3n) * m2 ** 2n;
  const difference = magnitudeOf(toUnits(found) * denominator - numerator * ONE);
  expect(difference <= toUnits(TOLERANCE) * magnitudeOf(numerator), `${found}`).toBe(true);
}

function expectRight(type: ColumnType, parts: readonly (readonly (number | bigint)[])[]): void {
  const values = parts.flat();
  const rows = parts.map(rowsOf);
  const constant = new Set(values).size <= 1;
  for (const [name, needed, expectValue] of [
    ['skew', 3, expectSkew],
    ['kurtosis', 4, expectKurtosis],
  ] as const) {
    const found = answer(name, type, rows);
    if (values.length < needed || constant) {
      expect(found).toBeNull();
      continue;
    }
    expectValue(found as number, values);
    expect(answer(name, type, rows.toReversed())).toBe(found);
    expect(answer(name, type, [rowsOf(values.toReversed())])).toBe(found);
  }
}

const spans = [1, 1e-59, 1e-30, 1e16, 1e40, 1e55];
const inBounds = fc.oneof(
  fc.integer({ min: -1000, max: 1000 }),
  fc.integer({ min: -1_000_000, max: 1_000_000 }).map((cents) => cents / 100),
  fc.constantFrom(0, 1e16, 1e16 + 2, 0.1, 1e-60, -1e-60, 1e55, -1e55),
  ...spans.map((span) => fc.double({ min: span / 10, max: span, noNaN: true })),
  ...spans.map((span) => fc.double({ min: -span, max: -span / 10, noNaN: true })),
);

function partsOf<T>(value: fc.Arbitrary<T>): fc.Arbitrary<T[][]> {
  return fc.array(fc.array(value, { maxLength: 8 }), { maxLength: 4 });
}

describe('skew and kurtosis', () => {
  test('of doubles of every magnitude in bounds are within 2e−15, the same bits in any order', () => {
    fc.assert(
      fc.property(partsOf(inBounds), (parts) =>
        expectRight(
          'double',
          parts.map((part) => part.map((x) => x + 0)),
        ),
      ),
      { numRuns: 500 },
    );
  });

  test('of values that agree in all but their last bits are as exact', () => {
    const close = fc.integer({ min: 0, max: 4 }).map((ulps) => 1e16 + 2 * ulps);
    fc.assert(fc.property(partsOf(close), (parts) => expectRight('double', parts)));
    const cents = fc.integer({ min: 0, max: 5 }).map((last) => (100_000_000 + last) / 100);
    fc.assert(fc.property(partsOf(cents), (parts) => expectRight('double', parts)));
  });

  test('of longs are exact products of all 64 bits', () => {
    fc.assert(
      fc.property(partsOf(longs), (parts) => expectRight('long', parts)),
      { numRuns: 300 },
    );
  });

  test('are those of pandas', () => {
    // pandas 3.1.1, Series([1, 2, 3, 4, 10]): skew() is 1.697056274847714, kurt() 3.1519999999999984.
    const rows = [rowsOf([1, 2, 3]), rowsOf([null, 4, 10])];
    expect(answer('skew', 'integer', rows)).toBeCloseTo(1.697056274847714, 14);
    expect(answer('kurtosis', 'integer', rows)).toBeCloseTo(3.152, 14);
  });

  test('of values that lie symmetrically is 0', () => {
    expect(answer('skew', 'double', [rowsOf([0.1, -0.1, 0, 7.3, -7.3])])).toBe(0);
  });

  test('need three and four values that are not all equal', () => {
    expect(answer('skew', 'double', [rowsOf([1, null, 2])])).toBeNull();
    expect(answer('kurtosis', 'double', [rowsOf([1, 2, 4])])).toBeNull();
    expect(answer('skew', 'double', [rowsOf([0.1, 0.1, 0.1])])).toBeNull();
    expect(answer('kurtosis', 'double', [rowsOf([0.1, 0.1, 0.1, 0.1, 0.1])])).toBeNull();
  });

  test('are null where a value is out of bounds, in whichever part, and answer at the bounds', () => {
    const others = rowsOf([1, 2, 3, 5, 8]);
    for (const outside of [1.0000001e55, -1e140, 0.9999999e-60, -5e-324]) {
      for (const name of ['skew', 'kurtosis']) {
        expect(answer(name, 'double', [others, rowsOf([outside])])).toBeNull();
        expect(answer(name, 'double', [rowsOf([outside]), others])).toBeNull();
        expect(answer(name, 'double', [rowsOf([1, outside, 2, 3, 4])])).toBeNull();
      }
    }
    expectRight('double', [[1e-60, 0, 3e-60, 2e-60, -1e-60]]);
    expectRight('double', [[1e55, 0, -0.3e55, 1e55, -1e55]]);
  });
});
