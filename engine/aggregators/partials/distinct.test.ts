import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ByteReader, ByteWriter, CorruptBytesError } from '../../bytes.ts';
import { hash53 } from '../../hash64.ts';
import { DistinctState, exactUpToOf } from './distinct.ts';

/** Two steps of SplitMix32 a hash: evenly spread 53-bit hashes, a different stream for each seed. */
function hashStream(seed: number): () => number {
  // Not a multiple of the step below, or the streams would be one stream shifted.
  let state = Math.imul(seed, 0x85eb_ca6b) >>> 0;
  function next32(): number {
    state = (state + 0x9e37_79b9) >>> 0;
    let z = state;
    z = Math.imul(z ^ (z >>> 16), 0x21f0_aaad);
    z = Math.imul(z ^ (z >>> 15), 0x735a_2d97);
    return (z ^ (z >>> 15)) >>> 0;
  }
  return () => (next32() >>> 11) * 2 ** 32 + next32();
}

function encode(state: DistinctState): Uint8Array {
  const w = new ByteWriter();
  state.encode(w);
  return w.finish();
}

function stateOf(hashes: readonly number[], exactUpTo: number): DistinctState {
  const state = new DistinctState(exactUpTo);
  for (const hash of hashes) state.add(hash);
  return state;
}

const texts = (from: number, to: number) =>
  Array.from({ length: to - from }, (_, i) => hash53(`value ${from + i}`));

describe('up to the bound', () => {
  test.each([1, 2, 15, 16, 17, 1024, 65_536])('counts %d different values exactly', (bound) => {
    expect(stateOf([...texts(0, bound), ...texts(0, 1)], bound).count()).toBe(bound);
  });

  test('the least and the greatest hash are hashes like any other', () => {
    const ends = stateOf([0, Number.MAX_SAFE_INTEGER, 0], 4);
    expect(ends.count()).toBe(2);
    const copy = new DistinctState(4);
    copy.absorb(new ByteReader(encode(ends)));
    expect(encode(copy)).toEqual(encode(ends));
  });
});

describe('beyond the bound', () => {
  test('never answers less than what is certain', () => {
    for (const bound of [1, 10, 1000]) {
      for (let start = 0; start < 40_000; start += 2000) {
        expect(stateOf(texts(start, start + bound + 1), bound).count()).toBeGreaterThan(bound);
      }
    }
  });

  test('takes some 3 bits a register, whatever it has seen', () => {
    for (const size of [1025, 5_000, 50_000, 500_000]) {
      const { length } = encode(stateOf(texts(0, size), 1024));
      expect(length).toBeGreaterThan((4096 * 1) / 8);
      expect(length).toBeLessThan((4096 * 3.5) / 8);
    }
  });

  // The root mean square of k errors scatters by about 1 / √(2k) of itself: a third is two to three of its standard
  // deviations for 20 to 40 seeds. A single estimate may be off by five standard errors. Seeds are fixed.
  test.each([
    [1000, 40],
    [10_000, 40],
    [100_000, 20],
    [1_000_000, 20],
  ])('%d different values and %d seeds: estimates have a standard error of 1.6 %%', (size, seeds) => {
    const standardError = 1.04 / Math.sqrt(4096);
    let squares = 0;
    for (let seed = 1; seed <= seeds; seed++) {
      const next = hashStream(seed + size);
      const state = new DistinctState(1);
      for (let i = 0; i < size; i++) state.add(next());
      const error = state.count() / size - 1;
      expect(Math.abs(error)).toBeLessThan(5 * standardError);
      squares += error * error;
    }
    expect(Math.sqrt(squares / seeds)).toBeLessThan(standardError * 1.33);
  });

  test('no size between the bound and forty times it is estimated worse than five standard errors', () => {
    const state = stateOf(texts(0, 100), 100);
    for (let size = 101; size <= 4000; size++) {
      state.add(hash53(`value ${size}`));
      if (size % 50 === 0) expect(Math.abs(state.count() / size - 1)).toBeLessThan((5 * 1.04) / 64);
    }
  });
});

test('a union is the same bytes in any merge order, on both sides of the bound', () => {
  const part = fc.array(fc.nat({ max: 60 }), { maxLength: 30 });
  fc.assert(
    fc.property(fc.array(part, { maxLength: 5 }), fc.constantFrom(1, 8, 20, 1024), (parts, bound) => {
      const hashed = parts.map((values) => values.map((value) => hash53(String(value))));
      const whole = stateOf(hashed.flat(), bound);
      for (const order of [hashed, hashed.toReversed()]) {
        const merged = new DistinctState(bound);
        for (const hashes of order) merged.absorb(new ByteReader(encode(stateOf(hashes, bound))));
        expect(encode(merged)).toEqual(encode(whole));
        expect(merged.count()).toBe(whole.count());
      }
    }),
  );
});

