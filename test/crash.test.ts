/**
 * SIGKILL during ingest, again and again on the same data: what was acknowledged counts exactly once.
 *
 * Not tested here: power loss (the kernel keeps what a killed process wrote), see power-loss/.
 */
import { describe, expect, it } from 'vitest';
import { counters, fixture, push, type Server, startUp, temporaryDirectory, up } from './millrace-process.ts';

const SEED = Number(process.env.TEST_SEED ?? 20_240_601);
const ROUNDS = 5;
const WRITERS = 4;
const KEYS = ['a', 'b', 'c'];

/** Uniform numbers of [0, 1) (mulberry32). */
function uniformNumbers(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b_79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

interface Click {
  readonly id: string;
  readonly at: string;
  readonly key: string;
  readonly n: number;
}

/** What the writers know. */
class Books {
  /** Counts per key that the server acknowledged. */
  readonly clicks = new Map(KEYS.map((key) => [key, 0]));
  readonly anonymous = new Map(KEYS.map((key) => [key, 0]));
  /** Pushes that got no answer: recorded or not. */
  readonly unknownClicks: Click[] = [];
  readonly unknownAnonymous = new Map(KEYS.map((key) => [key, 0]));
  acknowledgedPushes = 0;
}

const add = (counts: Map<string, number>, key: string): void => {
  counts.set(key, counts.get(key)! + 1);
};

describe(`SIGKILL during ingest (TEST_SEED=${SEED})`, () => {
  it(`${ROUNDS} times: every acknowledged event counts exactly once`, { timeout: 180_000 }, async () => {
    const uniform = uniformNumbers(SEED);
    const pick = <T>(values: readonly T[]): T => values[Math.floor(uniform() * values.length)]!;
    const args = ['--features', fixture('counter'), '--data-dir', temporaryDirectory()];
    const books = new Books();
    let nextId = 0;

    /** Pushes until the server is gone. */
    const writer = async (server: Server): Promise<void> => {
      for (;;) {
        const at = new Date().toISOString();
        const size = 1 + Math.floor(uniform() * 20);
        const batch = Array.from({ length: size }, () => ({ id: `${nextId++}`, at, key: pick(KEYS), n: 1 }));
        if (uniform() < 0.7) {
          try {
            await push(server, 'clicks', batch, pick(['', '?wait=applied']));
          } catch {
            books.unknownClicks.push(...batch);
            return;
          }
          for (const { key } of batch) add(books.clicks, key);
        } else {
          try {
            await push(
              server,
              'anonymous',
              batch.map(({ key }) => ({ at, key })),
              '',
            );
          } catch {
            for (const { key } of batch) add(books.unknownAnonymous, key);
            return;
          }
          for (const { key } of batch) add(books.anonymous, key);
        }
        books.acknowledgedPushes++;
      }
    };

    for (let round = 0; round < ROUNDS; round++) {
      const server = await up(args);
      const killAt = books.acknowledgedPushes + 20 + Math.floor(uniform() * 150);
      const writers = Array.from({ length: WRITERS }, () => writer(server));
      const killer = (async () => {
        while (books.acknowledgedPushes < killAt) await new Promise((resolve) => setImmediate(resolve));
        return server.process.end('SIGKILL');
      })();
      expect(await killer).toEqual({ code: null, signal: 'SIGKILL' });
      await Promise.all(writers);
      if (round % 2 === 0) {
        // And once while it starts: as soon as it listens, wherever its catching up is.
        const starting = startUp(args);
        await starting.waitForOutput(/listens on/);
        await starting.end('SIGKILL');
      }
    }

    const server = await up(args);
    for (const key of KEYS) {
      const { clicks_30d: clicks, anonymous_30d: anonymous } = await counters(server, key);
      const unknown = books.unknownClicks.filter((click) => click.key === key).length;
      expect(clicks, `clicks of ${key}`).toBeGreaterThanOrEqual(books.clicks.get(key)!);
      expect(clicks, `clicks of ${key}`).toBeLessThanOrEqual(books.clicks.get(key)! + unknown);
      expect(anonymous, `anonymous of ${key}`).toBeGreaterThanOrEqual(books.anonymous.get(key)!);
      expect(anonymous).toBeLessThanOrEqual(books.anonymous.get(key)! + books.unknownAnonymous.get(key)!);
    }
    // A producer that got no answer sends again; with event ids the numbers are then known exactly.
    if (books.unknownClicks.length > 0) await push(server, 'clicks', books.unknownClicks);
    for (const key of KEYS) {
      const unknown = books.unknownClicks.filter((click) => click.key === key).length;
      const { clicks_30d: clicks, n_sum_30d: sum } = await counters(server, key);
      expect(clicks, `clicks of ${key}`).toBe(books.clicks.get(key)! + unknown);
      expect(sum).toBe(clicks);
    }
    expect(await server.process.end('SIGTERM')).toEqual({ code: 0, signal: null });
  });
});
