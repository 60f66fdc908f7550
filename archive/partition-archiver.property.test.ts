/**
 * Random events through random batches, commits, restarts and losses of the log: the archive is what was accepted, row by
 * row. What this does not show: crashes within a commit (crash-points.test.ts) and real ones (archive-kills.test.ts).
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import type { StreamSource } from '../engine/definitions/types.ts';
import { SeededRandom } from '../engine/testing/random.ts';
import { randomRow, randomSource } from '../ingest/decoding/testing/random-source.ts';
import type { EventLog } from '../ingest/log/event-log.ts';
import { LmdbLogs } from '../ingest/log/lmdb-logs.ts';
import { OffsetOutOfRangeError } from '../ingest/log/log-errors.ts';
import { MemoryEventLog } from '../ingest/log/memory-event-log.ts';
import type { Archive } from './archive.ts';
import type { PartitionArchiver } from './partition-archiver.ts';
import { ArchiveQuery } from './testing/archive-query.ts';
import { ArchivedLog, archiveAll, EVERY_MS } from './testing/archived-log.ts';

const SEED = Number(process.env.TEST_SEED ?? 20_261_130);
const RUNS = 6;
const STEPS = 60;
const PARTITIONS = 2;
const NOW_MS = Date.UTC(2026, 10, 30, 23, 50);

let query: ArchiveQuery;
beforeAll(async () => {
  query = await ArchiveQuery.open();
});

const LOGS: Readonly<Record<string, (directory: string, random: SeededRandom) => Promise<EventLog>>> = {
  memory: async (_, random) =>
    new MemoryEventLog({
      source: 'events',
      partitions: PARTITIONS,
      random: () => random.hex64(),
      segmentRecords: 7,
    }),
  lmdb: async (directory) => {
    const logs = await LmdbLogs.open(join(directory, 'log'), { flush: false, segmentRecords: 7 });
    onTestFinished(() => logs.close());
    return logs.log('events', PARTITIONS);
  },
};

class Run {
  readonly archived: ArchivedLog;
  readonly #random: SeededRandom;
  readonly #source: StreamSource;
  readonly #losses: boolean;
  #archive!: Archive;
  #archivers: PartitionArchiver[] = [];
  /** By partition: up to where records were lost. */
  readonly lostTo = Array.from({ length: PARTITIONS }, () => 0);

  constructor(args: { archived: ArchivedLog; random: SeededRandom; source: StreamSource; losses: boolean }) {
    this.archived = args.archived;
    this.#random = args.random;
    this.#source = args.source;
    this.#losses = args.losses;
    this.#restart();
  }

  async run(): Promise<void> {
    for (let i = 0; i < STEPS; i++) await this.#act();
    for (const [partition, archiver] of this.#archivers.entries()) {
      await stepped(archiver);
      await archiveAll(archiver, this.archived.log, partition);
    }
    await this.#archive.close();
  }

  /** A crash where nothing was under way: what waited is gone. */
  #restart(): void {
    const random = this.#random;
    const limits = { rows: random.between(1, 60), totalBytes: random.between(500, 60_000) };
    this.#archive = this.archived.archive({ limits });
    this.#archivers = Array.from({ length: PARTITIONS }, (_, p) => this.archived.archiver(this.#archive, p));
  }

  async #act(): Promise<void> {
    const random = this.#random;
    const { archived } = this;
    const partition = random.below(PARTITIONS);
    const archiver = this.#archivers[partition]!;
    const what = random.below(12);
    if (what < 4) {
      const events = Array.from({ length: random.below(40) }, () => randomRow(random, this.#source));
      await archived.append(partition, events, random.chance(0.2) ? 0 : undefined);
    } else if (what < 5) {
      await archived.appendLetters(
        partition,
        ['not JSON', '{}', '{"at":"yesterday"}'].slice(random.below(3)),
      );
    } else if (what < 9) {
      await stepped(archiver);
    } else if (what < 10) {
      archived.clock.advanceTo(archived.clock.nowMs() + random.below(EVERY_MS));
    } else if (what < 11) {
      await archiver.commit();
    } else if (random.chance(0.5)) {
      this.#restart();
    } else if (this.#losses) {
      await archived.log.truncate({
        partition,
        keepEventTimeMs: 0,
        keepAppendedMs: 0,
        maxBytes: random.below(3_000),
        beforeOffset: Number.MAX_SAFE_INTEGER,
      });
      this.lostTo[partition] = (await archived.log.ends(partition)).startOffset;
    }
  }
}

/** A log that has lost what comes next says so; the step after finds the gap. */
async function stepped(archiver: PartitionArchiver): Promise<void> {
  await archiver.step().catch((error: unknown) => {
    if (!(error instanceof OffsetOutOfRangeError)) throw error;
  });
}

describe(`random archives (TEST_SEED=${SEED})`, () => {
  test.each(Object.keys(LOGS).flatMap((kind) => [false, true].map((losses) => ({ kind, losses }))))(
    'over $kind, records lost: $losses',
    { timeout: 240_000 },
    async ({ kind, losses }) => {
      let rows = 0;
      let lost = 0;
      for (let n = 0; n < RUNS; n++) {
        const random = new SeededRandom(SEED + n);
        const home = await mkdtemp(join(tmpdir(), 'millrace-archive-'));
        onTestFinished(() => rm(home, { recursive: true, force: true }));
        const source = randomSource(random, 'events');
        const log = await LOGS[kind]!(home, random);
        const archived = new ArchivedLog({ source, log, directory: join(home, 'archive'), nowMs: NOW_MS });
        const run = new Run({ archived, random, source, losses });
        await run.run();
        const found = await query.rows(archived.directory, 'events');
        const there = new Set(found.map(({ _partition, _offset }) => `${_partition}/${_offset}`));
        const expected = archived.expectedRows.filter(({ _partition, _offset }) => {
          const isThere = there.has(`${_partition}/${_offset}`);
          // Only what the log had lost may not be there.
          if (!isThere && Number(_offset) < run.lostTo[_partition as number]!) lost++;
          return isThere || Number(_offset) >= run.lostTo[_partition as number]!;
        });
        expect(found, `seed ${SEED + n}`).toEqual(expected);
        rows += found.length;
      }
      expect(rows).toBeGreaterThan(RUNS * 100);
      if (losses) expect(lost).toBeGreaterThan(0);
    },
  );
});
