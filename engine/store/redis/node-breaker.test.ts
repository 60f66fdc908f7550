/** Its states by a clock moved by hand. Silence, which only a server can keep, is tested in stopped-nodes.test.ts. */
import { describe, expect, it } from 'vitest';
import { StoreUnavailableError } from '../store-errors.ts';
import { NodeBreaker } from './node-breaker.ts';

const ADDRESS = 'redis:6379';
const LOST = new StoreUnavailableError('lost');
const REFUSED = new StoreUnavailableError('refused');

class Bench {
  nowMs = 1_000;
  readonly changes: (string | null)[] = [];
  readonly breaker = new NodeBreaker({
    address: ADDRESS,
    silenceMs: 60_000,
    receivedBytes: () => 0,
    isAnswer: (error) => error === REFUSED,
    onChange: (address, reason) => {
      expect(address).toBe(ADDRESS);
      this.changes.push(reason);
    },
    nowMs: () => this.nowMs,
  });

  async call(outcome: 'answered' | Error, commands = 1): Promise<void> {
    this.breaker.check(commands);
    const replies = outcome === 'answered' ? Promise.resolve([]) : Promise.reject(outcome);
    await this.breaker.follow(replies, commands).catch((error: unknown) => expect(error).toBe(outcome));
  }

  async open(): Promise<void> {
    for (let i = 0; i < 5; i++) await this.call(LOST);
  }

  /** A call that is answered when the returned function is called. */
  begin(commands = 1): () => Promise<unknown> {
    this.breaker.check(commands);
    let answer!: (replies: unknown[]) => void;
    const followed = this.breaker.follow(
      new Promise<unknown[]>((resolve) => {
        answer = resolve;
      }),
      commands,
    );
    return () => {
      answer([]);
      return followed;
    };
  }
}

describe('the breaker of a node', () => {
  it('opens after five calls in a row without an answer, and says so once', async () => {
    const bench = new Bench();
    for (let i = 0; i < 4; i++) await bench.call(LOST);
    await bench.call('answered');
    for (let i = 0; i < 4; i++) await bench.call(LOST);
    expect(bench.breaker.isOpen).toBe(false);
    await bench.call(LOST);
    expect(bench.breaker.isOpen).toBe(true);
    expect(() => bench.breaker.check(1)).toThrow(StoreUnavailableError);
    expect(() => bench.breaker.check(1)).toThrow(ADDRESS);
    expect(bench.changes).toEqual(['lost']);
  });

  it('takes an error that the node answers for an answer', async () => {
    const bench = new Bench();
    for (let i = 0; i < 20; i++) await bench.call(REFUSED);
    expect(bench.breaker.isOpen).toBe(false);
  });

  it('lets one call through after the pause, and closes with its answer', async () => {
    const bench = new Bench();
    await bench.open();
    bench.nowMs += 99;
    expect(() => bench.breaker.check(1)).toThrow('is not asked for now');
    bench.nowMs += 1;
    const answer = bench.begin();
    expect(() => bench.breaker.check(1)).toThrow('is not asked for now');
    expect(bench.breaker.isOpen).toBe(true);
    await answer();
    expect(bench.breaker.isOpen).toBe(false);
    expect(bench.changes).toEqual(['lost', null]);
    await bench.call('answered');
  });

  it('waits twice as long after each try without an answer, up to a second', async () => {
    const bench = new Bench();
    await bench.open();
    const pauses: number[] = [];
    for (let tries = 0; tries < 6; tries++) {
      const fromMs = bench.nowMs;
      for (;;) {
        bench.nowMs++;
        try {
          await bench.call(LOST);
          break;
        } catch (error) {
          expect(error).toBeInstanceOf(StoreUnavailableError);
        }
      }
      pauses.push(bench.nowMs - fromMs);
    }
    expect(pauses).toEqual([100, 200, 400, 800, 1_000, 1_000]);
    expect(bench.changes).toEqual(['lost']);
  });

  it('closes with a late answer to a call from before', async () => {
    const bench = new Bench();
    const late = bench.begin();
    await bench.open();
    expect(bench.breaker.isOpen).toBe(true);
    await late();
    expect(bench.breaker.isOpen).toBe(false);
  });

  it('bounds the commands under way, and takes one call however large', async () => {
    const bench = new Bench();
    const large = bench.begin(10_000);
    expect(() => bench.breaker.check(1)).toThrow('is too far behind');
    await large();
    const half = bench.begin(5_000);
    bench.breaker.check(3_192);
    expect(() => bench.breaker.check(3_193)).toThrow('is too far behind');
    await half();
    bench.breaker.check(8_193);
  });
});
