import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ByteReader, ByteWriter, CorruptBytesError } from '../../bytes.ts';
import { SeededRandom } from '../../testing/random.ts';
import { accuracyAt, joinPosition, LogarithmicBuckets } from '../logarithmic-buckets.ts';
import { answer, isTruncated, rowsOf } from '../testing/answer.ts';
import { doubles } from '../testing/row-samples.ts';
import { BUCKETS_MAX, EXACT_VALUES_MAX, QuantilesState } from './quantiles.ts';

function encode(state: QuantilesState): Uint8Array {
  const w = new ByteWriter();
  state.encode(w);
  return w.finish();
}

function stateOf(
  values: readonly number[],
  accuracy = 0.01,
  valuesMax = EXACT_VALUES_MAX,
  bucketsMax = BUCKETS_MAX,
): QuantilesState {
  const state = new QuantilesState(new LogarithmicBuckets(accuracy), valuesMax, bucketsMax);
  for (const value of values) state.add(value);
  return state;
}

/** The value at p percent by definition, and the greater magnitude of its neighbours. */
function exactly(sorted: readonly number[], percent: number): { value: number; greater: number } {
  const place = (percent / 100) * (sorted.length - 1);
  const low = sorted[Math.floor(place)]!;
  const high = sorted[Math.ceil(place)]!;
  const value = low + (high - low) * (place - Math.floor(place));
  return { value, greater: Math.max(Math.abs(low), Math.abs(high)) };
}

const PERCENTS = [0, 0.1, 1, 10, 25, 50, 66.6, 75, 90, 99, 99.9, 100];

function expectWithinBound(state: QuantilesState, values: readonly number[], accuracy: number): void {
  const sorted = values.toSorted((a, b) => a - b);
  for (const percent of PERCENTS) {
    const { value, greater } = exactly(sorted, percent);
    const found = state.quantile(percent)!;
    // Magnitudes below 2⁻¹⁰²² count as zero.
    expect(Math.abs(found - value)).toBeLessThanOrEqual(accuracy * (1 + 1e-9) * greater + 2 ** -1022);
    expect(found).toBeGreaterThanOrEqual(sorted[0]!);
    expect(found).toBeLessThanOrEqual(sorted.at(-1)!);
  }
}

describe('buckets', () => {
  test.each([0.001, 0.01, 0.05, 0.1])(
    'at %d answer for every value within the accuracy, at any level',
    (accuracy) => {
      const buckets = new LogarithmicBuckets(accuracy);
      const random = new SeededRandom(7);
      for (let i = 0; i < 20_000; i++) {
        // The ends of octaves too, where the cubic starts again.
        const near =
          2 ** random.between(-1021, 464) *
          (1 + random.pick([0, 2 ** -52, 1 - 2 ** -52, random.uint32() / 2 ** 32]));
        const value = random.chance(0.5) ? near : -near;
        for (const level of [0, 1, 3, 6]) {
          const found = buckets.valueAt(joinPosition(buckets.positionOf(value), level), level);
          expect(Math.abs(found / value - 1)).toBeLessThanOrEqual(accuracyAt(accuracy, level) * (1 + 1e-9));
        }
      }
    },
  );

  test('keep the order of values', () => {
    const buckets = new LogarithmicBuckets(0.01);
    fc.assert(
      fc.property(doubles, doubles, (a, b) => {
        const [low, high] = a < b ? [a, b] : [b, a];
        expect(buckets.positionOf(low)).toBeLessThanOrEqual(buckets.positionOf(high));
      }),
      { numRuns: 2000 },
    );
  });

  test('joined one level at a time are those joined at once', () => {
    for (let position = -40; position <= 40; position++) {
      let joined = position;
      for (let level = 1; level <= 6; level++) {
        joined = joinPosition(joined, 1);
        expect(joined).toBe(joinPosition(position, level));
      }
    }
  });
});

