/**
 * SIGKILL again and again on one log and one archive, while events are appended and archived. After each kill a reader finds no
 * row twice; in the end the archive is the log, row by row. What this does not show: power loss, as the kernel keeps what a
 * killed process wrote; and owners that come back, see archive/archive-owners.test.ts.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { describe, expect, onTestFinished, test } from 'vitest';
import { Archive } from '../archive/archive.ts';
import { PartitionArchiver } from '../archive/partition-archiver.ts';
import { ArchiveQuery } from '../archive/testing/archive-query.ts';
import { archiveAll, SILENT } from '../archive/testing/archived-log.ts';
import { WallClock } from '../engine/clock.ts';
import { SeededRandom } from '../engine/testing/random.ts';
import { jsonRecordDecoder } from '../ingest/decoding/json-record.ts';
import { LmdbLogs } from '../ingest/log/lmdb-logs.ts';
import { PARTITIONS, tapsSource } from './archive-kills/archived-source.mjs';

const SEED = Number(process.env.TEST_SEED ?? 20_261_130);
const TIMES = 30;
/** Behind the opening, or a commit, ms. */
const KILL_AFTER_MS_MAX = 250;
/** In each of which a commit may end. */
const OPERATIONS = ['makeDirectory', 'write', 'flush', 'link', 'list', 'rename', 'rename', 'remove'] as const;
const program = fileURLToPath(new URL('./archive-kills/killed-archive.mjs', import.meta.url));

/** A process, and what it has said. */
class Killed {
  readonly child: ChildProcess;
  said = '';
  readonly loaded: Promise<void>;
  readonly ended: Promise<unknown>;

  constructor(...directories: string[]) {
    this.child = spawn(process.execPath, [program, ...directories], {
      stdio: ['pipe', 'pipe', 'inherit'],
      env: { ...process.env, NODE_OPTIONS: '' },
    });
    this.child.stdout!.setEncoding('utf8').on('data', (text: string) => {
      this.said += text;
    });
    this.loaded = once(this.child.stdout!, 'data').then(() => undefined);
    this.ended = once(this.child, 'close');
  }

  /** @param before the operation before which it kills itself; null: none */
  begin(before: string | null): void {
    this.child.stdin!.write(`${before ?? ''}\n`);
  }

  /** Resolves when it has said so, or something is wrong with it. */
  async until(word: string): Promise<void> {
    while (!this.said.includes(word) && !this.said.includes('error')) await once(this.child.stdout!, 'data');
  }

  async kill(): Promise<void> {
    this.child.kill('SIGKILL');
    await this.ended;
  }
}

async function recordsOf(logDirectory: string): Promise<{ logs: LmdbLogs; expected: string[] }> {
  const logs = await LmdbLogs.open(logDirectory);
  const log = await logs.log('taps', PARTITIONS);
  const expected: string[] = [];
  for (let partition = 0; partition < PARTITIONS; partition++) {
    const { startOffset, endOffset } = await log.ends(partition);
    expect(startOffset).toBe(0);
    for (let fromOffset = 0; fromOffset < endOffset; ) {
      const chunk = await log.read({ partition, fromOffset, maxRecords: 1_000, maxBytes: 1e9 });
      for (const { offset, value } of chunk.records) {
        const text = Buffer.from(value!).toString();
        if (text !== 'no JSON') expected.push(`${partition}/${offset} ${JSON.parse(text).n}`);
      }
      fromOffset = chunk.nextOffset;
    }
  }
  return { logs, expected };
}

describe(`SIGKILL while archiving (TEST_SEED=${SEED})`, () => {
  test(`${TIMES} times: no row twice after any of them, every row once in the end`, {
    timeout: 300_000,
  }, async () => {
    const random = new SeededRandom(SEED);
    const home = await mkdtemp(join(tmpdir(), 'millrace-archive-kills-'));
    onTestFinished(() => rm(home, { recursive: true, force: true, maxRetries: 5 }));
    const logDirectory = join(home, 'log');
    const directory = join(home, 'archive');
    const query = await ArchiveQuery.open();
    let commits = 0;
    /** Kills that left something staged. */
    let amidst = 0;
    let next = new Killed(logDirectory, directory);
    onTestFinished(() => next.kill());
    for (let kill = 0; kill < TIMES; kill++) {
      const killed = next;
      await killed.loaded;
      if (random.chance(0.7)) {
        killed.begin(`${random.pick(OPERATIONS)} ${random.between(1, 10)}`);
        await killed.ended;
      } else {
        killed.begin(null);
        await killed.until(random.chance(0.5) ? 'opened' : 'committed');
        await delay(random.below(KILL_AFTER_MS_MAX));
        await killed.kill();
      }
      next = new Killed(logDirectory, directory);
      expect(killed.said).not.toContain('error');
      commits += killed.said.split('committed').length - 1;
      const positions = await query.positions(directory, 'taps');
      expect(new Set(positions).size, `kill ${kill}`).toBe(positions.length);
      const staged = await query.sql(`SELECT file FROM glob('${directory}/_archive/**/*.staged')`);
      if (staged.length > 0) amidst++;
    }
    await next.kill();

    const { logs, expected } = await recordsOf(logDirectory);
    onTestFinished(() => logs.close());
    const log = await logs.log('taps', PARTITIONS);
    const archive = new Archive({ directory });
    for (let partition = 0; partition < PARTITIONS; partition++) {
      const archiver = new PartitionArchiver({
        archive,
        source: tapsSource!,
        partition,
        log,
        decoder: jsonRecordDecoder(),
        wallClock: new WallClock(),
        observer: SILENT,
      });
      await archiveAll(archiver, log, partition);
    }
    const found = await query.rows(directory, 'taps');
    expect(found.map(({ _partition, _offset, n }) => `${_partition}/${_offset} ${n}`)).toEqual(expected);
    console.log(
      `${TIMES} kills, ${amidst} of them amidst a commit; ${commits} commits, ${found.length} rows`,
    );
    expect(commits).toBeGreaterThan(TIMES / 4);
    expect(amidst).toBeGreaterThan(TIMES / 10);
  });
});