test('a state that is read, added to, merged, cleared and used again is what a set would be', () => {
  const hashes = fc
    .array(fc.nat({ max: 60 }), { maxLength: 30 })
    .map((of) => of.map((n) => hash53(String(n))));
  const step = fc.oneof(
    fc.record({ what: fc.constantFrom('add', 'absorb', 'merge'), of: hashes }),
    // A state that was read and then added to.
    fc.record({ what: fc.constant('merge both'), of: hashes, afterwards: hashes }),
    fc.constant({ what: 'clear', of: [] as number[] }),
  );
  const run = fc.property(
    fc.array(step, { maxLength: 8 }),
    fc.constantFrom(1, 8, 20, 1024),
    (steps, bound) => {
      const state = new DistinctState(bound);
      const readFrom = (of: readonly number[]) => {
        const read = new DistinctState(bound);
        read.absorb(new ByteReader(encode(stateOf(of, bound))));
        return read;
      };
      let all: number[] = [];
      for (const { what, of, ...rest } of steps) {
        if (what === 'clear') {
          state.clear();
          all = [];
          continue;
        }
        all.push(...of);
        if (what === 'add') for (const hash of of) state.add(hash);
        else if (what === 'absorb') state.absorb(new ByteReader(encode(stateOf(of, bound))));
        else {
          const other = what === 'merge' ? stateOf(of, bound) : readFrom(of);
          const afterwards = 'afterwards' in rest ? rest.afterwards : [];
          for (const hash of afterwards) other.add(hash);
          all.push(...afterwards);
          state.merge(other);
        }
        expect(encode(state)).toEqual(encode(stateOf(all, bound)));
        if (new Set(all).size <= bound) expect(state.count()).toBe(new Set(all).size);
      }
    },
  );
  fc.assert(run, { numRuns: 1000 });
});

test('a hash that is there twice is refused as corrupt', () => {
  for (const into of [stateOf([], 8), stateOf([5], 8)]) {
    const w = new ByteWriter();
    for (const value of [3, 7, 0]) w.varint(value);
    expect(() => into.absorb(new ByteReader(w.finish()))).toThrow(CorruptBytesError);
  }
});

test('a set larger than the bound or a hash of more than 53 bits is refused as corrupt', () => {
  const tooMany = encode(stateOf(texts(0, 9), 9));
  expect(() => new DistinctState(8).absorb(new ByteReader(tooMany))).toThrow(CorruptBytesError);
  const w = new ByteWriter();
  w.varint(3);
  w.varint(Number.MAX_SAFE_INTEGER);
  w.varint(1);
  expect(() => new DistinctState(8).absorb(new ByteReader(w.finish()))).toThrow(CorruptBytesError);
});

describe('with a chosen precision', () => {
  const precisions = [4, 5, 8, 11, 14];

  test('is exact up to a bound', () => {
    for (let precision = 4; precision <= 14; precision++) {
      const bound = exactUpToOf(precision);
      const state = new DistinctState(bound, precision);
      for (const hash of texts(0, bound)) state.add(hash);
      expect(state.count()).toBe(bound);
      for (const hash of texts(bound, bound + 1)) state.add(hash);
      // Only registers are no more than so many bytes for so many values.
      if (precision > 6) expect(encode(state).length).toBeLessThan(2.5 * bound);
      expect(state.count()).toBeGreaterThan(bound);
    }
    expect([4, 5, 6, 11, 14].map(exactUpToOf)).toEqual([1, 1, 2, 64, 512]);
  });

  test.each(precisions)('2^%d registers have a standard error of 1.04 / √2^p', (precision) => {
    const standardError = 1.04 / Math.sqrt(2 ** precision);
    // Few registers have estimates that scatter widely and not evenly: they need more of them.
    const seeds = precision < 7 ? 400 : 40;
    for (const size of precision < 7 ? [2000, 5000] : [5000, 30_000]) {
      let squares = 0;
      for (let seed = 1; seed <= seeds; seed++) {
        const next = hashStream(seed * 31 + size + precision);
        const state = new DistinctState(exactUpToOf(precision), precision);
        for (let i = 0; i < size; i++) state.add(next());
        squares += (state.count() / size - 1) ** 2;
      }
      expect(Math.sqrt(squares / seeds)).toBeLessThan(standardError * 1.33);
    }
  });

  test('a hash of zeros has the highest rank of every precision, and is read back', () => {
    for (let precision = 4; precision <= 14; precision++) {
      const state = new DistinctState(1, precision);
      for (const hash of [0, Number.MAX_SAFE_INTEGER, 1]) state.add(hash);
      const copy = new DistinctState(1, precision);
      copy.absorb(new ByteReader(encode(state)));
      expect(encode(copy)).toEqual(encode(state));
    }
  });
});