describe('up to 128 values', () => {
  test('answers are exact, interpolated as numpy and DuckDB do', () => {
    // numpy.percentile([1, 2, 4, 8], [0, 10, 50, 99, 100]) = [1, 1.3, 3, 7.88, 8]
    const parts = [rowsOf([8, null, 1]), rowsOf([4, 2])];
    const found = answer('percentiles', 'double', parts, [0.1, 0, 10, 50, 99, 100]) as number[];
    [1, 1.3, 3, 7.88, 8].forEach((value, i) => {
      expect(found[i]).toBeCloseTo(value, 14);
    });
    expect(answer('percentile', 'double', parts, [10, 0.1])).toBe(found[1]);
    expect(answer('median', 'double', parts, [0.1])).toBe(3);
    expect(answer('median', 'timestamp', [rowsOf([5])], [0.01])).toBe(5);
    expect(answer('percentile', 'long', [rowsOf([2n ** 62n, 1])], [100, 0.01])).toBe(2 ** 62);
  });

  test('of any values are exact', () => {
    fc.assert(
      fc.property(
        fc.array(doubles, { minLength: 1, maxLength: 40 }),
        fc.double({ min: 0, max: 100, noNaN: true }),
        (values, p) => {
          const sorted = values.toSorted((a, b) => a - b);
          const { value } = exactly(sorted, p);
          const found = stateOf(values).quantile(p)!;
          expect(found).toBe(Math.min(value, sorted.at(-1)!));
        },
      ),
    );
  });

  test('integers and hundredths take two or three bytes each', () => {
    const cents = Array.from({ length: 128 }, (_, i) => ((i * 7919) % 100_000) / 100);
    expect(encode(stateOf(cents)).length).toBeLessThan(128 * 2 + 8);
  });

  test('the next one makes buckets of them', () => {
    const values = Array.from({ length: 128 }, (_, i) => i + 1);
    expect(encode(stateOf(values))[0]).toBe(128);
    const more = stateOf([...values, 129]);
    expect(more.count).toBe(129);
    expectWithinBound(more, [...values, 129], 0.01);
    expect(more.quantile(40)).not.toBe(exactly([...values, 129], 40).value);
  });
});

describe('a state is a function of the multiset of values', () => {
  const wide = fc.oneof(
    doubles,
    fc.double({ min: 1, max: 1000, noNaN: true }),
    fc.constantFrom(0, 1, 2, 5e-324),
  );
  const parts = fc.array(fc.array(wide, { maxLength: 12 }), { maxLength: 6 });

  test.each([
    [0, 8],
    [4, 8],
    [20, 16],
    [128, 512],
  ])('with %d values and %d buckets at most, however they were split', (valuesMax, bucketsMax) => {
    fc.assert(
      fc.property(parts, fc.constantFrom(0.001, 0.01, 0.1), (split, accuracy) => {
        const make = (values: readonly number[]) => stateOf(values, accuracy, valuesMax, bucketsMax);
        const whole = make(split.flat());
        for (const order of [split, split.toReversed()]) {
          const merged = make([]);
          order.forEach((values, i) => {
            if (i % 3 === 2) for (const value of values) merged.add(value);
            else merged.absorb(new ByteReader(encode(make(values))));
          });
          expect(encode(merged)).toEqual(encode(whole));
          // Merged in a tree too.
          const half = make(order.slice(0, 2).flat());
          half.absorb(new ByteReader(encode(make(order.slice(2).flat()))));
          expect(encode(half)).toEqual(encode(whole));
        }
        expect(encode(make(split.flat().toSorted((a, b) => b - a)))).toEqual(encode(whole));
      }),
      { numRuns: 300 },
    );
  });

  test('the level is the least that will do', () => {
    fc.assert(
      fc.property(fc.array(wide, { minLength: 1, maxLength: 60 }), (values) => {
        const state = stateOf(values, 0.01, 0, 8);
        const buckets = new LogarithmicBuckets(0.01);
        const filled = (level: number): number =>
          new Set(values.map((value) => joinPosition(buckets.positionOf(value), level))).size;
        expect(filled(state.level)).toBeLessThanOrEqual(8);
        if (state.level > 0) expect(filled(state.level - 1)).toBeGreaterThan(8);
        expectWithinBound(state, values, accuracyAt(0.01, state.level));
      }),
      { numRuns: 300 },
    );
  });
});

