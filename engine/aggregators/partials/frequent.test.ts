/** What `frequent` promises in place of the law that it is exempt from. */
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ByteReader, ByteWriter, CorruptBytesError } from '../../bytes.ts';
import { SeededRandom } from '../../testing/random.ts';
import { answer, isTruncated, rowsOf } from '../testing/answer.ts';
import { FrequentState } from './frequent.ts';

function stateOf(values: readonly (number | string)[], capacity: number): FrequentState {
  const state = new FrequentState(capacity);
  for (const value of values) state.add(value);
  return state;
}

function encode(state: FrequentState): Uint8Array {
  const w = new ByteWriter();
  state.encode(w);
  return w.finish();
}

function mergeOf(parts: readonly (readonly number[])[], capacity: number): FrequentState {
  const merged = new FrequentState(capacity);
  for (const part of parts) merged.absorb(new ByteReader(encode(stateOf(part, capacity))), 'number');
  return merged;
}

function countsOf(values: readonly number[]): Map<number, number> {
  const counts = new Map<number, number>();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  return counts;
}

const parts = fc.array(fc.array(fc.nat({ max: 12 }), { maxLength: 15 }), { maxLength: 6 });

test('up to the capacity any split and order gives the same bytes, and nothing is taken off', () => {
  fc.assert(
    fc.property(parts, (split) => {
      const whole = stateOf(split.flat(), 13);
      expect(whole.takenOff).toBe(0);
      for (const order of [split, split.toReversed()])
        expect(encode(mergeOf(order, 13))).toEqual(encode(whole));
    }),
  );
});

test('beyond it counts are never too high, at most n / (capacity + 1) too low, and nothing above that is missing', () => {
  fc.assert(
    fc.property(parts, fc.integer({ min: 1, max: 6 }), (split, capacity) => {
      const values = split.flat();
      const right = countsOf(values);
      const bound = values.length / (capacity + 1);
      for (const state of [
        mergeOf(split, capacity),
        mergeOf(split.toReversed(), capacity),
        stateOf(values, capacity),
      ]) {
        expect(state.takenOff).toBeLessThanOrEqual(bound);
        expect(state.takenOff > 0).toBe(right.size > capacity);
        const counts = new Map(state.top(capacity));
        for (const [value, length] of right) {
          const count = counts.get(value) ?? 0;
          expect(count).toBeLessThanOrEqual(length);
          expect(count).toBeGreaterThanOrEqual(length - state.takenOff);
          if (length > bound) expect(counts.has(value)).toBe(true);
        }
      }
    }),
    { numRuns: 300 },
  );
});

describe('a stream of ten thousand merchants by Zipf’s law', () => {
  const random = new SeededRandom(11);
  const values = Array.from({ length: 50_000 }, () => Math.floor(10_000 ** (random.uint32() / 2 ** 32)));
  const right = [...countsOf(values)].sort(([a, countA], [b, countB]) => countB - countA || a - b);

  test('has its most frequent ones found, in parts of any size', () => {
    for (const size of [100, 1000, 50_000]) {
      const split = Array.from({ length: values.length / size }, (_, i) =>
        values.slice(i * size, (i + 1) * size),
      );
      const state = mergeOf(split, 64);
      expect(state.takenOff).toBeLessThanOrEqual(values.length / 65);
      expect(state.top(5).map(([value]) => value)).toEqual(right.slice(0, 5).map(([value]) => value));
    }
  });
});

describe('top_k_frequent', () => {
  test('answers pairs, most frequent first, ties ascending', () => {
    const texts = [rowsOf(['b', 'a', null, 'c']), rowsOf(['c', 'B'])];
    expect(answer('top_k_frequent', 'string', texts, [3, 64])).toEqual([
      ['c', 2],
      ['B', 1],
      ['a', 1],
    ]);
    expect(isTruncated('top_k_frequent', 'string', texts, [3, 4])).toBe(false);
    expect(isTruncated('top_k_frequent', 'string', texts, [3, 3])).toBe(true);
    const longs = [rowsOf([2n ** 60n, 10, 9, 2n ** 60n + 1n, -(2n ** 61n)])];
    expect(answer('top_k_frequent', 'long', longs, [4, 64])).toEqual([
      [-(2n ** 61n), 1],
      [9, 1],
      [10, 1],
      [2n ** 60n, 1],
    ]);
    expect(answer('top_k_frequent', 'boolean', [rowsOf([1, 0, 1])], [5, 64])).toEqual([
      [true, 2],
      [false, 1],
    ]);
  });

  test('knows no frequent values, which is not the same as no values, where all are equally frequent', () => {
    expect(answer('top_k_frequent', 'integer', [rowsOf([1, 2, 3])], [1, 2])).toEqual([]);
  });

  test('counts at least k values', () => {
    expect(answer('top_k_frequent', 'integer', [rowsOf([3, 1, 2])], [3, 1])).toEqual([
      [1, 1],
      [2, 1],
      [3, 1],
    ]);
  });
});

test('a summary of more values than are counted is refused as corrupt', () => {
  const three = encode(stateOf([1, 2, 3], 3));
  expect(() => new FrequentState(2).absorb(new ByteReader(three), 'number')).toThrow(CorruptBytesError);
});
