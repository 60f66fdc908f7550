import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { base36 } from './base36.ts';

test('is toString(36)', () => {
  for (let number = 0; number < 50_000; number++) expect(base36(number)).toBe(number.toString(36));
  for (let power = 0; power <= 53; power++)
    for (const number of [2 ** power - 1, 2 ** power])
      if (Number.isSafeInteger(number)) expect(base36(number)).toBe(number.toString(36));
  fc.assert(
    fc.property(fc.nat({ max: Number.MAX_SAFE_INTEGER }), (number) => {
      expect(base36(number)).toBe(number.toString(36));
    }),
    { numRuns: 5000 },
  );
});
