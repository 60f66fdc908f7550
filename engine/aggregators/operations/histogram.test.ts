import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ByteReader, ByteWriter, CorruptBytesError } from '../../bytes.ts';
import { histogram as partial } from '../partials/histogram.ts';
import { answer, nonNull, rowsOf } from '../testing/answer.ts';
import { samples, toBlock } from '../testing/row-samples.ts';

const edgeLists = fc
  .uniqueArray(
    fc.oneof(
      fc.integer({ min: -20, max: 20 }),
      fc.constantFrom(2 ** 53, 2 ** 62, -(2 ** 63), 1e140, -1e140, 0.1, 1e16),
      fc.double({ min: -1e20, max: 1e20, noNaN: true }).map((edge) => edge + 0),
    ),
    { minLength: 1, maxLength: 40 },
  )
  .map((edges) => edges.sort((a, b) => a - b));

describe('histogram', () => {
  test.each(['double', 'integer', 'long', 'timestamp'] as const)('of %s counts every value once', (type) => {
    fc.assert(
      fc.property(samples(type, 15), samples(type, 15), edgeLists, (a, b, edges) => {
        const values = nonNull([...a, ...b].map(({ value }) => value as number | bigint | null));
        const counts = [...edges, Number.POSITIVE_INFINITY].map((edge, bin) => {
          const from = bin === 0 ? Number.NEGATIVE_INFINITY : edges[bin - 1]!;
          return values.filter((value) => from <= value && value < edge).length;
        });
        expect(answer('histogram', type, [a, b], edges)).toEqual(values.length === 0 ? null : counts);
      }),
    );
  });

  test('compares longs with edges by their exact values', () => {
    const longs = [2n ** 53n + 1n, 2 ** 53 - 1, 2n ** 62n - 1n, 2n ** 62n];
    expect(answer('histogram', 'long', [rowsOf(longs)], [2 ** 53, 2 ** 62])).toEqual([1, 2, 1]);
  });

  const edges = Array.from({ length: 256 }, (_, i) => i);
  const wide = partial({ key: 'h', column: 0, storage: 'number', type: 'double', params: edges });

  function bytesOf(values: readonly number[]): Uint8Array {
    const state = wide.create();
    wide.addRows(state, toBlock(rowsOf(values), 'number'), 0, values.length);
    const w = new ByteWriter();
    wide.encode(state, w);
    return w.finish();
  }

  test('takes two or three bytes a filled bin while few are, and one a bin when many are', () => {
    expect(bytesOf([]).length).toBe(1);
    expect(bytesOf([3, 3, 250]).length).toBe(1 + 2 + 3);
    expect(bytesOf(edges).length).toBe(2 + 257);
  });

  test('refuses a bin that does not exist', () => {
    for (const bytes of [
      [1, 0x81, 2, 1],
      [2, 0x80, 2, 1, 0, 1],
      [0x82, 2, ...new Array(257).fill(0)],
    ]) {
      expect(() => wide.absorb(wide.create(), new ByteReader(Uint8Array.from(bytes)))).toThrow(
        CorruptBytesError,
      );
    }
    const last = wide.create() as { counts: Float64Array };
    wide.absorb(last, new ByteReader(Uint8Array.from([1, 0x80, 2, 1])));
    expect(last.counts[256]).toBe(1);
  });
});
