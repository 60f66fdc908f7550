/**
 * Random tables of facts, loaded again and again while they change, with loads that are cut off: what was pushed is what has
 * changed, once; and whatever was loaded, a training set, an as-of read online and the newest version with effective ≤ t, found
 * by looking at all of them, are the same. Versions at equal times, corrections, values that come back, rows that go.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import type { ColumnValue } from '../engine/aggregators/partial-aggregate.ts';
import { compileRepo } from '../engine/definitions/compile.ts';
import { sourcesOf } from '../engine/definitions/compiled.ts';
import type { EventRow } from '../engine/definitions/types.ts';
import { SeededRandom } from '../engine/testing/random.ts';
import { SingleView } from '../engine/testing/single-view.ts';
import {
  batchSource,
  count,
  double,
  entity,
  featureService,
  featureView,
  integer,
  last,
  string,
  timestamp,
} from '../index.ts';
import { DuckDb } from './duckdb.ts';
import { type BatchSource, factTable, isBatchSource } from './fact-table.ts';
import { LoadedFacts } from './loaded-facts.ts';
import { trainingSet } from './make-training-set.ts';
import { type Extension, type Row, type Rows, writeTable } from './testing/table-writers.ts';

const FIRST_SEED = Number(process.env.TEST_SEED ?? 1);
const SEEDS = Array.from({ length: 10 }, (_, i) => FIRST_SEED + i);
const BASE_MS = 1_700_000_000_000;
const DAY_MS = 86_400_000;

const dir = mkdtempSync(join(tmpdir(), 'millrace-facts-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const columns = {
  customer: integer(),
  region: string(),
  segment: string({ nullable: true }),
  limit: double({ nullable: true }),
};
const customer = entity('customer');

/** With a time of its own, or without. */
function definitionsOf(timed: boolean, from: string) {
  const common = { name: 'customers', key: ['customer', 'region'], from } as const;
  const source = timed
    ? batchSource({
        ...common,
        columns: { ...columns, valid_from: timestamp() },
        effectiveTime: 'valid_from',
      })
    : batchSource({ ...common, columns });
  const view = featureView({
    name: 'profile',
    source: source as never,
    entity: customer as never,
    features: {
      // A training set has no statuses: the value is the same.
      segment: last('segment').lifetime({ maxAge: '2d' }),
      limit: last('limit').lifetime(),
      versions: count().lifetime(),
    } as never,
    asOfRetention: '4000d',
  });
  const repo = compileRepo([view, featureService({ name: 'all', features: [view] })]);
  return { repo, view, source: sourcesOf(repo).find(isBatchSource)! };
}

/** A fact as it was pushed, in the order of its ids. */
type Fact = EventRow;

const types = (timed: boolean): Rows['types'] => ({
  ...{ customer: 'integer', region: 'string', segment: 'string', limit: 'double' },
  ...(timed ? { valid_from: 'timestamp' as const } : {}),
});

function randomRow(random: SeededRandom, timed: boolean): Row {
  return {
    ...{ customer: random.below(4), region: random.pick(['n', 's']) },
    segment: random.pick([null, 'basic', 'gold', 'é, "x"']),
    limit: random.pick([null, 0, 0.1, 1e15]),
    ...(timed ? { valid_from: BASE_MS + random.below(8) * DAY_MS } : {}),
  };
}

/** Some rows changed, added, gone. */
function changed(random: SeededRandom, rows: readonly Row[], timed: boolean): Row[] {
  const next = rows
    .filter(() => !random.chance(0.1))
    .map((row) =>
      random.chance(0.3) ? { ...row, segment: random.pick([null, 'basic', 'gold']) as ColumnValue } : row,
    );
  for (let n = random.below(4); n > 0; n--) next.push(randomRow(random, timed));
  return next;
}

const keyOf = (row: EventRow, timed: boolean): string =>
  `${row.customer} ${row.region} ${timed ? row.valid_from : ''}`;

