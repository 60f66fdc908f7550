import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { beforeAll, expect, onTestFinished, test } from 'vitest';
import { boolean, double, integer, long, string, timestamp } from '../engine/definitions/column.ts';
import { streamSource } from '../engine/definitions/stream-source.ts';
import type { EventRow } from '../engine/definitions/types.ts';
import type { LogGap } from '../engine/store/log-gap.ts';
import { jsonRecordDecoder } from '../ingest/decoding/json-record.ts';
import { OffsetOutOfRangeError } from '../ingest/log/log-errors.ts';
import { MemoryEventLog } from '../ingest/log/memory-event-log.ts';
import { PartitionArchiver } from './partition-archiver.ts';
import { ArchiveReplacedLogError } from './replaced-archive-log.ts';
import { ArchiveQuery } from './testing/archive-query.ts';
import { ArchivedLog, archiveAll, EVERY_MS, SILENT } from './testing/archived-log.ts';

const NOW_MS = Date.UTC(2026, 10, 30, 12);
const HOUR_MS = 3_600_000;

const orders = streamSource({
  name: 'orders',
  columns: {
    at: timestamp(),
    id: string(),
    small: integer({ nullable: true }),
    large: long({ nullable: true }),
    price: double({ nullable: true }),
    paid: boolean({ nullable: true }),
    shipped: timestamp({ nullable: true }),
    note: string({ nullable: true }),
  },
  eventTime: 'at',
  eventId: 'id',
});

let query: ArchiveQuery;
beforeAll(async () => {
  query = await ArchiveQuery.open();
});

let ids = 0;
const order = (row: Partial<EventRow> = {}): EventRow => ({
  at: NOW_MS,
  id: `order ${ids++}`,
  small: null,
  large: null,
  price: null,
  paid: null,
  shipped: null,
  note: null,
  ...row,
});

async function ordersLog(name = 'archive'): Promise<{ archived: ArchivedLog; log: MemoryEventLog }> {
  const home = await mkdtemp(join(tmpdir(), 'millrace-archive-'));
  onTestFinished(() => rm(home, { recursive: true, force: true }));
  let identities = 0;
  const log = new MemoryEventLog({
    source: 'orders',
    partitions: 1,
    random: () => `log ${identities++}`,
    segmentRecords: 1,
  });
  return {
    log,
    archived: new ArchivedLog({ source: orders, log, directory: join(home, name), nowMs: NOW_MS }),
  };
}

const truncate = (log: MemoryEventLog, beforeOffset: number): Promise<number> =>
  log.truncate({ partition: 0, keepEventTimeMs: 0, keepAppendedMs: 0, maxBytes: 0, beforeOffset });

const offsets = async (archived: ArchivedLog): Promise<number[]> =>
  (await query.rows(archived.directory, 'orders')).map(({ _offset }) => Number(_offset));

const filesOf = async ({ directory }: ArchivedLog): Promise<string[]> =>
  (await query.files(directory, 'orders')).map((file) => relative(directory, file));

test('every type comes back as it was, nulls and 64 bits included', async () => {
  const { archived, log } = await ordersLog("o'clock, ü");
  await archived.append(0, [
    order({ small: 0, large: 0, price: 0, paid: false, shipped: 0, note: '' }),
    order(),
    order({ small: 2 ** 53 - 1, large: 2n ** 63n - 1n, price: 1e140, paid: true, shipped: NOW_MS + 1 }),
    order({ small: 1 - 2 ** 53, large: -(2n ** 63n), price: 5e-324, note: 'a\u0000b"\'\n😀' }),
    order({ large: 2n ** 53n + 1n, price: -0.1, shipped: 2 ** 45 - 1, note: 'x'.repeat(8_192) }),
  ]);
  await archived.append(0, [order()], 0);
  await archiveAll(archived.archiver(archived.archive(), 0), log, 0);
  expect(await query.rows(archived.directory, 'orders')).toEqual(archived.expectedRows);
  expect(await query.types(archived.directory, 'orders')).toEqual({
    at: 'TIMESTAMP WITH TIME ZONE',
    id: 'VARCHAR',
    small: 'BIGINT',
    large: 'BIGINT',
    price: 'DOUBLE',
    paid: 'BOOLEAN',
    shipped: 'TIMESTAMP WITH TIME ZONE',
    note: 'VARCHAR',
    _partition: 'INTEGER',
    _offset: 'BIGINT',
    _appended_at: 'TIMESTAMP WITH TIME ZONE',
    _stamp: 'VARCHAR',
    _origin_offset: 'BIGINT',
    day: 'DATE',
    source: 'VARCHAR',
  });
});

