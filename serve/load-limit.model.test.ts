/**
 * A process with one thread and a store that answers later, as a model in which time is made of events: what its limit lets in, and how
 * long that takes. A request costs CPU when it comes and when the store has answered; what is refused costs a little. The
 * event loop is always on time, as over a store whose replies wait in sockets.
 */
import { expect, test } from 'vitest';
import { SeededRandom } from '../engine/testing/random.ts';
import { LoadLimit } from './load-limit.ts';
import { QueueWait } from './queue-wait.ts';

interface Load {
  /** Per second, by the time in ms. */
  readonly rate: (atMs: number) => number;
  /** Of a request, without its store. */
  readonly cpuMs: number;
  readonly storeMs: number;
  /** Requests that come at once. @default 1 */
  readonly burst?: number;
  /** A Poisson process instead of equal gaps. @default false */
  readonly isRandom?: boolean;
  /** Nothing is done for so long, every two seconds: somebody else had the core. @default 0 */
  readonly stallMs?: number;
}

interface Outcome {
  readonly admittedPerSecond: number;
  readonly shedShare: number;
  readonly p99Ms: number;
}

const SECONDS = 20;
/** Judged from then on, from the first moment of an overload that begins with it. */
const FROM_MS = 3_000;
const REFUSAL_MS = 0.05;
const WAIT_EVERY_MS = 20;
const DELAY_EVERY_MS = 100;
const STALL_EVERY_MS = 2_000;
const SEED = 20261129;

function run({ rate, cpuMs, storeMs, burst = 1, isRandom = false, stallMs = 0 }: Load): Outcome {
  const random = new SeededRandom(SEED);
  const around = (mean: number): number => mean * (0.8 + random.below(401) / 1000);
  const limit = new LoadLimit({ inFlight: 256, targetDelayMs: 5 });
  const wait = new QueueWait(0);
  const events: { readonly atMs: number; readonly happen: () => void }[] = [];
  let nowMs = 0;
  let freeMs = 0;
  let busyMs = 0;
  let inFlight = 0;
  let peak = 0;
  let shed = 0;
  const latencies: number[] = [];

  const at = (atMs: number, happen: () => void): void => {
    let i = events.length;
    while (i > 0 && events[i - 1]!.atMs > atMs) i--;
    events.splice(i, 0, { atMs, happen });
  };
  /** When it is done, behind all that is there to be done. */
  const work = (ms: number): number => {
    freeMs = Math.max(freeMs, nowMs) + ms;
    busyMs += ms;
    return freeMs;
  };
  const request = (): void => {
    const cameMs = nowMs;
    if (inFlight > 0 && inFlight + 1 > limit.of('serving')) {
      work(REFUSAL_MS);
      if (cameMs >= FROM_MS) shed++;
      return;
    }
    inFlight++;
    peak = Math.max(peak, inFlight);
    wait.begin(nowMs);
    at(work(0.4 * cpuMs) + around(storeMs), () =>
      at(work(around(0.6 * cpuMs)), () => {
        inFlight--;
        wait.end(nowMs);
        if (cameMs >= FROM_MS) latencies.push(nowMs - cameMs);
      }),
    );
  };
  const arrive = (): void => {
    const gap = isRandom ? -Math.log((1 + random.below(1_000_000)) / 1_000_000) : 1;
    at(nowMs + (gap * 1000 * burst) / rate(nowMs), arrive);
    for (let i = 0; i < burst; i++) request();
  };
  let lookedMs = 0;
  let servedMost = 0;
  const look = (): void => {
    // What was begun and is not done yet is work of the next interval.
    const later = Math.max(0, freeMs - nowMs);
    const busy = Math.min(1, (busyMs - later) / (nowMs - lookedMs));
    limit.observeWait(wait.endInterval(nowMs, busy), busy, { serving: peak, ingest: 0 });
    busyMs = later;
    lookedMs = nowMs;
    servedMost = Math.max(servedMost, peak);
    peak = inFlight;
    at(nowMs + WAIT_EVERY_MS, look);
  };
  const lookAtDelay = (): void => {
    limit.observe(0, servedMost);
    servedMost = inFlight;
    at(nowMs + DELAY_EVERY_MS, lookAtDelay);
  };
  const stall = (): void => {
    work(stallMs);
    at(nowMs + STALL_EVERY_MS, stall);
  };
  at(STALL_EVERY_MS, stall);
  at(0, arrive);
  at(WAIT_EVERY_MS, look);
  at(DELAY_EVERY_MS, lookAtDelay);
  while (events[0]!.atMs < 1000 * SECONDS) {
    const { atMs, happen } = events.shift()!;
    nowMs = atMs;
    happen();
  }
  latencies.sort((a, b) => a - b);
  return {
    admittedPerSecond: latencies.length / (SECONDS - FROM_MS / 1000),
    shedShare: shed / (shed + latencies.length),
    p99Ms: latencies[Math.floor(0.99 * latencies.length)]!,
  };
}

const CPU_MS = 0.25;
const CAPACITY = 1000 / CPU_MS;

test.each([
  [0.5, 1],
  [8, 1],
  [50, 1],
  [0.5, 10],
  [50, 10],
])(
  'at 0.92 times what it can, over a store that takes %d ms, hardly anything is shed: bursts of %d',
  (storeMs, burst) => {
    // A process that was never idle does not know its store.
    const rate = (atMs: number): number => (atMs < 1_000 ? 0.3 : 0.92) * CAPACITY;
    const { shedShare, p99Ms } = run({ rate, cpuMs: CPU_MS, storeMs, burst });
    expect(shedShare).toBeLessThan(0.01);
    expect(p99Ms).toBeLessThan(1.2 * storeMs + 5);
  },
);

test.each([
  [CPU_MS, 0.5],
  [CPU_MS, 8],
  [1.2, 0.5],
  [1.2, 8],
])(
  'at 1.5 times what it can, requests of %d ms are answered as fast as it can, and in time: a store of %d ms',
  (cpuMs, storeMs) => {
    const capacity = 1000 / cpuMs;
    const rate = (atMs: number): number => (atMs < FROM_MS ? capacity / 4 : 1.5 * capacity);
    const { admittedPerSecond, shedShare, p99Ms } = run({ rate, cpuMs, storeMs });
    // Refusals cost some.
    expect(admittedPerSecond).toBeGreaterThan(0.75 * capacity);
    expect(shedShare).toBeGreaterThan(0.25);
    expect(p99Ms).toBeLessThan(storeMs + 10);
  },
);

test.each([
  [20, 0.011],
  [60, 0.05],
])('a stall of %d ms at 0.85 times what it can, every two seconds, is soon forgotten', (stallMs, shedMax) => {
  const rate = (atMs: number): number => (atMs < 1_000 ? 0.3 : 0.85) * CAPACITY;
  const { shedShare } = run({ rate, cpuMs: CPU_MS, storeMs: 0.5, isRandom: true, stallMs });
  expect(shedShare).toBeLessThan(shedMax);
});

test('at 0.92 times what it can, requests that come at random are hardly shed, and in time', () => {
  const rate = (atMs: number): number => (atMs < 1_000 ? 0.3 : 0.92) * CAPACITY;
  const { shedShare, p99Ms } = run({ rate, cpuMs: CPU_MS, storeMs: 0.5, isRandom: true });
  expect(shedShare).toBeLessThan(0.012);
  expect(p99Ms).toBeLessThan(10);
});
