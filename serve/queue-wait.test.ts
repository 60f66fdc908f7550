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
  const changes = requests.flatMap(([from, to]) => [[from, 1] as const, [to, -1] as const]);
  for (const [atMs, slots] of changes.sort(([a], [b]) => a - b)) wait.change(slots, atMs);
  expect(wait.end(20, 1)).toBe(meanTimeInFlight(requests));
});

test('a store that is slow is no queue: the event loop has time to spare', () => {
  const wait = new QueueWait(0);
  wait.change(100, 0);
  wait.change(-50, 20);
  expect(wait.end(20, 0.89)).toBe(0);
  // What is still in flight counts on in the next interval, and only there.
  wait.change(-50, 40);
  expect(wait.end(40, 0.9)).toBe(20);
  expect(wait.end(60, 1)).toBe(0);
});

test('where nothing was answered, what is in flight has waited for long', () => {
  const wait = new QueueWait(0);
  wait.change(3, 0);
  expect(wait.end(20, 1)).toBe(60);
});

test('an event loop says how busy it is, until it is asked no more', async () => {
  const shares: number[] = [];
  const end = watchUtilization((busy) => shares.push(busy));
  const WAIT = { what: 'an interval', timeoutMs: 30_000 };
  await waitUntil(() => shares.length >= 3, WAIT);
  for (const share of shares) expect(share).toBeGreaterThanOrEqual(0);
  const before = shares.length;
  const untilMs = performance.now() + 200;
  while (performance.now() < untilMs);
  await waitUntil(() => shares.length > before, WAIT);
  expect(shares[before]).toBeGreaterThan(0.9);
  expect(Math.max(...shares)).toBeLessThanOrEqual(1);
  end();
  const ended = shares.length;
  const others: number[] = [];
  const endOther = watchUtilization((busy) => others.push(busy));
  await waitUntil(() => others.length >= 3, WAIT);
  endOther();
  expect(shares).toHaveLength(ended);
});
