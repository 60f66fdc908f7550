import { expect, test } from 'vitest';
import { LostPositions } from './lost-positions.ts';

test('what stands before where it was seen, or was moved to since, is lost, and told once', () => {
  const positions = new LostPositions();
  expect(positions.look([5, 7])).toEqual([]);
  expect(positions.look([5, 9])).toEqual([]);
  expect(positions.look([4, 9])).toEqual([0]);
  expect(positions.look([4, 9])).toEqual([]);
  positions.applied([{ partition: 1, nextOffset: 12 }]);
  expect(positions.look([4, 9])).toEqual([1]);
  // Further along by another process.
  positions.applied([{ partition: 1, nextOffset: 12 }]);
  expect(positions.look([4, 20])).toEqual([]);
  positions.applied([{ partition: 1, nextOffset: 12 }]);
  expect(positions.look([4, 19])).toEqual([1]);
});
