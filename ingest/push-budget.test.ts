import { expect, test } from 'vitest';
import { PushBudget } from './push-budget.ts';
import { PushError } from './push-error.ts';

test('pushes are bounded in bytes and in events, and one alone is always taken', () => {
  const budget = new PushBudget(1_000, 10);
  const large = budget.reserve(5_000, 50);
  expect(() => budget.reserve(1, 1)).toThrow(PushError);
  large();
  large();
  expect(budget.inFlightBytes).toBe(0);
  const first = budget.reserve(100, 6);
  budget.reserve(100, 4);
  // Short events: few bytes, and each takes its place in memory all the same.
  expect(() => budget.reserve(1, 1)).toThrow('too many events');
  first();
  budget.reserve(800, 1);
  budget.reserve(100, 1);
  expect(() => budget.reserve(1, 0)).toThrow('too many events');
});
