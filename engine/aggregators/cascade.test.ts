import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { ByteWriter } from '../bytes.ts';
import { Cascade } from './cascade.ts';
import { Expansion } from './expansion.ts';
import { doubles } from './testing/row-samples.ts';

function bytesOf(sum: Expansion): Uint8Array {
  const w = new ByteWriter();
  sum.encode(w);
  return w.finish();
}

test('a cascade loses nothing, whichever cell a value is added to, and is empty after a flush', () => {
  const cascade = new Cascade();
  fc.assert(
    fc.property(fc.array(fc.tuple(doubles, fc.nat({ max: 4 })), { maxLength: 40 }), (terms) => {
      const direct = new Expansion();
      const sum = new Expansion();
      for (const [value, from] of terms) {
        direct.add(value);
        cascade.add(value, from, sum);
      }
      cascade.flush(sum);
      expect(bytesOf(sum)).toEqual(bytesOf(direct));
      cascade.flush(sum);
      expect(bytesOf(sum)).toEqual(bytesOf(direct));
    }),
    { numRuns: 500 },
  );
});
