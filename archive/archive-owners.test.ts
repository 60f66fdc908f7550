/**
 * Owners of one partition that are stopped before every one of their file operations: for good, as by a kill, or for as long as
 * others take to go on. Whatever a reader finds in between, it finds once; in the end everything is there.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { integer, timestamp } from '../engine/definitions/column.ts';
import { streamSource } from '../engine/definitions/stream-source.ts';
import { SeededRandom } from '../engine/testing/random.ts';
import { MemoryEventLog } from '../ingest/log/memory-event-log.ts';
import type { PartitionArchiver } from './partition-archiver.ts';
import { ArchiveQuery } from './testing/archive-query.ts';
import { ArchivedLog, archiveAll } from './testing/archived-log.ts';
import { GatedFiles } from './testing/gated-files.ts';

const SEED = Number(process.env.TEST_SEED ?? 20_261_130);
const NOW_MS = Date.UTC(2026, 10, 30, 12);
const DAY_MS = 86_400_000;
const DAYS = 3;
/** So few that a commit that comes late finds its place free. */
const LIMITS = { commits: 1 };
/** More than a commit has. */
const OPERATIONS_MAX = 200;

const source = streamSource({ name: 'taps', columns: { at: timestamp(), n: integer() }, eventTime: 'at' });

let query: ArchiveQuery;
beforeAll(async () => {
  query = await ArchiveQuery.open();
});

async function emptyArchive(): Promise<ArchivedLog> {
  const directory = await mkdtemp(join(tmpdir(), 'millrace-archive-'));
  onTestFinished(() => rm(directory, { recursive: true, force: true }));
  let identities = 0;
  const log = new MemoryEventLog({ source: 'taps', partitions: 1, random: () => `log ${identities++}` });
  return new ArchivedLog({ source, log, directory, nowMs: NOW_MS });
}

let appended = 0;
const append = (archived: ArchivedLog, count: number): Promise<void> => {
  const events = Array.from({ length: count }, () => ({
    at: NOW_MS - (appended % DAYS) * DAY_MS,
    n: appended++,
  }));
  return archived.append(0, events);
};

const expectedPositions = (archived: ArchivedLog): string[] =>
  archived.accepted.map(({ offset }) => `0/${offset}`).sort();

async function found(archived: ArchivedLog): Promise<string[]> {
  return (await query.positions(archived.directory, 'taps')).sort();
}

/** Some of what is expected, each once. */
async function expectNothingTwice(archived: ArchivedLog, when: string): Promise<void> {
  const positions = await found(archived);
  expect(new Set(positions).size, when).toBe(positions.length);
  const expected = new Set(expectedPositions(archived));
  expect(
    positions.filter((position) => !expected.has(position)),
    when,
  ).toEqual([]);
}

/** An owner at work that can be stopped. */
class Owner {
  readonly files = new GatedFiles();
  readonly archiver: PartitionArchiver;
  /** null: nothing is under way. */
  job: Promise<void> | null = null;

  constructor(archived: ArchivedLog) {
    this.archiver = archived.archiver(archived.archive({ files: this.files, limits: LIMITS }), 0);
  }

  begin(work: () => Promise<void>): void {
    this.job = work().finally(() => {
      this.job = null;
    });
    // Whoever waits for it hears of it.
    this.job.catch(() => {});
  }

  /** Resolves when it stands before an operation, or has done what it was about. */
  async settled(): Promise<void> {
    if (this.job !== null) await Promise.race([this.job, this.files.arrived()]);
  }

  /** Lets it do its next operations, all or so many. @returns whether it is done */
  async go(operations = Number.POSITIVE_INFINITY): Promise<boolean> {
    for (let i = 0; i < operations && this.job !== null; i++) {
      await this.settled();
      this.files.pass();
    }
    await this.settled();
    return this.job === null;
  }
}

