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

test('of an idle partition that was found to have no record, the watermark is lost', () => {
  const positions = new LostPositions();
  // Not begun yet.
  expect(positions.look([-1, -1])).toEqual([]);
  expect(positions.look([-1, 0])).toEqual([]);
  expect(positions.look([-1, -1])).toEqual([1]);
  expect(positions.look([-1, -1])).toEqual([]);
  // Found by whoever fills it, and lost before anybody looked.
  positions.applied([{ partition: 0, nextOffset: 0 }]);
  expect(positions.look([-1, -1])).toEqual([0]);
});
