/** Decayed sums against 2^(−age/halfLife) in integers of 300 bits. */
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ByteReader, CorruptBytesError } from '../../bytes.ts';
import { DecayState } from '../decay-state.ts';
import { exp2 } from '../exp2.ts';
import type { FinishedWindow } from '../partial-aggregate.ts';
import { answer, rowsOf } from '../testing/answer.ts';
import { toUnits } from '../testing/exact-reference.ts';
import type { Sample } from '../testing/row-samples.ts';

const BITS = 300n;
const ONE = 1n << BITS;

function squareRoot(value: bigint): bigint {
  let root = 1n << BigInt((value.toString(2).length + 1) >> 1);
  for (;;) {
    const next = (root + value / root) >> 1n;
    if (next >= root) return root;
    root = next;
  }
}

/** 2^(1/2), 2^(1/4), 2^(1/8), … in units of 2⁻³⁰⁰. */
const ROOTS: bigint[] = [];
for (let root = squareRoot(2n * ONE * ONE); ROOTS.length < 200; root = squareRoot(root * ONE))
  ROOTS.push(root);

/** 2^(numerator/denominator) for 0 ≤ numerator < denominator: binary digits of the quotient choose the roots. */
function powerOfTwo(numerator: bigint, denominator: bigint): bigint {
  let power = ONE;
  let rest = numerator;
  for (const root of ROOTS) {
    rest *= 2n;
    if (rest < denominator) continue;
    rest -= denominator;
    power = (power * root) >> BITS;
  }
  return power;
}

/** 2^(−age/halfLife) in units of 2⁻³⁰⁰ · 2⁻¹¹⁰⁰. */
function weight(ageMs: number, halfLifeMs: number): bigint {
  const [age, halfLife] = [BigInt(ageMs), BigInt(halfLifeMs)];
  const halvings = (age + halfLife - 1n) / halfLife;
  return (powerOfTwo(halvings * halfLife - age, halfLife) << 1100n) >> halvings;
}

interface Terms {
  readonly sum: bigint;
  readonly magnitude: bigint;
}

function termsOf(
  rows: readonly Sample[],
  atMs: number,
  halfLifeMs: number,
  termOf: (row: Sample) => number,
): Terms {
  let sum = 0n;
  let magnitude = 0n;
  for (const row of rows) {
    const term = toUnits(termOf(row)) * weight(atMs - row.timeMs, halfLifeMs);
    sum += term;
    magnitude += term < 0n ? -term : term;
  }
  return { sum, magnitude };
}

/** Units of a term: 2⁻¹⁰⁷⁴ · 2⁻³⁰⁰ · 2⁻¹¹⁰⁰. */
const TERM_SHIFT = BITS + 1100n;

function expectWithin(found: number, { sum, magnitude }: Terms, tolerance: number): void {
  const difference = (toUnits(found) << TERM_SHIFT) - sum;
  const allowed = (toUnits(tolerance) * magnitude) >> 1074n;
  // Two units of the smallest denormal, where the value itself is that small.
  expect((difference < 0n ? -difference : difference) <= allowed + (2n << TERM_SHIFT), `${found}`).toBe(true);
}

const windowAt = (atMs: number): FinishedWindow => ({ atMs, fromMs: null, toMs: atMs });
const at = (timeMs: number, value: number | bigint | null, idLo = 0): Sample => ({
  timeMs,
  idHi: 0,
  idLo,
  value,
});
const numberOf = ({ value }: Sample): number => Number(value);

const values = fc.oneof(
  fc.integer({ min: -1000, max: 1000 }),
  fc.integer({ min: 0, max: 1_000_000 }).map((cents) => cents / 100),
  fc.double({ min: -1e20, max: 1e20, noNaN: true }),
);