describe('owners that are stopped', () => {
  /** What happens after the first owner was stopped before its nth operation, until there are no more of them. */
  async function atEveryOperation(
    then: (archived: ArchivedLog, first: Owner, when: string) => Promise<void>,
  ): Promise<number> {
    for (let n = 0; n < OPERATIONS_MAX; n++) {
      const archived = await emptyArchive();
      await append(archived, 10);
      const first = new Owner(archived);
      // The first commit is done when the second is stopped: there is something to go on from.
      first.begin(() => archiveAll(first.archiver, archived.log, 0));
      await first.go();
      await append(archived, 20);
      first.begin(() => archiveAll(first.archiver, archived.log, 0));
      const isDone = await first.go(n);
      const when = `stopped before operation ${n}, ${first.files.waitsFor}`;
      await expectNothingTwice(archived, when);
      await then(archived, first, when);
      expect(await found(archived), when).toEqual(expectedPositions(archived));
      if (isDone) return n;
    }
    throw new Error('a commit that does not end');
  }

  test('for good, anywhere: the next one completes what was committed, and does the rest', async () => {
    const operations = await atEveryOperation(async (archived, _, when) => {
      const second = new Owner(archived);
      second.begin(() => archiveAll(second.archiver, archived.log, 0));
      while (!(await second.go(1))) {
        if (second.files.waitsFor === 'rename') await expectNothingTwice(archived, when);
      }
      // One commit behind it, nothing of the first is left lying.
      await append(archived, 1);
      second.begin(() => archiveAll(second.archiver, archived.log, 0));
      await second.go();
      const left = await query.sql(
        `SELECT file FROM glob('${archived.directory}/_archive/**') WHERE file LIKE '%.staged'`,
      );
      expect(left, when).toEqual([]);
    });
    expect(operations).toBeGreaterThan(20);
  });

  test('while another commits the same, and more: nothing comes twice when they go on', async () => {
    await atEveryOperation(async (archived, first, when) => {
      const second = new Owner(archived);
      for (let commits = 0; commits < 3; commits++) {
        await append(archived, 5);
        second.begin(() => archiveAll(second.archiver, archived.log, 0));
        await second.go();
      }
      expect(await found(archived), when).toEqual(expectedPositions(archived));
      await first.go();
      await expectNothingTwice(archived, when);
      // It is an owner like any other.
      await append(archived, 5);
      first.begin(() => archiveAll(first.archiver, archived.log, 0));
      await first.go();
    });
  });
});

describe(`three owners in turns (TEST_SEED=${SEED})`, () => {
  const RUNS = 6;
  const TURNS = 1_500;

  test('some of which die: every row once, whatever the order', { timeout: 240_000 }, async () => {
    let commits = 0;
    for (let run = 0; run < RUNS; run++) {
      const random = new SeededRandom(SEED + run);
      const archived = await emptyArchive();
      const owners = Array.from({ length: 3 }, () => new Owner(archived));
      for (let turn = 0; turn < TURNS; turn++) {
        const i = random.below(owners.length);
        const owner = owners[i]!;
        if (owner.job === null) {
          if (random.chance(0.3)) await append(archived, random.below(20));
          owner.begin(async () => {
            await owner.archiver.step();
            await owner.archiver.commit();
          });
        }
        await owner.settled();
        if (random.chance(0.004)) {
          owners[i] = new Owner(archived);
          continue;
        }
        const operation = owner.files.waitsFor;
        owner.files.pass();
        await owner.settled();
        if (operation === 'rename') {
          commits++;
          await expectNothingTwice(archived, `seed ${SEED + run}, turn ${turn}`);
        }
      }
      for (const owner of owners) await owner.go();
      const last = new Owner(archived);
      last.begin(() => archiveAll(last.archiver, archived.log, 0));
      await last.go();
      expect(await found(archived), `seed ${SEED + run}`).toEqual(expectedPositions(archived));
    }
    expect(commits).toBeGreaterThan(RUNS * 10);
  });
});
