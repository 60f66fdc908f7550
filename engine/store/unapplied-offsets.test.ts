import { expect, test } from 'vitest';
import { ByteReader, ByteWriter } from '../bytes.ts';
import { SeededRandom } from '../testing/random.ts';
import { UnappliedOffsets } from './unapplied-offsets.ts';

const NONE: ReadonlySet<number> = new Set();

function recoded(offsets: UnappliedOffsets): UnappliedOffsets {
  const writer = new ByteWriter(64);
  offsets.encode(writer);
  return UnappliedOffsets.decode(new ByteReader(writer.finish()));
}

test('it is a set of offsets, whatever is added and taken out, also after it was written and read', () => {
  for (let seed = 1; seed <= 50; seed++) {
    const random = new SeededRandom(seed);
    let offsets = UnappliedOffsets.NONE;
    const right = new Set<number>();
    for (let i = 0; i < 40; i++) {
      const added = Array.from({ length: random.below(3) }, (): [number, number] => {
        const first = random.below(60);
        return [first, first + random.between(1, 4)];
      });
      const removed = new Set(Array.from({ length: random.below(4) }, () => random.below(60)));
      for (const [first, end] of added) for (let at = first; at < end; at++) right.add(at);
      for (const offset of removed) right.delete(offset);
      offsets = recoded(offsets.changed({ added, removed }));
      const held = Array.from({ length: 70 }, (_, at) => at).filter((at) => !offsets.isApplied(at));
      expect(held, `seed ${seed}`).toEqual([...right].sort((a, b) => a - b));
    }
  }
});

test('of too many ranges the oldest are forgotten, and it says so', () => {
  let offsets = UnappliedOffsets.NONE;
  for (let i = 0; i < 262; i++) offsets = offsets.changed({ added: [[3 * i, 3 * i + 1]], removed: NONE });
  expect([0, 3, 15].map((offset) => offsets.isApplied(offset))).toEqual([null, null, null]);
  expect([16, 18, 19, 783, 784].map((offset) => offsets.isApplied(offset))).toEqual([
    true,
    false,
    true,
    false,
    true,
  ]);
  const writer = new ByteWriter(64);
  offsets.encode(writer);
  expect(writer.finish().length).toBeLessThan(800);
});

test('where nothing is known it says neither', () => {
  const offsets = UnappliedOffsets.unknownBefore(10);
  expect([9, 10].map((offset) => offsets.isApplied(offset))).toEqual([null, true]);
});
