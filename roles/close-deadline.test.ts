import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { CloseDeadline } from './close-deadline.ts';

const never = new Promise<never>(() => {});

beforeEach(() => void vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] }));
afterEach(() => void vi.useRealTimers());

test('steps that hang one after the other take one share of the time, not the sum', async () => {
  const deadline = new CloseDeadline(20_000);
  const first = deadline.settled(0.25, never);
  vi.advanceTimersByTime(4_999);
  const early = vi.fn();
  void first.then(early);
  await Promise.resolve();
  expect(early).not.toHaveBeenCalled();
  vi.advanceTimersByTime(1);
  expect(await first).toBe(false);
  const second = deadline.settled(0.5, never);
  vi.advanceTimersByTime(5_000);
  expect(await second).toBe(false);
  // Its time has passed: it is begun all the same, and not waited for.
  const third = deadline.settled(0.5, never);
  vi.advanceTimersByTime(0);
  expect(await third).toBe(false);
});

test('what ends in time is not waited for any longer, whether it failed or not', async () => {
  const deadline = new CloseDeadline(1_000);
  expect(await deadline.settled(1, Promise.resolve())).toBe(true);
  expect(await deadline.settled(1, Promise.reject(new Error('refused')))).toBe(true);
  expect(await deadline.settled(1, undefined)).toBe(true);
  expect(vi.getTimerCount()).toBe(0);
});
