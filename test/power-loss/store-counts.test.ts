/** What the lmdb tile store promises of power losses, where the runs of power-loss.test.ts come by rarely. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it, onTestFinished } from 'vitest';
import { SeededRandom } from '../../engine/testing/random.ts';
import { type Disk, EMPTY_DISK, writeDisk } from './disk.ts';
import { SOURCE_ARGS } from './examiner-process.ts';
import { LEFTOVERS, type Leftovers, RecordedDisk } from './recorded-disk.ts';
import { temporaryRoot } from './temporary-root.ts';
import { readRecords, type WriteRecord } from './write-record.ts';
import { compileRecorder, recorderProblem, startRecorded } from './write-recorder.ts';

const SEED = Number(process.env.TEST_SEED ?? 20_261_128);
const PROGRAM = fileURLToPath(new URL('./store-counts.ts', import.meta.url));
const problem = recorderProblem();
const title = `power loss of a store (TEST_SEED=${SEED})`;

describe.skipIf(problem !== null)(problem === null ? title : `${title} [${problem}]`, () => {
  it('keeps what it says is flushed', { timeout: 120_000 }, async () => {
    const counting = new Counting();
    const records = await counting.record({ lives: [24], flushEvery: 4, flushUs: 5_000 });
    const moments = counting.outputs(records, /^flushed (\d+)/);
    expect(moments.length).toBeGreaterThan(3);
    const { found } = counting.afterPowerLosses(
      records,
      moments.map(({ record }) => ({ record: record + 1, leftovers: 'none' })),
    );
    for (const [i, { number }] of moments.entries())
      expect(found[i], `flushed ${number}`).toEqual([number, number, number]);
  });

  it('is whole after kills and restarts, and then a power loss', { timeout: 240_000 }, async () => {
    const counting = new Counting();
    // Flushes take long: a process that is killed has not flushed its last transaction.
    const lives = [20, 1, 1, 1, 6];
    const records = await counting.record({ lives, flushEvery: Number.POSITIVE_INFINITY, flushUs: 100_000 });
    const [, restart] = counting.outputs(records, /^opening/);
    const random = new SeededRandom(SEED);
    const moments = Array.from({ length: records.length - restart!.record }, (_, i) => ({
      record: restart!.record + 1 + i,
      leftovers: random.pick(Object.keys(LEFTOVERS) as Leftovers[]),
    }));
    const { found, unflushedBytes } = counting.afterPowerLosses(records, moments);
    for (const [i, numbers] of found.entries())
      expect(new Set<unknown>(numbers).size, `${JSON.stringify(moments[i])}: ${numbers}`).toBe(1);
    // Something was at stake.
    expect(Math.max(...unflushedBytes)).toBeGreaterThan(20_000);
  });
});

class Counting {
  readonly #directory = realpathSync(mkdtempSync(join(temporaryRoot(), 'millrace-store-counts-')));
  readonly #library = compileRecorder(this.#directory);

  constructor() {
    onTestFinished(() => rmSync(this.#directory, { recursive: true, force: true }));
  }

  /** What processes one after another write within one boot of the machine, each killed once it has made so many numbers visible. */
  async record(of: {
    lives: readonly number[];
    flushEvery: number;
    flushUs: number;
  }): Promise<WriteRecord[]> {
    const journal = join(this.#directory, 'journal');
    const watch = join(this.#directory, 'live');
    mkdirSync(join(watch, 'store'), { recursive: true });
    let records: WriteRecord[] = [];
    for (const [life, numbers] of of.lives.entries()) {
      const child = startRecorded(
        [...SOURCE_ARGS, PROGRAM, 'count', join(watch, 'store'), String(of.flushEvery)],
        {
          library: this.#library,
          watch,
          journal,
          firstRecord: records.length,
          flushUs: of.flushUs,
          seed: SEED + life,
          bootId: '12345678-0000-0000-0000-000000000000',
        },
      );
      let stdout = '';
      let stderr = '';
      child.stdout!.setEncoding('utf8').on('data', (text: string) => {
        stdout += text;
        if (stdout.split('visible').length > numbers) child.kill('SIGKILL');
      });
      child.stderr!.setEncoding('utf8').on('data', (text: string) => {
        stderr += text;
      });
      const signal = await new Promise((resolve) => child.once('close', (_, ending) => resolve(ending)));
      if (signal !== 'SIGKILL') throw new Error(`the process ended by itself\n${stdout}\n${stderr}`);
      records = readRecords(readFileSync(journal)).records;
    }
    return records;
  }

  outputs(records: readonly WriteRecord[], pattern: RegExp): { record: number; number: number }[] {
    return records.flatMap((written, record) => {
      const match = written.kind === 'output' ? pattern.exec(written.text) : null;
      return match === null ? [] : [{ record, number: Number(match[1]) }];
    });
  }

  /** What can be read of the three states after each; a text where that is not what was written. */
  afterPowerLosses(
    records: readonly WriteRecord[],
    moments: readonly { readonly record: number; readonly leftovers: Leftovers }[],
  ): { found: (number[] | string)[]; unflushedBytes: number[] } {
    const random = new SeededRandom(SEED);
    const start: Disk = { ...EMPTY_DISK, directories: ['store'] };
    const disk = new RecordedDisk(start, records);
    const unflushedBytes: number[] = [];
    const paths = moments.map(({ record, leftovers }, i) => {
      const path = join(this.#directory, `left-${i}`);
      disk.advance(record);
      unflushedBytes.push(disk.unflushedBytes());
      writeDisk(path, disk.afterPowerLoss(leftovers, random));
      return join(path, 'store');
    });
    const output = execFileSync(process.execPath, [...SOURCE_ARGS, PROGRAM, 'read', ...paths], {
      encoding: 'utf8',
      // Another boot.
      env: { ...process.env, NODE_OPTIONS: '' },
    });
    const lines = output.trim().split('\n');
    return { found: lines.map((line) => JSON.parse(line)), unflushedBytes };
  }
}
