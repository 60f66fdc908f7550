/** Snapshots of a log: all that it held at one moment and nothing later, whatever happens while they are taken. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeAll, expect, onTestFinished, test } from 'vitest';
import { integer, string, timestamp } from '../engine/definitions/column.ts';
import { streamSource } from '../engine/definitions/stream-source.ts';
import type { EventRow } from '../engine/definitions/types.ts';
import { SeededRandom } from '../engine/testing/random.ts';
import { jsonRecordDecoder } from '../ingest/decoding/json-record.ts';
import { MissingSchemaError } from '../ingest/decoding/missing-schema-error.ts';
import type { LogReader, ReadArgs } from '../ingest/log/event-log.ts';
import { MemoryEventLog } from '../ingest/log/memory-event-log.ts';
import type { Archive, ArchiveLimits } from './archive.ts';
import { ArchiveColumnsError } from './archive-columns.ts';
import { SnapshotError } from './snapshot-ends.ts';
import { type SnapshotPartition, SourceSnapshot, type TakeOptions } from './source-snapshot.ts';
import { ArchiveQuery } from './testing/archive-query.ts';
import { ArchivedLog, compiledSource } from './testing/archived-log.ts';

const SEED = Number(process.env.TEST_SEED ?? 20_261_130);
const NOW_MS = Date.UTC(2026, 10, 30, 12);
const PARTITIONS = 3;

const taps = streamSource({
  name: 'taps',
  columns: { at: timestamp(), id: integer(), card: string() },
  eventTime: 'at',
  eventId: 'id',
});

/** Whatever their times. */
const ALL = { keepEventTimeMs: 0, keepAppendedMs: 0, maxBytes: 0 };

let query: ArchiveQuery;
beforeAll(async () => {
  query = await ArchiveQuery.open();
});

class Fixture {
  readonly log: MemoryEventLog;
  readonly archived: ArchivedLog;
  #ids = 0;
  /** Records below the ends of the snapshot that will be taken. */
  expected: string[] = [];

  static async make(): Promise<Fixture> {
    const home = await mkdtemp(join(tmpdir(), 'millrace-snapshot-'));
    onTestFinished(() => rm(home, { recursive: true, force: true }));
    return new Fixture(join(home, 'snapshot'));
  }

  private constructor(directory: string) {
    let identities = 0;
    const random = (): string => `log ${identities++}`;
    this.log = new MemoryEventLog({ source: 'taps', partitions: PARTITIONS, random, segmentRecords: 1 });
    this.archived = new ArchivedLog({ source: taps, log: this.log, directory, nowMs: NOW_MS });
  }

  get directory(): string {
    return this.archived.directory;
  }