describe('beyond 128 values answers are within the accuracy', () => {
  const uniform = (r: SeededRandom): number => (r.uint32() + 0.5) / 2 ** 32;
  const normal = (r: SeededRandom): number =>
    Math.sqrt(-2 * Math.log(uniform(r))) * Math.cos(2 * Math.PI * uniform(r));
  const distributions: Record<string, (r: SeededRandom) => number> = {
    'amounts over four decades': (r) => Math.round(100 * 10 ** (uniform(r) * 4)) / 100,
    'log-normal': (r) => Math.exp(normal(r) * 1.2 + 3),
    Pareto: (r) => uniform(r) ** (-1 / 3),
    exponential: (r) => -Math.log(uniform(r)),
    'normal, of both signs': (r) => 100 + 50 * normal(r),
    'a few values': (r) => r.pick([-7, 0, 0, 1, 99.99]),
    times: (r) => 1_700_000_000_000 + r.below(86_400_000),
  };

  test.each(Object.keys(distributions))('of %s', (name) => {
    for (const [size, accuracy] of [
      [129, 0.01],
      [2000, 0.01],
      [20_000, 0.01],
      [20_000, 0.05],
      [2000, 0.001],
    ] as const) {
      const random = new SeededRandom(size);
      const values = Array.from({ length: size }, () => distributions[name]!(random) + 0);
      const state = stateOf(values, accuracy);
      expectWithinBound(state, values, accuracyAt(accuracy, state.level));
    }
  });

  test('of one sign, without a collapse while they span less than γ^500', () => {
    const gamma = 1.01 / 0.99;
    const values = Array.from({ length: 5000 }, (_, i) => 3 * gamma ** (i / 10));
    expect(stateOf(values).level).toBe(0);
    expectWithinBound(stateOf(values), values, 0.01);
    const wider = Array.from({ length: 6000 }, (_, i) => 3 * gamma ** (i / 10));
    expect(stateOf(wider).level).toBe(1);
    expect(isTruncated('median', 'double', [rowsOf(values)], [0.01])).toBe(false);
    expect(isTruncated('median', 'double', [rowsOf(wider)], [0.01])).toBe(true);
  });

  test('amounts over four decades take less than 1.5 kB, 100,000 of them too', () => {
    const random = new SeededRandom(5);
    const amounts = Array.from({ length: 100_000 }, () =>
      distributions['amounts over four decades']!(random),
    );
    expect(encode(stateOf(amounts.slice(0, 1000))).length).toBeLessThan(1000);
    expect(encode(stateOf(amounts)).length).toBeLessThan(1500);
  });

  test('no values take more than 4 kB', () => {
    const random = new SeededRandom(6);
    const values = Array.from(
      { length: 50_000 },
      () => (uniform(random) - 0.5) * 10 ** random.between(-280, 140),
    );
    expect(encode(stateOf(values, 0.001)).length).toBeLessThan(4000);
    expectWithinBound(stateOf(values, 0.001), values, accuracyAt(0.001, stateOf(values, 0.001).level));
  });
});

test('what no state encodes to is refused as corrupt', () => {
  const bytes = (write: (w: ByteWriter) => void): ByteReader => {
    const w = new ByteWriter();
    write(w);
    return new ByteReader(w.finish());
  };
  const head = (w: ByteWriter, level: number, least: number, greatest: number, buckets: number): void => {
    w.varint(EXACT_VALUES_MAX + 1 + level);
    w.f64(least);
    w.f64(greatest);
    w.varint(buckets);
  };
  const refused: ((w: ByteWriter) => void)[] = [
    (w) => head(w, 21, 1, 2, 1),
    (w) => head(w, 0, 2, 1, 1),
    (w) => head(w, 0, Number.NaN, 1, 1),
    (w) => head(w, 0, 1, 2, BUCKETS_MAX + 1),
    (w) => head(w, 0, 1, 2, 0),
    (w) => {
      head(w, 0, 1, 2, 1);
      w.zigzag(2 ** 21 + 1);
      w.varint(2);
    },
    (w) => {
      head(w, 0, 1, 2, 1);
      w.zigzag(5);
      w.varint(0);
    },
    (w) => {
      w.varint(1);
      w.u8(3);
    },
    (w) => {
      w.varint(1);
      w.u8(2);
      w.f64(Number.POSITIVE_INFINITY);
    },
  ];
  for (const write of refused) {
    const padded = bytes((w) => {
      write(w);
      w.raw(new Uint8Array(20));
    });
    expect(() => stateOf([]).absorb(padded)).toThrow(CorruptBytesError);
  }
});