/** What a load must push, by the words of the contract: of each key the last row, where it differs from what was loaded last. */
function expectedNew(rows: readonly Row[], loaded: readonly Fact[], timed: boolean): Row[] {
  const current = new Map<string, Row>();
  for (const row of rows) {
    current.delete(keyOf(row, timed));
    current.set(keyOf(row, timed), row);
  }
  const newest = new Map(loaded.map((fact) => [keyOf(fact, timed), fact]));
  return [...current].flatMap(([key, row]) => {
    const before = newest.get(key);
    const isSame = before !== undefined && Object.keys(row).every((name) => before[name] === row[name]);
    return isSame ? [] : [row];
  });
}

const withoutOwn = (facts: readonly Fact[], timed: boolean): Row[] =>
  facts.map((fact) => Object.fromEntries(Object.keys(types(timed)).map((name) => [name, fact[name]!])));

async function all(rows: AsyncIterable<readonly EventRow[]>): Promise<EventRow[]> {
  const found: EventRow[] = [];
  for await (const some of rows) found.push(...some);
  return found;
}

/** One load, by a process of its own that may be cut off. @returns what it pushed, maybe some of it twice */
async function load(
  random: SeededRandom,
  source: BatchSource,
  state: string,
  nowMs: number,
): Promise<{ readonly pushed: Fact[]; readonly ended: boolean }> {
  const facts = new LoadedFacts(state, source);
  const db = await DuckDb.open({ memoryBytes: 2 ** 28, threads: 1, spillDir: facts.workDir });
  const pushed: Fact[] = [];
  try {
    let isNew = false;
    for (;;) {
      const pending = await facts.pending(db);
      if (pending !== null) {
        const rows = await all(facts.pendingFacts(db, pending));
        const some = random.chance(0.3) ? random.below(rows.length + 1) : rows.length;
        pushed.push(...rows.slice(0, some));
        if (some < rows.length || random.chance(0.1)) {
          // Written down or not, when it is cut off.
          if (random.chance(0.5)) facts.progress({ ...pending, done: pending.done + random.below(some + 1) });
          return { pushed, ended: false };
        }
        await facts.finish(db, pending);
      }
      if (isNew) return { pushed, ended: true };
      const table = await factTable(db, source, { baseDir: dir, workDir: facts.workDir });
      await facts.findNew(db, table, nowMs);
      isNew = true;
    }
  } finally {
    db.close();
    if (random.chance(0.5)) facts.close();
  }
}

/** The definition, over all that was loaded. */
function bruteForce(
  facts: readonly Fact[],
  time: string,
  key: number,
  atMs: number,
): Record<string, unknown> {
  const seen = facts
    .filter((fact) => fact.customer === key && Number(fact[time]) <= atMs)
    .sort(
      (a, b) =>
        Number(a[time]) - Number(b[time]) ||
        (BigInt(a.fact_id as bigint) < BigInt(b.fact_id as bigint) ? -1 : 1),
    );
  const newest = (column: string): unknown =>
    seen.findLast((fact) => fact[column] !== null)?.[column] ?? null;
  return { segment: newest('segment'), limit: newest('limit'), versions: seen.length };
}

