import { expect, test } from 'vitest';
import { waitUntil } from '../services/process/wait-until.ts';
import { QueueWait, watchUtilization } from './queue-wait.ts';

/** Requests as they come and go, each with its own start: the slow twin. */
function meanTimeInFlight(requests: readonly (readonly [fromMs: number, toMs: number])[]): number {
  return requests.reduce((sum, [fromMs, toMs]) => sum + toMs - fromMs, 0) / requests.length;
}

test('is the mean time in flight of a busy event loop', () => {
  const requests = [
    [0, 10],
    [2, 12],
    [3, 19],
    [11, 20],
  ] as const;
  const wait = new QueueWait(0);
  const changes = requests.flatMap(([from, to]) => [[from, 'begin'] as const, [to, 'end'] as const]);
  for (const [atMs, change] of changes.sort(([a], [b]) => a - b)) wait[change](atMs);
  const inFlightMs = meanTimeInFlight(requests);
  // 45 ms of requests in 20 ms: 2.25 at a time, of which one is at work.
  expect(wait.endInterval(20, 1)).toEqual({ inFlightMs, queuedMs: inFlightMs * (1 - 1 / 2.25) });
});

/** An interval of 20 ms in which `count` requests are in flight all the time, and end with it. */
function interval(wait: QueueWait, fromMs: number, { count, busy }: { count: number; busy: number }) {
  for (let i = 0; i < count; i++) wait.begin(fromMs);
  for (let i = 0; i < count; i++) wait.end(fromMs + 20);
  return wait.endInterval(fromMs + 20, busy);
}

test('a store that is slow is no queue: it is as slow while there is time to spare', () => {
  const wait = new QueueWait(0);
  expect(interval(wait, 0, { count: 50, busy: 0.69 })).toEqual({ inFlightMs: 20, queuedMs: 0 });
  expect(interval(wait, 20, { count: 100, busy: 0.9 })).toEqual({ inFlightMs: 20, queuedMs: 0 });
  // What it takes with time to spare is a mean that follows what it takes now.
  wait.begin(40);
  wait.end(52);
  wait.endInterval(60, 0.1);
  expect(interval(wait, 60, { count: 100, busy: 1 })).toEqual({ inFlightMs: 20, queuedMs: 1 });
  // Nobody asks.
  expect(wait.endInterval(100, 0)).toEqual({ inFlightMs: 0, queuedMs: 0 });
  // With little to spare there may be a queue already.
  wait.begin(100);
  wait.endInterval(120, 0.7);
  wait.end(120);
  wait.endInterval(140, 0.89);
  expect(interval(wait, 140, { count: 20, busy: 1 }).queuedMs).toBe(1);
  expect(interval(wait, 160, { count: 1, busy: 1 }).queuedMs).toBe(0);
});

test('where nothing was answered, nothing has waited for longer than the interval', () => {
  const wait = new QueueWait(0);
  for (let i = 0; i < 3; i++) wait.begin(0);
  for (const atMs of [20, 40, 60]) expect(wait.endInterval(atMs, 1).inFlightMs).toBe(20);
});

test('an event loop says how busy it is, until it is asked no more', async () => {
  const shares: number[] = [];
  const end = watchUtilization((busy) => shares.push(busy));
  const WAIT = { what: 'an interval', timeoutMs: 30_000 };
  await waitUntil(() => shares.length >= 3, WAIT);
  for (const share of shares) expect(share).toBeGreaterThanOrEqual(0);
  const before = shares.length;
  const untilMs = performance.now() + 1_000;
  while (performance.now() < untilMs);
  await waitUntil(() => shares.length > before, WAIT);
  expect(shares[before]).toBeGreaterThan(0.5);
  expect(Math.max(...shares)).toBeLessThanOrEqual(1);
  end();
  const ended = shares.length;
  const others: number[] = [];
  const endOther = watchUtilization((busy) => others.push(busy));
  await waitUntil(() => others.length >= 3, WAIT);
  endOther();
  expect(shares).toHaveLength(ended);
});