/** Rows up to about 900 half-lives old, most of them a few, at times up to the last there are. */
const cases = fc
  .record({
    halfLifeMs: fc.oneof(fc.integer({ min: 1, max: 50 }), fc.integer({ min: 1000, max: 7305 * 86_400_000 })),
    atShare: fc.double({ min: 0.001, max: 1, noNaN: true, maxExcluded: true }),
    rows: fc.array(
      fc.record({
        age: fc.oneof(
          fc.double({ min: 0, max: 5, noNaN: true }),
          fc.double({ min: 0, max: 900, noNaN: true }),
        ),
        value: values,
      }),
      { maxLength: 12 },
    ),
    cut: fc.nat({ max: 12 }),
  })
  .map(({ halfLifeMs, atShare, rows, cut }) => {
    const atMs = Math.floor(atShare * 2 ** 45);
    const all = rows.map(({ age, value }, i) =>
      at(Math.max(0, Math.floor(atMs - age * halfLifeMs)), value + 0, i),
    );
    return { halfLifeMs, atMs, all, parts: [all.slice(cut), all.slice(0, cut)] };
  });

test('exp2 is within 2⁻⁵² of 2^f, relative', () => {
  const fractions = [0, 0.5, 0.4999999999999999, 0.25, 0.75, 1 - 2 ** -53, 2 ** -60];
  for (let i = 0; i < 2000; i++) fractions.push(i / 2000);
  for (const f of fractions) {
    const exact = powerOfTwo(toUnits(f), 1n << 1074n);
    const difference = ((toUnits(exp2(f)) << BITS) >> 1074n) - exact;
    expect((difference < 0n ? -difference : difference) << 52n <= exact, `${f}`).toBe(true);
  }
});

