/**
 * Power losses of embedded mode; what is looked at, and what is not covered, is said in power-loss-run.ts. A longer run:
 * `npm run power-loss -- --times 5000 --seed 7`.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { type Loss, PowerLossRun } from './power-loss-run.ts';
import type { Lie } from './recorded-disk.ts';
import { temporaryRoot } from './temporary-root.ts';
import { compileRecorder, recorderProblem } from './write-recorder.ts';

const SEED = Number(process.env.TEST_SEED ?? 20_261_128);
const RECORDINGS = 3;

const problem = recorderProblem();
const title = `power loss of embedded mode (TEST_SEED=${SEED})`;

function start({ flush = true } = {}): PowerLossRun {
  const directory = mkdtempSync(join(temporaryRoot(), 'millrace-power-loss-'));
  const library = compileRecorder(directory);
  const run = new PowerLossRun({
    seed: SEED,
    library,
    directory,
    momentsPerRecording: 20,
    momentsAtCreation: 25,
    flush,
  });
  onTestFinished(async () => {
    await run.close();
    rmSync(directory, { recursive: true, force: true });
  });
  return run;
}

const problemsOf = (losses: readonly Loss[]): string => losses.flatMap(({ problems }) => problems).join('\n');

describe.skipIf(problem !== null)(problem === null ? title : `${title} [${problem}]`, () => {
  it('keeps every acknowledged event, once, and an undamaged store', { timeout: 300_000 }, async () => {
    const run = start();
    for (let recording = 0; recording < RECORDINGS; recording++) {
      await run.record();
      expect(await run.explore()).toEqual([]);
    }
    console.log(`power loss: ${JSON.stringify(run.totals)}`);
    const { acknowledged, olderStores, unflushedBytes } = run.totals;
    // Something was at stake.
    expect(acknowledged).toBeGreaterThan(1_000);
    expect(olderStores).toBeGreaterThan(0);
    expect(unflushedBytes).toBeGreaterThan(10_000);
  });

  // Without these the test above could see nothing and pass.
  it('notices a disk that breaks its word', { timeout: 300_000 }, async () => {
    const run = start();
    await run.recordOpened();
    expect(await run.loseEverythingUnflushed(2)).toEqual([]);
    for (const lie of ['flush', 'synced', 'flush-directory'] as const satisfies readonly Lie[]) {
      expect(await run.loseEverythingUnflushed(2, lie), lie).not.toEqual([]);
    }
  });

  it('notices a log that is not flushed', { timeout: 300_000 }, async () => {
    const run = start({ flush: false });
    await run.recordOpened();
    // The store may be ahead of the log then, which the engine refuses.
    const problems = problemsOf(await run.loseEverythingUnflushed(2));
    expect(problems).toMatch(/acknowledged events are lost|LogReplacedError/);
  });
});