async function run(seed: number, timed: boolean): Promise<number> {
  const random = new SeededRandom(seed);
  const extension: Extension = random.pick(['csv', 'parquet', 'ndjson'] as const);
  const name = `${seed}-${timed}`;
  const file = join(dir, `${name}.${extension}`);
  const { repo, view, source } = definitionsOf(timed, file);
  const time = source.eventTime;
  const state = join(dir, name);
  let rows: Row[] = Array.from({ length: random.below(12) }, () => randomRow(random, timed));
  /** What the log has: each id once, whoever pushed it. */
  const log = new Map<unknown, Fact>();
  const inOrder = (): Fact[] =>
    [...log.values()].sort((a, b) => (BigInt(a.fact_id as bigint) < BigInt(b.fact_id as bigint) ? -1 : 1));
  let nowMs = BASE_MS + 10 * DAY_MS;
  for (let n = random.between(1, 6); n > 0; n--) {
    await writeTable(file, { types: types(timed), rows });
    const before = inOrder();
    let isSameTable = true;
    for (let ended = false; !ended; ) {
      const cut = await load(random, source, state, nowMs);
      for (const fact of cut.pushed) {
        // Whatever was pushed under an id before is the same.
        const known = log.get(fact.fact_id);
        if (known !== undefined) expect(fact).toEqual(known);
        log.set(fact.fact_id, fact);
      }
      ended = cut.ended;
      nowMs += random.below(3) * 1_000;
      if (!ended && random.chance(0.3)) {
        isSameTable = false;
        rows = changed(random, rows, timed);
        await writeTable(file, { types: types(timed), rows });
      }
    }
    if (isSameTable)
      expect(withoutOwn(inOrder().slice(before.length), timed)).toEqual(expectedNew(rows, before, timed));
    // All that the table says is known, and nothing of it twice.
    expect(expectedNew(rows, inOrder(), timed)).toEqual([]);
    const size = log.size;
    const again = await load(new SeededRandom(seed), source, state, nowMs);
    expect(again.pushed).toEqual([]);
    expect(log.size).toBe(size);
    nowMs += random.pick([0, 1, DAY_MS]);
    rows = changed(random, rows, timed);
  }
  const facts = inOrder();
  const times = facts.map((fact) => Number(fact[time]));
  const spine = Array.from({ length: 40 }, (_, label) => ({
    customer: random.below(5),
    at: (times.length === 0 ? BASE_MS : random.pick(times)) + random.between(-1, 1),
    label,
  }));
  const expected = spine.map(({ customer: key, at }) => bruteForce(facts, time, key, at));

  const online = new SingleView({ ...(view as object), name: 'online' }, { startMs: nowMs + 20 * DAY_MS });
  const shuffled = facts
    .map((fact) => ({ fact, order: random.below(1_000_000) }))
    .sort((a, b) => a.order - b.order);
  for (let at = 0; at < shuffled.length; at += 3) {
    await online.apply(shuffled.slice(at, at + 3).map(({ fact }) => fact));
    await online.compact();
  }
  for (const [i, { customer: key, at }] of spine.entries()) {
    const { values } = await online.read(String(key), at);
    const got = Object.fromEntries(values.map(({ feature, value }) => [feature.name, value]));
    expect(got, `online, row ${i}`).toEqual(expected[i]);
  }

  const spineFile = join(dir, `${name}-spine.ndjson`);
  writeFileSync(spineFile, spine.map((row) => `${JSON.stringify(row)}\n`).join(''));
  const trained = async (history: string): Promise<Record<string, unknown>[]> => {
    const table = await trainingSet({
      repo,
      service: 'all',
      spine: spineFile,
      history,
      time: 'at',
      threads: 1,
    });
    return Array.from({ length: table.numRows }, (_, i) => ({
      segment: table.getChild('segment')!.get(i) as unknown,
      limit: table.getChild('limit')!.get(i) as unknown,
      versions: Number(table.getChild('versions')!.get(i)),
    }));
  };
  if (facts.length > 0) expect(await trained(join(state, 'history'))).toEqual(expected);
  // A table that has all versions of its own is a history, whatever was loaded of it: the last row of a time counts.
  if (timed && rows.length > 0) {
    await writeTable(file, { types: types(timed), rows });
    const ofTable = rows.map((row, i) => ({ ...row, fact_id: BigInt(i) }));
    expect(await trained(file)).toEqual(
      spine.map(({ customer: key, at }) => bruteForce(ofTable, time, key, at)),
    );
  }
  return facts.length;
}

describe.each([true, false])('facts with an effective time of their own: %s', (timed) => {
  test(`loads, training sets and as-of reads agree (TEST_SEED=${FIRST_SEED})`, async () => {
    let facts = 0;
    for (const seed of SEEDS) {
      try {
        facts += await run(seed, timed);
      } catch (error) {
        throw new Error(`seed ${seed}: ${(error as Error).message}`, { cause: error });
      }
    }
    expect(facts).toBeGreaterThan(100);
  }, 240_000);
});
