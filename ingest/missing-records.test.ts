import fc from 'fast-check';
import { expect, test } from 'vitest';
import { MissingRecords } from './missing-records.ts';

test('what was known is not told again, whatever overlaps', () => {
  const missing = new MissingRecords();
  expect(missing.add(5, 10)).toEqual([{ fromOffset: 5, toOffset: 10 }]);
  expect(missing.add(5, 10)).toEqual([]);
  expect(missing.add(3, 12)).toEqual([
    { fromOffset: 3, toOffset: 5 },
    { fromOffset: 10, toOffset: 12 },
  ]);
  expect(missing.add(20, 30)).toEqual([{ fromOffset: 20, toOffset: 30 }]);
  expect(missing.add(12, 20)).toEqual([{ fromOffset: 12, toOffset: 20 }]);
  expect(missing.add(3, 30)).toEqual([]);
});

test('every offset is told exactly once, as with a set of them', () => {
  const ranges = fc.array(fc.tuple(fc.nat(40), fc.integer({ min: 1, max: 12 })), { maxLength: 20 });
  fc.assert(
    fc.property(ranges, (added) => {
      const missing = new MissingRecords();
      const set = new Set<number>();
      for (const [fromOffset, size] of added) {
        const toOffset = fromOffset + size;
        const told = missing
          .add(fromOffset, toOffset)
          .flatMap((range) =>
            Array.from({ length: range.toOffset - range.fromOffset }, (_, i) => range.fromOffset + i),
          );
        const expected = Array.from({ length: size }, (_, i) => fromOffset + i).filter(
          (offset) => !set.has(offset),
        );
        expect(told).toEqual(expected);
        for (const offset of expected) set.add(offset);
      }
    }),
    { seed: 1 },
  );
});
