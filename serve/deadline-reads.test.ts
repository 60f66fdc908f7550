/** Waiting until a time and no longer: a late answer is not used, and reads of so many states are given up at most. */
import { Worker } from 'node:worker_threads';
import { expect, test } from 'vitest';
import type { ReadState } from '../engine/store/tile-store.ts';
import { type Deferred, deferred } from '../roles/deferred.ts';
import { LATE, settledBy, waitingEndsMs } from './deadline.ts';
import { DeadlineReads, ReadFailure } from './deadline-reads.ts';

const NO_TIME = Number.POSITIVE_INFINITY;
const inMs = (ms: number): number => performance.now() + ms;

/** Answers when it is told to, which may be never. */
class SilentStore {
  readonly asked: Deferred<ReadState[]>[] = [];

  read(): Promise<ReadState[]> {
    const answer = deferred<ReadState[]>();
    this.asked.push(answer);
    return answer.promise;
  }
}

test('a tenth of the deadline is kept for making the answer, at most 5 ms, and what has passed of it', () => {
  const before = performance.now();
  const ends = [waitingEndsMs(20, 0), waitingEndsMs(1_000, 0), waitingEndsMs(1_000, 400)];
  const after = performance.now();
  [18, 995, 595].forEach((left, i) => {
    // Sums of such numbers are a little off.
    expect(ends[i]).toBeGreaterThanOrEqual(before + left - 0.001);
    expect(ends[i]).toBeLessThanOrEqual(after + left + 0.001);
  });
});

test('a promise that never settles ends at the deadline, one that settles later is dropped', async () => {
  const late = deferred<string>();
  expect(await settledBy(late.promise, inMs(5))).toBe(LATE);
  // Were it not handled the test run would fail.
  late.reject(new Error('too late'));
  expect(await settledBy(new Promise(() => {}), inMs(-1))).toBe(LATE);
  expect(await settledBy(Promise.resolve('in time'), inMs(60_000))).toBe('in time');
  await expect(settledBy(Promise.reject(new Error('no')), inMs(60_000))).rejects.toThrow('no');
  expect(await settledBy(Promise.resolve('however late'), NO_TIME)).toBe('however late');
});

test('what came while the thread was busy has come in time', async () => {
  const flag = new Int32Array(new SharedArrayBuffer(4));
  const answering = `
    const { parentPort, workerData } = require('node:worker_threads');
    parentPort.once('message', () => {
      parentPort.postMessage('answer');
      Atomics.store(workerData, 0, 1);
      Atomics.notify(workerData, 0);
    });
    parentPort.postMessage('ready');`;
  const worker = new Worker(answering, { eval: true, workerData: flag });
  try {
    const received = () => new Promise((resolve) => worker.once('message', resolve));
    await received();
    // From here timers come before messages, as after any longer piece of work.
    await new Promise(setImmediate);
    const answer = received();
    worker.postMessage('question');
    const untilMs = inMs(10);
    const outcome = settledBy(answer, untilMs);
    // Busy until the answer lies there and the deadline has passed.
    Atomics.wait(flag, 0, 0);
    while (performance.now() <= untilMs + 5);
    expect(await outcome).toBe('answer');
  } finally {
    await worker.terminate();
  }
});

test('reads that are given up count until they are over; beyond the limit the store is not asked', async () => {
  const store = new SilentStore();
  const reads = new DeadlineReads(store, { abandonedMax: 4 });
  const requests = ['a', 'b'].map((key) => ({ address: { namespace: '0', key, shard: 0 }, fields: [] }));
  const statusOf = async (untilMs: number) => {
    const states = await reads.read(requests, untilMs);
    return states instanceof ReadFailure ? states.status : 'read';
  };
  // Long enough for the store to be asked, on a machine however busy.
  expect(await Promise.all([statusOf(inMs(500)), statusOf(inMs(500))])).toEqual(['timed_out', 'timed_out']);
  expect(reads.abandoned).toBe(4);
  expect(await statusOf(inMs(60_000))).toBe('error');
  expect(store.asked).toHaveLength(2);
  // Too late to be used, or to fail anybody.
  store.asked[0]!.resolve([]);
  store.asked[1]!.reject(new Error('too late'));
  await store.asked[1]!.promise.catch(() => {});
  await Promise.resolve();
  expect(reads.abandoned).toBe(0);
  const next = statusOf(inMs(60_000));
  store.asked[2]!.resolve([]);
  expect(await next).toBe('read');
  const failing = statusOf(inMs(60_000));
  store.asked[3]!.reject(new Error('no'));
  expect(await failing).toBe('error');
  expect(reads.abandoned).toBe(0);
});

test('the store is not asked after the deadline', async () => {
  const store = new SilentStore();
  const outcome = await new DeadlineReads(store).read([], inMs(-1));
  expect(outcome).toMatchObject({ status: 'timed_out' });
  expect(store.asked).toHaveLength(0);
});