test('files are by day of the event, late ones too, named by partition and offsets, and say where they come from', async () => {
  const { archived, log } = await ordersLog();
  const midnightMs = Date.UTC(2026, 10, 30);
  await archived.append(0, [
    order({ at: midnightMs - 1 }),
    order({ at: midnightMs }),
    order({ at: Date.UTC(2019, 1, 28, 23, 59) }),
    order({ at: midnightMs - 1 }),
  ]);
  const archiver = archived.archiver(archived.archive(), 0);
  await archiveAll(archiver, log, 0);
  await archived.append(0, [order({ at: Date.UTC(2019, 1, 28) })]);
  await archiveAll(archiver, log, 0);
  expect(await filesOf(archived)).toEqual([
    'source=orders/day=2019-02-28/00000-0000000000000002-0000000000000002.parquet',
    'source=orders/day=2019-02-28/00000-0000000000000004-0000000000000004.parquet',
    'source=orders/day=2026-11-29/00000-0000000000000000-0000000000000003.parquet',
    'source=orders/day=2026-11-30/00000-0000000000000001-0000000000000001.parquet',
  ]);
  const keys = await query.sql(
    `SELECT DISTINCT decode(key) AS key, decode(value) AS value
     FROM parquet_kv_metadata('${archived.directory}/source=orders/**/*.parquet') ORDER BY 1`,
  );
  expect(keys).toEqual([
    { key: 'millrace_columns', value: expect.stringMatching(/^[0-9a-f]{16}$/) },
    { key: 'millrace_log', value: await log.identity(0) },
    { key: 'millrace_source', value: 'orders' },
    { key: 'millrace_version', value: '1.2.3' },
  ]);
});

test('what cannot be used is left out, and a copy of it that can be used is there at its own place', async () => {
  const { archived, log } = await ordersLog();
  await archived.appendLetters(0, ['no JSON', '{"at":1}']);
  await archived.append(0, [order({ at: NOW_MS + 1_000 * HOUR_MS })]);
  const value = Buffer.from(JSON.stringify(order()));
  const place = { partition: 0, appendedMs: NOW_MS, stamp: null, eventTimeMs: NOW_MS };
  await log.append([{ ...place, value, originOffset: 0 }]);
  // The same event once more: readers tell it by its id.
  await log.append([{ ...place, value }]);
  await archiveAll(archived.archiver(archived.archive(), 0), log, 0);
  expect(await offsets(archived)).toEqual([3, 4]);
  const rows = await query.rows(archived.directory, 'orders');
  expect(rows.map(({ _origin_offset }) => _origin_offset)).toEqual([0n, null]);
  expect(archived.accepted).toEqual([]);
});

test.each([
  ['after the interval', {}, EVERY_MS, 100],
  ['when there are many rows', { rows: 7 }, 0, 7],
  ['when there are many bytes', { totalBytes: 3_000 }, 0, 9],
])('commits %s', async (_, limits, afterMs, atLeast) => {
  const { archived } = await ordersLog();
  const commits: number[] = [];
  const archiver = archived.archiver(archived.archive({ limits }), 0, {
    observer: { committed: ({ files }) => commits.push(files.reduce((sum, { rows }) => sum + rows, 0)) },
  });
  await archived.append(
    0,
    Array.from({ length: 100 }, () => order()),
  );
  await archiver.step();
  await archiver.step();
  archived.clock.advanceTo(NOW_MS + Math.max(0, afterMs - 1));
  await archiver.step();
  if (afterMs > 0) expect(commits).toEqual([]);
  archived.clock.advanceTo(NOW_MS + afterMs);
  await archiver.step();
  expect(commits[0]).toBeGreaterThanOrEqual(atLeast);
});

test('a range in which nothing was accepted is passed by a commit without files', async () => {
  const { archived, log } = await ordersLog();
  await archived.appendLetters(0, ['a', 'b']);
  await archiveAll(archived.archiver(archived.archive(), 0), log, 0);
  await truncate(log, 2);
  const gaps: unknown[] = [];
  const second = archived.archiver(archived.archive(), 0, { observer: { gap: (gap) => gaps.push(gap) } });
  await second.step();
  expect({ gaps, nextOffset: second.nextOffset }).toEqual({ gaps: [], nextOffset: 2 });
});

test('rows that wait are archived although the log has lost them; what it lost beyond is a gap, told and kept', async () => {
  const { archived, log } = await ordersLog();
  const told: [LogGap, boolean][] = [];
  const archiver = archived.archiver(archived.archive(), 0, {
    observer: { gap: (gap, isFirst) => told.push([gap, isFirst]) },
  });
  await archived.append(0, [order(), order(), order()]);
  await archiver.step();
  archived.clock.advanceTo(NOW_MS + 1_000);
  await archived.append(
    0,
    Array.from({ length: 5 }, () => order()),
  );
  await truncate(log, 6);
  await expect(archiver.step()).rejects.toThrow(OffsetOutOfRangeError);
  await archiveAll(archiver, log, 0);
  expect(await offsets(archived)).toEqual([0, 1, 2, 6, 7]);
  const gap = { fromOffset: 3, toOffset: 6, afterMs: NOW_MS, untilMs: NOW_MS + 1_000 };
  expect(told).toEqual([[gap, false]]);
  // It is kept by the commits behind it.
  await archived.append(0, [order()]);
  await archiveAll(archiver, log, 0);
  const [last] = await query.sql(
    `SELECT gaps FROM read_json('${archived.directory}/_archive/**/*.json') ORDER BY fromOffset DESC LIMIT 1`,
  );
  expect(JSON.stringify(last, (_, value) => (typeof value === 'bigint' ? Number(value) : value))).toContain(
    '"toOffset":6',
  );
});