  async append(partition: number, count: number): Promise<void> {
    const events = Array.from({ length: count }, (): EventRow => {
      return { at: NOW_MS - (this.#ids % 5) * 86_400_000, id: this.#ids++, card: `c${this.#ids % 7}` };
    });
    await this.archived.append(partition, events);
  }

  /** The positions of accepted records until now. */
  positions(): string[] {
    return this.archived.accepted.map(({ partition, offset }) => `${partition}/${offset}`).sort();
  }

  archive(limits: Partial<ArchiveLimits> = {}): Archive {
    return this.archived.archive({ limits });
  }

  options(archive: Archive = this.archive()) {
    return { archive, source: this.archived.source, wallClock: this.archived.clock };
  }

  begin(archive?: Archive): Promise<SourceSnapshot> {
    return SourceSnapshot.begin(this.options(archive), this.log);
  }

  take(snapshot: SourceSnapshot, options: Partial<TakeOptions> = {}) {
    return snapshot.take({ log: this.log, decoder: jsonRecordDecoder(), ...options });
  }

  async found(): Promise<string[]> {
    return (await query.positions(this.directory, 'taps')).sort();
  }
}

/** Something happens before a read. */
function reading(log: MemoryEventLog, before: (args: ReadArgs) => Promise<void> | void): LogReader {
  return {
    source: log.source,
    partitions: () => log.partitions(),
    identity: (partition) => log.identity(partition),
    ends: (partition) => log.ends(partition),
    waitFor: (partition, offset, signal) => log.waitFor(partition, offset, signal),
    read: async (args) => {
      await before(args);
      return log.read(args);
    },
  };
}

test('has what the log held when it was begun: nothing that came while it was read', async () => {
  const fixture = await Fixture.make();
  for (let partition = 0; partition < 2; partition++) await fixture.append(partition, 700 + partition);
  await fixture.archived.appendLetters(1, ['no JSON', '{"id":1}']);
  const snapshot = await fixture.begin();
  const expected = fixture.positions();
  expect(snapshot.partitions.map(({ startOffset, endOffset }) => [startOffset, endOffset])).toEqual([
    [0, 700],
    [0, 703],
    [0, 0],
  ]);
  expect(snapshot.size).toBe(1_403);
  const progress: number[] = [];
  const log = reading(fixture.log, async ({ partition }) => {
    await fixture.append(partition, 3);
    await fixture.append(2, 1);
  });
  await fixture.take(snapshot, { log, onProgress: (passed) => progress.push(passed) });
  expect(await fixture.found()).toEqual(expected);
  expect(snapshot.partitions[1]!.refused).toEqual({ undecodable: 1, breaks_schema: 1 });
  expect(progress.at(-1)).toBe(1_403);
  expect(progress).toEqual([...progress].sort((a, b) => a - b));
  expect(snapshot.isComplete).toBe(true);
  // Once more, of a log that nobody can ask any more.
  const again = (await SourceSnapshot.find(fixture.options()))!;
  expect(again.isComplete).toBe(true);
  expect(again.partitions.map(({ endOffset, nextOffset, gone }) => [endOffset, nextOffset, gone])).toEqual([
    [700, 700, 0],
    [703, 703, 0],
    [0, 0, 0],
  ]);
  await again.take({
    log: reading(fixture.log, () => Promise.reject(new Error('not to be read'))),
    decoder: jsonRecordDecoder(),
  });
  expect(await fixture.found()).toEqual(expected);
});

test(`stopped at any read it goes on to the same ends, and has every record once (TEST_SEED=${SEED})`, async () => {
  const random = new SeededRandom(SEED);
  const fixture = await Fixture.make();
  for (let partition = 0; partition < PARTITIONS; partition++) {
    for (let n = 0; n < 40; n++) {
      await fixture.append(partition, 100);
      await fixture.archived.appendLetters(partition, ['no JSON']);
    }
  }
  const expected = fixture.positions();
  let stops = 0;
  for (;;) {
    // Another process each time: nothing is known but what lies in the directory.
    const snapshot = await fixture.begin(fixture.archive({ rows: 600, commits: 2 }));
    const from = snapshot.passed;
    const stop = new AbortController();
    let reads = 0;
    const last = random.below(8);
    const log = reading(fixture.log, async ({ partition }) => {
      await fixture.append(partition, 5);
      if (reads++ === last) stop.abort(new Error('stopped'));
    });
    const taken = fixture.take(snapshot, { log, signal: stop.signal });
    const outcome = await taken.then(
      () => 'done',
      (error: Error) => error.message,
    );
    if (outcome === 'done') break;
    expect(outcome).toBe('stopped');
    // What was read is committed on the way out.
    expect(snapshot.passed).toBeGreaterThanOrEqual(from);
    stops++;
    const found = await fixture.found();
    expect(new Set(found).size).toBe(found.length);
  }
  expect(stops).toBeGreaterThan(2);
  const { partitions } = (await SourceSnapshot.find(fixture.options()))!;
  expect(partitions.map(({ refused }) => refused)).toEqual(partitions.map(() => ({ undecodable: 40 })));
  expect(await fixture.found()).toEqual(expected);
});

test('what the log does not hold any more is told, also where retention overtakes it', async () => {
  const fixture = await Fixture.make();
  for (let partition = 0; partition < 2; partition++) await fixture.append(partition, 100);
  const truncate = (partition: number, beforeOffset: number): Promise<number> =>
    fixture.log.truncate({ ...ALL, partition, beforeOffset });
  await fixture.archived.appendLetters(0, ['no JSON']);
  await truncate(0, 30);
  const snapshot = await fixture.begin();
  let reads = 0;
  const troubles: unknown[] = [];
  const log = reading(fixture.log, async ({ partition }) => {
    if (partition === 1 && reads++ === 0) await truncate(1, 60);
  });
  await fixture.take(snapshot, { log, onTrouble: (error) => troubles.push(error) });
  expect(snapshot.partitions.map(({ gone }) => gone)).toEqual([30, 60, 0]);
  expect(troubles).toHaveLength(1);
  expect(await fixture.found()).toHaveLength(70 + 40);
  expect(snapshot.partitions[0]!.refused).toEqual({ undecodable: 1 });
  expect((await SourceSnapshot.find(fixture.options()))!.partitions.map(({ gone }) => gone)).toEqual([
    30, 60, 0,
  ]);
  // A gap between two runs: what was counted before it stays.
  const between = await Fixture.make();
  await between.archived.appendLetters(0, ['no JSON']);
  await between.append(0, 1_800);
  const begun = await between.begin();
  const stop = new AbortController();
  const stopping = reading(between.log, ({ fromOffset }) => {
    if (fromOffset > 0) stop.abort(new Error('stopped'));
  });
  await expect(between.take(begun, { log: stopping, signal: stop.signal })).rejects.toThrow('stopped');
  const [{ nextOffset }] = begun.partitions as [SnapshotPartition];
  expect(nextOffset).toBeGreaterThan(1);
  expect(nextOffset).toBeLessThan(1_801);
  await between.log.truncate({ ...ALL, partition: 0, beforeOffset: nextOffset + 1 });
  const goneOn = await between.begin();
  await between.take(goneOn);
  expect(goneOn.partitions[0]).toMatchObject({ gone: 1, refused: { undecodable: 1 } });
  // All that was there when it was begun.
  const other = await Fixture.make();
  await other.append(2, 10);
  const emptied = await other.begin();
  await other.log.truncate({ ...ALL, partition: 2, beforeOffset: 10 });
  await other.append(2, 10);
  await other.take(emptied);
  expect(emptied.partitions[2]).toMatchObject({ startOffset: 0, endOffset: 10, nextOffset: 10, gone: 10 });
  expect(await other.found()).toEqual([]);
});

test('what passes is tried again; what does not ends it, and what was read is kept', async () => {
  const fixture = await Fixture.make();
  await fixture.append(0, 50);
  await fixture.append(1, 50);
  const snapshot = await fixture.begin();
  let failures = 0;
  const flaky = reading(fixture.log, () => {
    if (failures++ < 2) throw new Error('the broker is away');
  });
  const troubles: unknown[] = [];
  const decoder = jsonRecordDecoder();
  let schemas = 0;
  const missing = {
    decode: decoder.decode,
    decodable: () => 0,
    prepare: () => {
      if (schemas++ > 0) throw new MissingSchemaError('there is no schema 7', [7]);
      return undefined;
    },
  };
  const taken = snapshot.take({ log: flaky, decoder: missing, onTrouble: (error) => troubles.push(error) });
  await expect(taken).rejects.toThrow('there is no schema 7');
  expect(troubles.length).toBe(2);
  expect(await fixture.found()).toHaveLength(50);
  await fixture.take(snapshot);
  expect(await fixture.found()).toEqual(fixture.positions());
});

test('where a log does not go on to where it ended, it does not wait for ever', async () => {
  const fixture = await Fixture.make();
  await fixture.append(0, 10);
  const snapshot = await fixture.begin();
  const stuck: LogReader = {
    ...reading(fixture.log, () => {}),
    read: async (args) =>
      args.fromOffset < 4
        ? fixture.log.read({ ...args, maxRecords: 4 })
        : { records: [], nextOffset: args.fromOffset },
  };
  const taken = fixture.take(snapshot, { log: stuck, patienceMs: 50 });
  await expect(taken).rejects.toThrow(
    'the log of source taps, partition 0, could not be read beyond offset 4; it ended at 10',
  );
  const broken = reading(fixture.log, () => Promise.reject(new Error('the broker is away')));
  await expect(fixture.take(snapshot, { log: broken, patienceMs: 50 })).rejects.toThrow('the broker is away');
});

test('another log, other columns, a file of another version: it does not mix them', async () => {
  const fixture = await Fixture.make();
  await fixture.append(0, 2_000);
  const stop = new AbortController();
  const snapshot = await fixture.begin(fixture.archive({ rows: 600 }));
  const log = reading(fixture.log, ({ fromOffset }) => {
    if (fromOffset >= 1_000) stop.abort(new Error('stopped'));
  });
  await expect(fixture.take(snapshot, { log, signal: stop.signal })).rejects.toThrow('stopped');

  const madeAgain = new MemoryEventLog({ source: 'taps', partitions: PARTITIONS, random: () => 'another' });
  const other = new ArchivedLog({ source: taps, log: madeAgain, directory: 'none', nowMs: NOW_MS });
  await other.append(
    0,
    Array.from({ length: 2_000 }, (_, id) => ({ at: NOW_MS, id, card: 'x' })),
  );
  const replaced = SourceSnapshot.begin(fixture.options(), madeAgain).then((again) =>
    again.take({ log: madeAgain, decoder: jsonRecordDecoder() }),
  );
  await expect(replaced).rejects.toThrow(SnapshotError);
  await expect(replaced).rejects.toThrow(/is not the one any more that the snapshot in .* was begun of/);

  const changed = streamSource({
    name: 'taps',
    columns: { at: timestamp(), id: string(), card: string() },
    eventTime: 'at',
    eventId: 'id',
  });
  const options = { ...fixture.options(), source: compiledSource(changed) };
  await expect(SourceSnapshot.begin(options, fixture.log)).rejects.toThrow(/with other columns/);

  const path = join(fixture.directory, '_archive/taps/snapshot.json');
  await writeFile(path, (await readFile(path, 'utf8')).replace('"format":1', '"format":2'));
  await expect(SourceSnapshot.find(fixture.options())).rejects.toThrow(/this version can read/);

  const named = streamSource({
    name: 'days',
    columns: { at: timestamp(), day: string() },
    eventTime: 'at',
  });
  const unnamable = { ...fixture.options(), source: compiledSource(named) };
  await expect(SourceSnapshot.begin(unnamable, fixture.log)).rejects.toThrow(ArchiveColumnsError);
});

test('two that begin at once have the same ends', async () => {
  const fixture = await Fixture.make();
  await fixture.append(0, 5);
  let ends = 0;
  const growing = {
    ...reading(fixture.log, () => {}),
    ends: async (partition: number) => {
      await fixture.append(0, 1 + ends++);
      return fixture.log.ends(partition);
    },
  };
  const [a, b] = await Promise.all([
    SourceSnapshot.begin(fixture.options(), growing),
    SourceSnapshot.begin(fixture.options(), growing),
  ]);
  expect(a!.partitions).toEqual(b!.partitions);
});
