import { expect, test } from 'vitest';
import { LogRate } from './log-rate.ts';

test('of each kind one line a second, with how many were left out', () => {
  let nowMs = 5_000;
  const rate = new LogRate(() => nowMs);
  expect(rate.admit('a')).toBe(0);
  expect(rate.admit('b')).toBe(0);
  for (let i = 0; i < 10; i++) {
    nowMs += 99;
    expect(rate.admit('a')).toBeNull();
  }
  nowMs += 10;
  expect(rate.admit('a')).toBe(10);
  expect(rate.admit('a')).toBeNull();
  nowMs += 60_000;
  expect(rate.admit('a')).toBe(1);
  expect(rate.admit('b')).toBe(0);
});