test('partitions of a process do not get in each other’s way, however many rows wait', async () => {
  const { archived, log } = await ordersLog();
  log.addPartition();
  const archive = archived.archive();
  const archivers = [0, 1].map((partition) => archived.archiver(archive, partition));
  for (let i = 0; i < 12; i++) {
    for (const [partition, archiver] of archivers.entries()) {
      await archived.append(
        partition,
        Array.from({ length: 250 + partition }, () => order()),
      );
      await archiver.step();
    }
  }
  await Promise.all(archivers.map((archiver, partition) => archiveAll(archiver, log, partition)));
  expect(await query.rows(archived.directory, 'orders')).toEqual(archived.expectedRows);
});

test('an archive that is new begins where the log does, and says so', async () => {
  const { archived, log } = await ordersLog();
  await archived.append(0, [order(), order(), order()]);
  await truncate(log, 2);
  const told: unknown[] = [];
  const observer = {
    gap: (gap: LogGap, isFirst: boolean) => told.push([gap.fromOffset, gap.toOffset, isFirst]),
  };
  await archiveAll(archived.archiver(archived.archive(), 0, { observer }), log, 0);
  expect(told).toEqual([[0, 2, true]]);
  expect(await offsets(archived)).toEqual([2]);
});

test('a directory that is emptied under it is filled on from where it is', async () => {
  const { archived, log } = await ordersLog();
  const archiver = archived.archiver(archived.archive(), 0);
  await archived.append(0, [order(), order()]);
  await archiveAll(archiver, log, 0);
  await archived.append(0, [order()]);
  await archiver.step();
  await rm(archived.directory, { recursive: true });
  await archiveAll(archiver, log, 0);
  expect(await offsets(archived)).toEqual([2]);
  // Whoever comes next goes on from there, too.
  await archived.append(0, [order()]);
  await archiveAll(archived.archiver(archived.archive(), 0), log, 0);
  expect(await offsets(archived)).toEqual([2, 3]);
});

test('a log made again is refused, be it empty, shorter, or longer', async () => {
  const { archived, log } = await ordersLog();
  await archived.append(0, [order(), order()]);
  await archiveAll(archived.archiver(archived.archive(), 0), log, 0);
  const other = new MemoryEventLog({ source: 'orders', partitions: 1, random: () => 'another' });
  const over = (log: MemoryEventLog) => archived.archiver(archived.archive(), 0, { log }).step();
  await expect(over(other)).rejects.toThrow(/is not the one that the archive was filled from.*--archive/);
  // As Kafka has it: the name is the same.
  const again = new MemoryEventLog({ source: 'orders', partitions: 1, random: () => 'log 0' });
  await expect(over(again)).rejects.toThrow(ArchiveReplacedLogError);
  await expect(over(again)).rejects.toThrow(/ends at 0 but was archived up to 2/);
  const value = Buffer.from(JSON.stringify(order()));
  const record = { partition: 0, appendedMs: NOW_MS, stamp: null, value, eventTimeMs: NOW_MS };
  await again.append([record, record, record]);
  await expect(over(again)).rejects.toThrow(/holds another record at offset 1/);
  expect(await offsets(archived)).toEqual([0, 1]);
});

test('a record that cannot be read for now does not keep those before it', async () => {
  const { archived, log } = await ordersLog();
  await archived.append(0, [order(), order(), order()]);
  let readable = 2;
  const json = jsonRecordDecoder();
  const archiver = new PartitionArchiver({
    archive: archived.archive(),
    source: archived.source,
    partition: 0,
    log,
    decoder: {
      ...json,
      prepare: async (values) => {
        if ([...values].length > readable) throw new Error('the registry is away');
      },
      decodable: () => readable,
    },
    observer: SILENT,
    wallClock: archived.clock,
  });
  await archiver.step();
  readable = 0;
  await expect(archiver.step()).rejects.toThrow('the registry is away');
  await archiver.commit();
  expect(await offsets(archived)).toEqual([0, 1]);
  readable = 1;
  await archiveAll(archiver, log, 0);
  expect(await offsets(archived)).toEqual([0, 1, 2]);
});

test('until it is stopped it archives by itself, and commits what waits on the way out', async () => {
  const { archived } = await ordersLog();
  const stop = new AbortController();
  const positions: number[] = [];
  const archiver = archived.archiver(archived.archive(), 0, {
    observer: {
      positioned: (offset) => {
        positions.push(offset);
        // At work: what it takes from now on is not due for long.
        stop.abort();
      },
    },
  });
  await archived.append(0, [order()]);
  await archiver.run(stop.signal);
  expect(positions).toEqual([0, 1]);
  expect(await offsets(archived)).toEqual([0]);
});
