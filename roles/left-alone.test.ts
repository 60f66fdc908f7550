import { expect, test } from 'vitest';
import { LEFT_ALONE_MS, LeftAlone } from './left-alone.ts';

test('a partition that is waited for and stands still is left alone, however busy the others are', () => {
  const leftAlone = new LeftAlone();
  let nowMs = 0;
  const look = (awaited: readonly number[], nextOffsets: readonly number[]): boolean => {
    nowMs += LEFT_ALONE_MS / 2 + 1;
    return leftAlone.look({ awaited, nextOffsets }, nowMs);
  };
  expect(look([0, 1], [5, 10])).toBe(false);
  expect(look([0, 1], [5, 20])).toBe(false);
  expect(look([0, 1], [5, 30])).toBe(true);
  // Somebody has come.
  expect(look([0, 1], [6, 40])).toBe(false);
  expect(look([0, 1], [6, 40])).toBe(false);
  // Not waited for in between: it is as far as it has to be.
  expect(look([1], [6, 41])).toBe(false);
  expect(look([0], [6, 41])).toBe(false);
  expect(look([0], [6, 41])).toBe(false);
  expect(look([0], [6, 41])).toBe(true);
});