describe('exponential decay', () => {
  test('halves a value once for every half-life of its age', () => {
    const rows = [at(10_000, 8), at(9_000, 4), at(8_000, null)];
    expect(answer('exp_decay_sum', 'double', [rows], [1000], 'x', windowAt(10_000))).toBe(10);
    expect(answer('exp_decay_sum', 'double', [rows], [1000], 'x', windowAt(12_000))).toBe(2.5);
    expect(answer('exp_decay_count', 'double', [rows], [1000], 'x', windowAt(10_000))).toBe(1.5);
    expect(answer('exp_decay_count', 'double', [rows], [1000], null, windowAt(10_000))).toBe(1.75);
    expect(answer('exp_decay_mean', 'double', [rows], [1000], 'x', windowAt(10_000))).toBe(10 / 1.5);
    expect(answer('exp_decay_mean', 'double', [rows], [1000], 'x', windowAt(2 ** 44))).toBe(10 / 1.5);
  });

  test('is within 2e−15 of the sum of the magnitudes, the same bits in any order', () => {
    fc.assert(
      fc.property(cases, ({ halfLifeMs, atMs, all, parts }) => {
        const window = windowAt(atMs);
        const sum = answer('exp_decay_sum', 'double', parts, [halfLifeMs], 'x', window) as number;
        const count = answer('exp_decay_count', 'double', parts, [halfLifeMs], null, window) as number;
        expectWithin(sum, termsOf(all, atMs, halfLifeMs, numberOf), 2e-15);
        expectWithin(
          count,
          termsOf(all, atMs, halfLifeMs, () => 1),
          2e-15,
        );
        for (const order of [parts.toReversed(), [all], all.map((row) => [row])]) {
          expect(answer('exp_decay_sum', 'double', order, [halfLifeMs], 'x', window)).toBe(sum);
          expect(answer('exp_decay_count', 'double', order, [halfLifeMs], 'x', window)).toBe(count);
        }
      }),
      { numRuns: 300 },
    );
  });

  test('of a mean is within 3e−15 of the weighted mean of the magnitudes', () => {
    fc.assert(
      fc.property(cases, ({ halfLifeMs, atMs, all, parts }) => {
        const mean = answer('exp_decay_mean', 'double', parts, [halfLifeMs], 'x', windowAt(atMs));
        if (all.length === 0) {
          expect(mean).toBeNull();
          return;
        }
        // As of the newest row, so that no weight underflows.
        const newestMs = Math.max(...all.map(({ timeMs }) => timeMs));
        const { sum, magnitude } = termsOf(all, newestMs, halfLifeMs, numberOf);
        const { sum: weights } = termsOf(all, newestMs, halfLifeMs, () => 1);
        const difference = ((toUnits(mean as number) * weights) >> 1074n) - sum;
        const allowed = (toUnits(3e-15) * magnitude) >> 1074n;
        // Where values are denormal, half a unit for rounding each of them and half a unit for the quotient: one unit of the mean.
        const denormal = weights >> 1074n;
        expect((difference < 0n ? -difference : difference) <= allowed + denormal + 1n, `${mean}`).toBe(true);
      }),
      { numRuns: 300 },
    );
  });

  test('stays exact from one age to the next: 511, 512 and 1,024 half-lives apart', () => {
    const newest = 512 * 7;
    for (const [apart, exponent] of [
      [511, -511],
      [512, -512],
      [513, -513],
      [1024, -1024],
    ] as const) {
      const rows = [[at(newest, 0)], [at(newest - apart, 2 ** 30)]];
      const expected = 2 ** 30 * 2 ** exponent;
      expect(answer('exp_decay_sum', 'double', rows, [1], 'x', windowAt(newest))).toBe(expected);
      expect(answer('exp_decay_sum', 'double', rows.toReversed(), [1], 'x', windowAt(newest))).toBe(expected);
    }
  });

  test('forgets by the era of the newest row alone, however rows arrive', () => {
    const era = (e: number, k: number, value: number): Sample => at(512 * e + k, value, e);
    const kept = era(8, 0, 1e140);
    const gone = era(7, 511, 1e140);
    const newest = era(10, 511, 0);
    const expected = 1e140 * 2 ** -1000 * 2 ** -535;
    for (const parts of [
      [[gone, kept, newest]],
      [[newest], [kept], [gone]],
      [[gone], [kept], [newest]],
      [[kept], [newest], [gone]],
    ]) {
      expect(answer('exp_decay_sum', 'double', parts, [1], 'x', windowAt(newest.timeMs))).toBe(expected);
    }
    expect(answer('exp_decay_sum', 'double', [[gone], [newest]], [1], 'x', windowAt(newest.timeMs))).toBe(0);
    expect(answer('exp_decay_mean', 'double', [[gone], [newest]], [1], 'x', windowAt(newest.timeMs))).toBe(0);
  });

  test('of the largest values neither overflows nor is −0 where it underflows', () => {
    const many = Array.from({ length: 100 }, (_, i) => at(511, 1e140, i));
    expect(answer('exp_decay_sum', 'double', [many], [1], 'x', windowAt(511))).toBeCloseTo(1e142, -128);
    expect(answer('exp_decay_mean', 'double', [many], [1], 'x', windowAt(511))).toBe(1e140);
    expect(answer('exp_decay_sum', 'double', [[at(0, -1)]], [1], 'x', windowAt(2000))).toBe(0);
    expect(answer('exp_decay_sum', 'double', [[at(0, -1)]], [1], 'x', windowAt(2 ** 45 - 1))).toBe(0);
    const tiny = [[at(0, -5e-324)], [at(600, 0)]];
    expect(answer('exp_decay_mean', 'double', tiny, [1], 'x', windowAt(600))).toBe(0);
    const shared = [[at(0, -5e-324), at(0, 0, 1), at(0, 0, 2)]];
    expect(answer('exp_decay_mean', 'double', shared, [1], 'x', windowAt(0))).toBe(0);
  });

  test('of longs counts the nearest double', () => {
    const rows = [at(0, 2n ** 62n + 1n), at(1, 3)];
    expect(answer('exp_decay_sum', 'long', [rows], [1], 'x', windowAt(1))).toBe(2 ** 61 + 3);
    expect(answer('exp_decay_count', 'string', [rowsOf(['a', null])], [1000], 'x', windowAt(1000))).toBe(0.5);
  });

  test('a state of no era, or of more than are kept, is refused as corrupt', () => {
    for (const eras of [0, 4]) {
      const bytes = Uint8Array.from([1, eras, ...new Array(8).fill(0)]);
      expect(() => new DecayState().absorb(new ByteReader(bytes))).toThrow(CorruptBytesError);
    }
  });
});
