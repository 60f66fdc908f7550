/**
 * A short kill run; `npm run kills` is the long one, and takes a seed.
 *
 * Not tested here: power loss, as the kernel keeps what a killed process wrote.
 */
import { describe, expect, it } from 'vitest';
import { describeKills } from './describe-kills.ts';
import { runKills } from './kill-run.ts';

const SEED = Number(process.env.TEST_SEED ?? 20_261_128);
const TIMES = 100;

describe(`SIGKILL of the embedded engine (TEST_SEED=${SEED})`, () => {
  it(`${TIMES} times: what was acknowledged is there, once`, { timeout: 600_000 }, async () => {
    const counts = await runKills({ times: TIMES, seed: SEED });
    console.log(describeKills(counts));
    expect(counts.kills).toBe(TIMES);
    // Of each kind enough to mean something; the seed chooses a fourth of each, the moment is the machine's.
    for (const [what, times] of Object.entries(counts.killedWhile)) {
      expect(times, what).toBeGreaterThanOrEqual(3);
    }
    expect(counts.restarts).toBeGreaterThan(TIMES / 2);
    expect(counts.refused).toBeGreaterThan(0);
    expect(counts.acknowledgedPushes).toBeGreaterThan(5 * TIMES);
    expect(counts.unansweredPushes).toBeGreaterThan(0);
  });
});
