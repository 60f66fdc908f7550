/** Which records of a log a history does not count, against going through them one by one. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, onTestFinished, test } from 'vitest';
import { NOON_MS, testRepo } from '../embedded/testing/test-repo.ts';
import type { UnappliedOffsets } from '../engine/store/unapplied-offsets.ts';
import { SeededRandom } from '../engine/testing/random.ts';
import { DuckDb, text } from './duckdb.ts';
import { EventHistory } from './event-history.ts';
import { fillFromHistory } from './fill-from-history.ts';
import { tableFiles } from './table-files.ts';
import { writeTable } from './testing/table-writers.ts';
import { RefusedRecords, unappliedRecords } from './unapplied-records.ts';

const dir = mkdtempSync(join(tmpdir(), 'millrace-unapplied-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));
const { source } = testRepo.views.get('browsing')!;

interface ArchivedRecord {
  readonly partition: number;
  readonly offset: number;
  readonly origin: number | null;
  /** Null: it breaks the schema. */
  readonly card: string | null;
}

async function unappliedOf(
  name: string,
  {
    records,
    cut,
    refused,
  }: { records: readonly ArchivedRecord[]; cut: readonly number[]; refused: RefusedRecords },
) {
  const db = await DuckDb.open({ memoryBytes: 2 ** 28, threads: 1, spillDir: dir });
  try {
    const file = await writeTable(join(dir, `${name}.parquet`), {
      types: {
        ...{ at: 'timestamp', card: 'string', page: 'string', _stamp: 'string' },
        ...{ _partition: 'integer', _offset: 'long', _origin_offset: 'long' },
      },
      rows: records.map(({ partition, offset, origin, card }) => ({
        ...{ at: NOON_MS, card, page: '/', _stamp: null },
        ...{ _partition: partition, _offset: offset, _origin_offset: origin },
      })),
    });
    const history = await EventHistory.open(db, source, await tableFiles(file), dir);
    return await unappliedRecords({ db, history, cut, refused });
  } finally {
    db.close();
  }
}

test('records that are not there, break the schema or were refused, but for those that a copy made good', async () => {
  for (let seed = 1; seed <= 40; seed++) {
    const random = new SeededRandom(seed);
    const cut = [random.below(30), random.below(30), 0];
    const refused = new RefusedRecords();
    const applied = [new Set<number>(), new Set<number>(), new Set<number>()];
    const records: ArchivedRecord[] = [];
    for (const partition of [0, 1]) {
      // An archive may have gone on behind the cut.
      for (let offset = 0; offset < 36; offset++) {
        if (random.chance(0.3)) continue;
        const card = random.chance(0.1) ? null : 'c';
        const origin = offset > 0 && random.chance(0.2) ? random.below(offset) : null;
        records.push({ partition, offset, origin, card });
        if (card === null) continue;
        if (origin !== null) applied[partition]!.add(origin);
        applied[partition]!.add(offset);
      }
    }
    for (const { partition, offset, origin, card } of records) {
      if (card === null || !random.chance(0.15)) continue;
      refused.add(partition, origin ?? offset);
      applied[partition]!.delete(origin ?? offset);
    }
    const found = await unappliedOf(`seed-${seed}`, { records, cut, refused });
    const told = found.map((offsets, p) => Array.from({ length: cut[p]! }, (_, o) => offsets.isApplied(o)));
    const right = cut.map((end, p) => Array.from({ length: end }, (_, o) => applied[p]!.has(o)));
    expect(told, `seed ${seed}`).toEqual(right);
    for (const [p, { ranges }] of found.entries()) {
      for (const [, end] of ranges) expect(end).toBeLessThanOrEqual(cut[p]!);
    }
  }
}, 60_000);

test('a backfill says which of its records do not count', async () => {
  const view = testRepo.views.get('shops')!;
  const db = await DuckDb.open({ memoryBytes: 2 ** 28, threads: 1, spillDir: dir });
  onTestFinished(() => db.close());
  const at = `make_timestamp(${NOON_MS}::BIGINT * 1000)`;
  const records: [amount: number, partition: number, offset: number, origin: number | null][] = [
    [5, 0, 0, null],
    [-1, 0, 1, null],
    [5, 1, 2, null],
    [-1, 1, 3, null],
    [5, 3, 4, null],
    // A copy of a dead letter that is of no more use.
    [-1, 0, 3, 2],
  ];
  const rows = records.map(
    ([amount, partition, offset, origin], i) =>
      `('p${i}', ${at}, 'c', 's', ${amount}.0, ${partition}, ${offset}, ${origin ?? 'NULL'})`,
  );
  const file = join(dir, 'fill.parquet');
  await db.run(
    `COPY (SELECT * FROM (VALUES ${rows.join(', ')}) t(id, "at", card, shop, amount, _partition, _offset, _origin_offset)) TO ${text(file)}`,
  );
  const history = await EventHistory.open(db, view.source, await tableFiles(file), dir);
  const seen: { unapplied: readonly UnappliedOffsets[]; newestMs: readonly number[] }[] = [];
  const sink = {
    write: async () => 1,
    complete: async (newestMs: readonly number[], unapplied: readonly UnappliedOffsets[]) => {
      seen.push({ newestMs, unapplied });
    },
  };
  const args = { db, view, history, sink, nowMs: NOON_MS, load: 1 };
  const filled = await fillFromHistory({ ...args, cut: [4, 3, 2, 0] }, new AbortController().signal);
  expect(filled).toMatchObject({ states: 1, refused: 2 });
  expect(seen.map(({ unapplied }) => unapplied.map(({ ranges }) => ranges))).toEqual([
    // Of partition 0 the second was refused, and what the copy is of; what is refused in partition 1 lies behind the cut.
    [[[1, 3]], [[0, 2]], [[0, 2]], []],
  ]);
});

test('of more than can be remembered it says what it does not know', async () => {
  const refused = new RefusedRecords();
  const last = 200_000;
  for (let offset = 0; offset <= last; offset++) refused.add(0, offset);
  const { knownFrom, offsets } = refused.of(0);
  expect(knownFrom).toBeGreaterThan(0);
  expect(offsets.length).toBeLessThan(last);
  expect(Math.min(...offsets.slice(0, 1))).toBe(knownFrom);
  const records = Array.from({ length: 3_000 }, (_, i) => ({
    partition: 0,
    offset: 2 * i,
    origin: null,
    card: 'c',
  }));
  const [found] = await unappliedOf('many', { records, cut: [6_000], refused: new RefusedRecords() });
  expect([0, 1, 5_000, 5_998, 5_999].map((offset) => found!.isApplied(offset))).toEqual([
    ...[null, null, null],
    ...[true, false],
  ]);
  const [ofRefused] = await unappliedOf('refused', { records: [], cut: [last + 1], refused });
  expect([0, knownFrom - 1].map((offset) => ofRefused!.isApplied(offset))).toEqual([null, null]);
  expect([knownFrom, last].map((offset) => ofRefused!.isApplied(offset))).toEqual([false, false]);
}, 60_000);
