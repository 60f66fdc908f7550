import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { SimulatedEvent } from './load-features.ts';
import { runSimulator } from './run-simulator.ts';

function* everyTenMs({ startMs }: { startMs: number }): Generator<SimulatedEvent> {
  for (let n = 0; ; n++) yield { source: 's', data: { n, startMs }, atMs: startMs + 10 * n };
}

beforeEach(() => {
  vi.useFakeTimers({ now: 1_000_000 });
});
afterEach(() => {
  vi.useRealTimers();
});

describe('the simulator in real time', () => {
  const start = (
    push: (source: string, events: readonly unknown[]) => Promise<unknown>,
    simulate: Parameters<typeof runSimulator>[0]['simulate'] = everyTenMs,
    errors: unknown[] = [],
  ) =>
    runSimulator({
      simulate,
      seed: 1,
      ratePerSecond: 100,
      nowMs: Date.now,
      push,
      onError: (e) => errors.push(e),
    });

  it('pushes each event when its moment has come, and nothing after it was stopped', async () => {
    const pushed: number[] = [];
    const run = start(async (source, events) => {
      expect(source).toBe('s');
      for (const event of events) {
        const { n, startMs } = event as { n: number; startMs: number };
        expect(Date.now()).toBeGreaterThanOrEqual(startMs + 10 * n);
        pushed.push(n);
      }
    });
    await vi.advanceTimersByTimeAsync(1_000);
    expect(pushed.length).toBeGreaterThan(90);
    expect(pushed).toEqual(pushed.map((_, i) => i));
    expect(run.pushed).toBe(pushed.length);
    await run.stop();
    const before = pushed.length;
    await vi.advanceTimersByTimeAsync(1_000);
    expect(pushed).toHaveLength(before);
  });

  it('goes on after a push that failed', async () => {
    const errors: unknown[] = [];
    let pushes = 0;
    const run = start(
      async () => {
        if (pushes++ === 0) throw new Error('overloaded');
      },
      everyTenMs,
      errors,
    );
    await vi.advanceTimersByTimeAsync(500);
    expect(errors).toHaveLength(1);
    expect(pushes).toBeGreaterThan(5);
    await run.stop();
  });

  it('is over when the simulator throws or ends', async () => {
    const errors: unknown[] = [];
    const failing = start(
      async () => {},
      () => {
        throw new Error('broken');
      },
      errors,
    );
    await vi.advanceTimersByTimeAsync(500);
    expect(errors).toEqual([new Error('broken')]);
    await failing.stop();
    const ending = start(
      async () => {},
      () => [],
    );
    await vi.advanceTimersByTimeAsync(500);
    expect(vi.getTimerCount()).toBe(0);
    await ending.stop();
  });

  it('leaves out what was missed while the machine slept', async () => {
    const batches: number[] = [];
    const run = start(async (_, events) => {
      batches.push(events.length);
    });
    await vi.advanceTimersByTimeAsync(100);
    vi.setSystemTime(Date.now() + 3_600_000);
    await vi.advanceTimersByTimeAsync(200);
    expect(Math.max(...batches)).toBeLessThan(20);
    expect(batches.length).toBeGreaterThan(4);
    await run.stop();
  });
});
