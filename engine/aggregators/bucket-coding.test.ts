import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ByteReader, ByteWriter, CorruptBytesError } from '../bytes.ts';
import { SeededRandom } from '../testing/random.ts';
import { decodeBuckets, encodeBuckets } from './bucket-coding.ts';

type Buckets = readonly (readonly [position: number, count: number])[];

const BOUNDS = { lengthMax: 512, positionMax: 2 ** 21 };

function encode(buckets: Buckets): Uint8Array {
  const w = new ByteWriter();
  const positions = Int32Array.from(buckets, ([position]) => position);
  const counts = Float64Array.from(buckets, ([, count]) => count);
  encodeBuckets(positions, counts, buckets.length, w);
  return w.finish();
}

function decode(bytes: Uint8Array, bounds = BOUNDS): Buckets {
  const positions = new Int32Array(512);
  const counts = new Float64Array(512);
  const length = decodeBuckets(positions, counts, bounds, new ByteReader(bytes));
  return Array.from({ length }, (_, i) => [positions[i]!, counts[i]!] as const);
}

/** Few and many, near and far, one value or 2⁵² in a bucket. */
const buckets = fc
  .uniqueArray(
    fc.tuple(
      fc.oneof(fc.integer({ min: -(2 ** 21), max: 2 ** 21 }), fc.integer({ min: -40, max: 40 })),
      fc.oneof(
        fc.integer({ min: 1, max: 20 }),
        fc.integer({ min: 1, max: 2 ** 31 }),
        fc.bigInt(1n, 2n ** 52n).map(Number),
      ),
    ),
    { minLength: 1, maxLength: 200, selector: ([position]) => position },
  )
  .map((all) => all.toSorted(([a], [b]) => a - b));

test('come back as they were', () => {
  fc.assert(
    fc.property(buckets, (given) => {
      expect(decode(encode(given))).toEqual(given);
    }),
    { numRuns: 1000 },
  );
});

test('the ends of what a bucket can be come back', () => {
  const ends: Buckets = [
    [-(2 ** 21), 2 ** 52],
    [0, 1],
    [2 ** 21, 2 ** 52],
  ];
  expect(decode(encode(ends))).toEqual(ends);
});

/** As varints: 2 · count, and 1 more where empty positions come before it, whose number follows. */
function varintBytes(given: Buckets): number {
  const w = new ByteWriter();
  given.forEach(([position, count], i) => {
    const empty = i === 0 ? 0 : position - given[i - 1]![0] - 1;
    w.varint(2 * count + (empty > 0 ? 1 : 0));
    if (empty > 0) w.varint(empty);
  });
  return w.length;
}

test.each([
  [300, 0.6],
  [3000, 0.6],
  [30_000, 0.65],
  [1_000_000, 0.75],
])('of one distribution of %d values take at most %d of what varints do', (values, share) => {
  const random = new SeededRandom(3);
  const counts = new Map<number, number>();
  for (let i = 0; i < values; i++) {
    const amount = 1 + Math.floor((random.uint32() / 2 ** 32) * (random.uint32() / 2 ** 32) * 20_000);
    const position = Math.ceil(Math.log(amount) * 50);
    counts.set(position, (counts.get(position) ?? 0) + 1);
  }
  const given = [...counts].sort(([a], [b]) => a - b);
  expect(encode(given).length).toBeLessThan(share * varintBytes(given));
});

describe('damaged bytes', () => {
  test('end in an error of their own or in other buckets, whatever they are', () => {
    fc.assert(
      fc.property(buckets, fc.nat(), fc.integer({ min: 1, max: 255 }), (given, at, change) => {
        const bytes = encode(given);
        bytes[at % bytes.length]! ^= change;
        try {
          for (const [, count] of decode(bytes)) expect(count >= 1 && count <= 2 ** 52).toBe(true);
        } catch (error) {
          expect(error).toBeInstanceOf(CorruptBytesError);
        }
      }),
      { numRuns: 1000 },
    );
  });

  test('are refused where they hold too many buckets, end too early or go on', () => {
    const given: Buckets = [
      [3, 10],
      [4, 12],
      [9, 1],
    ];
    const bytes = encode(given);
    expect(() => decode(bytes, { ...BOUNDS, lengthMax: 2 })).toThrow(/3 buckets where 1 to 2 are kept/);
    expect(() => decode(bytes, { ...BOUNDS, positionMax: 8 })).toThrow(/in bucket 9/);
    const cut = bytes.slice(0, -1);
    cut[2]! -= 1;
    expect(() => decode(cut)).toThrow(CorruptBytesError);
    const longer = Uint8Array.of(...bytes, 0);
    longer[2]! += 1;
    expect(() => decode(longer)).toThrow(/another length/);
  });
});
