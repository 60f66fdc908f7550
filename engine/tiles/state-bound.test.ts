/**
 * The bound of a state on the real write and read path, over a store in memory: its size after every write, and values
 * against plain arrays over the bounds that the answers name.
 *
 * What it does not catch: random definitions and late events; the property test in engine/windows does.
 */
import { describe, expect, test } from 'vitest';
import {
  count,
  distinctCount,
  entity,
  featureView,
  integer,
  streamSource,
  string,
  sum,
  timestamp,
} from '../../index.ts';
import { SeededRandom } from '../testing/random.ts';
import { SingleView } from '../testing/single-view.ts';
import { checkTree } from '../testing/tree-check.ts';
import type { WindowValue } from '../windows/window-read.ts';
import { fieldSizeBytes } from './field-size.ts';
import { IDS_FIELD, ROOT_FIELD } from './grid.ts';
import { DEFAULT_TILE_SHAPE } from './tile-shape.ts';

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const START_MS = Date.UTC(2024, 0, 1);
const CHUNK = 500;

const source = streamSource({
  name: 'payments',
  columns: { id: integer(), at: timestamp(), card: integer(), amount: integer() },
  eventTime: 'at',
  eventId: 'id',
  dedupeHorizon: '1m',
});

interface Payment {
  readonly [column: string]: number;
  readonly id: number;
  readonly at: number;
  readonly card: number;
  readonly amount: number;
}

function viewWith(options: { maxStateBytes: number; asOfRetention: number }) {
  return featureView({
    name: 'spend',
    source,
    entity: entity('card'),
    features: {
      n_1h: count().over('1h'),
      sum_1d: sum('amount').over('1d'),
      n_2d: count().over('2d'),
      n_before: count().over('1d', { offset: '2h' }),
    },
    ...options,
  });
}

/** Size of the only state but for its ids, as the bound counts it. */
function treeBytes(it: SingleView): number {
  const [fields] = it.tracker.statesOf(it.view.namespace);
  let bytes = 0;
  for (const [field, value] of fields!) if (field !== IDS_FIELD) bytes += fieldSizeBytes(value);
  return bytes;
}

function idBytes(it: SingleView): number {
  const [fields] = it.tracker.statesOf(it.view.namespace);
  return fieldSizeBytes(fields!.get(IDS_FIELD));
}

function expectRight(events: readonly Payment[], { feature, value, fromMs, toMs }: WindowValue): void {
  const inside = events.filter(({ at }) => fromMs! < at && at <= toMs);
  const total = inside.reduce((sum, { amount }) => sum + amount, 0);
  expect([feature.name, value]).toEqual([
    feature.name,
    feature.operation.name === 'sum' ? total : inside.length,
  ]);
}

function events(n: number, spanMs: number, seed = 1): Payment[] {
  const random = new SeededRandom(seed);
  const times = Array.from({ length: n }, () => START_MS + Math.floor((random.uint32() / 2 ** 32) * spanMs));
  return times.sort((a, b) => a - b).map((at, id) => ({ id, at, card: 1, amount: random.below(1_000) }));
}

/** Applies in chunks with the clock at the newest event; checks the size after every write. */
async function fill(it: SingleView, payments: readonly Payment[], compacting: boolean): Promise<number> {
  let largest = 0;
  for (let at = 0; at < payments.length; at += CHUNK) {
    const chunk = payments.slice(at, at + CHUNK);
    it.clock.advanceTo(chunk.at(-1)!.at);
    await it.apply(chunk);
    if (compacting) await it.compact();
    largest = Math.max(largest, treeBytes(it) + idBytes(it));
    expect(treeBytes(it) + idBytes(it)).toBeLessThanOrEqual(it.view.maxStateBytes);
  }
  return largest;
}

describe.each([true, false])('a dense key, compaction running: %s', (compacting) => {
  test('stays under its bound at every write, and values are right over the bounds they name', async () => {
    const it = new SingleView(viewWith({ maxStateBytes: 256 * 1024, asOfRetention: HOUR_MS }), {
      startMs: START_MS,
    });
    const payments = events(120_000, 4 * DAY_MS);
    const largest = await fill(it, payments, compacting);
    expect(largest).toBeGreaterThan(it.view.maxStateBytes * 0.75);
    const nowMs = it.clock.nowMs();
    const statuses = new Set<string>();
    const random = new SeededRandom(2);
    for (let i = 0; i < 60; i++) {
      const atMs = nowMs - random.below(HOUR_MS);
      const { values } = await it.read('1', atMs);
      for (const value of values) {
        expectRight(payments, value);
        const { feature, status, toMs, fromMs } = value;
        // The new edge is exact, and a tile of some hundred rows spans a few minutes here.
        expect(toMs).toBe(atMs - (feature.name === 'n_before' ? 2 * HOUR_MS : 0));
        const size = { n_1h: HOUR_MS, sum_1d: DAY_MS, n_2d: 2 * DAY_MS, n_before: DAY_MS }[feature.name]!;
        const errorMs = toMs - size - fromMs!;
        expect(errorMs > 0).toBe(status === 'coarse');
        expect(errorMs).toBeLessThan(2 ** 20);
        statuses.add(`${feature.name} ${status}`);
      }
    }
    expect([...statuses].sort()).toEqual(
      expect.arrayContaining(['n_1h present', 'n_2d coarse', 'n_before coarse']),
    );
    const [fields] = it.tracker.statesOf(it.view.namespace);
    expect(checkTree(it.view, DEFAULT_TILE_SHAPE, fields!).collapsedRowCount).toBeGreaterThan(20_000);
  }, 120_000);
});

test('a bound that tiles alone would pass: they are merged, the oldest stretch no more than the rest', async () => {
  const it = new SingleView(viewWith({ maxStateBytes: 64 * 1024, asOfRetention: 0 }), { startMs: START_MS });
  const payments = events(150_000, 2 * DAY_MS);
  await fill(it, payments, true);
  const { values } = await it.read('1', it.clock.nowMs());
  for (const value of values) expectRight(payments, value);
  const n2d = values.find(({ feature }) => feature.name === 'n_2d')!;
  expect(n2d.toMs - 2 * DAY_MS - n2d.fromMs!).toBeLessThanOrEqual(2 ** 25);
}, 120_000);

test('a key that is dense within its as-of retention: now stays exact, earlier new edges say where they are', async () => {
  const it = new SingleView(viewWith({ maxStateBytes: 128 * 1024, asOfRetention: 2 * DAY_MS }), {
    startMs: START_MS,
  });
  const payments = events(30_000, 6 * HOUR_MS);
  await fill(it, payments, true);
  const nowMs = it.clock.nowMs();
  const latest = await it.read('1', nowMs);
  for (const value of latest.values) expectRight(payments, value);
  expect(latest.values.find(({ feature }) => feature.name === 'sum_1d')).toMatchObject({
    status: 'present',
    toMs: nowMs,
  });
  const random = new SeededRandom(3);
  let moved = 0;
  for (let i = 0; i < 50; i++) {
    const atMs = nowMs - random.below(6 * HOUR_MS);
    const { values } = await it.read('1', atMs);
    for (const value of values) {
      expectRight(payments, value);
      const askedMs = atMs - (value.feature.name === 'n_before' ? 2 * HOUR_MS : 0);
      if (value.toMs === askedMs) continue;
      moved++;
      expect(value.status).toBe('coarse');
      expect(value.toMs).toBeLessThan(askedMs);
    }
  }
  expect(moved).toBeGreaterThan(20);
}, 120_000);

describe('a hundred thousand events in one millisecond', () => {
  test('are one tile, which no edge cuts: values are exact, but for ties', async () => {
    const n = 100_000;
    const it = new SingleView(viewWith({ maxStateBytes: 256 * 1024, asOfRetention: DAY_MS }), {
      startMs: START_MS + HOUR_MS,
    });
    const payments = Array.from({ length: n }, (_, id) => ({ id, at: START_MS, card: 1, amount: id % 7 }));
    for (let at = 0; at < n; at += 2_000) {
      await it.apply(payments.slice(at, at + 2_000));
      expect(treeBytes(it)).toBeLessThanOrEqual(it.view.maxStateBytes);
    }
    for (const atMs of [START_MS, START_MS + 1, START_MS + HOUR_MS - 1, START_MS + HOUR_MS]) {
      const { values } = await it.read('1', atMs);
      for (const value of values) {
        expectRight(payments, value);
        expect(value.status).not.toBe('coarse');
      }
    }
    // Asked for one of them, the tile still counts as a whole, and the status says that this is not what was asked.
    const { values } = await it.read('1', START_MS, payments[10]);
    expect(values[0]).toMatchObject({ status: 'coarse', value: n, toMs: START_MS });
  }, 120_000);
});

test('a repeat of an event whose row was given up is told while its id is among the recent or late ones', async () => {
  const it = new SingleView(viewWith({ maxStateBytes: 64 * 1024, asOfRetention: 0 }), { startMs: START_MS });
  const payments = events(20_000, 2 * DAY_MS);
  await fill(it, payments, true);
  const nowMs = it.clock.nowMs();
  const late = { id: 1_000_000, at: nowMs - DAY_MS, card: 1, amount: 1 };
  await it.apply([late]);
  const before = await it.values('1', nowMs);
  await it.apply([late, payments.at(-1)!]);
  await it.apply(events(200, 1).map((row, i) => ({ ...row, id: 2_000_000 + i, at: nowMs })));
  await it.apply([late]);
  expect((await it.values('1', nowMs)).n_2d).toBe((before.n_2d as number) + 200);
});

test('wide partials leave the rows less room, never more than the bound', async () => {
  const wide = featureView({
    name: 'wide',
    source: streamSource({
      name: 'visits',
      columns: { id: integer(), at: timestamp(), card: integer(), page: string() },
      eventTime: 'at',
      eventId: 'id',
      dedupeHorizon: '1m',
    }),
    entity: entity('card'),
    features: { pages_2d: distinctCount('page', { exactUpTo: 50 }).over('2d') },
    asOfRetention: 0,
    maxStateBytes: 64 * 1024,
  });
  const it = new SingleView(wide, { startMs: START_MS });
  const visits = events(20_000, 2 * DAY_MS).map(({ amount, ...row }) => ({ ...row, page: `page ${amount}` }));
  for (let at = 0; at < visits.length; at += CHUNK) {
    const chunk = visits.slice(at, at + CHUNK);
    it.clock.advanceTo(chunk.at(-1)!.at);
    await it.apply(chunk);
    expect(treeBytes(it) + idBytes(it)).toBeLessThanOrEqual(wide.maxStateBytes);
  }
}, 60_000);

test('a tile stands for all of its stretch, also where a tree that came to be empty had dropped rows of it', async () => {
  const it = new SingleView(viewWith({ maxStateBytes: 64 * 1024, asOfRetention: 0 }), { startMs: START_MS });
  const dropped = { id: -1, at: START_MS, card: 1, amount: 1 };
  await it.apply([dropped]);
  it.clock.advanceTo(START_MS + 2 * DAY_MS + 1);
  await it.compact();
  expect([...it.tracker.statesOf(it.view.namespace)].every((fields) => !fields.has(ROOT_FIELD))).toBe(true);
  // All at once: compaction does not come between.
  const payments = events(20_000, 2 * DAY_MS).map((row) => ({ ...row, at: row.at + 1 }));
  for (let at = 0; at < payments.length; at += CHUNK) await it.apply(payments.slice(at, at + CHUNK));
  const { values } = await it.read('1', it.clock.nowMs());
  for (const value of values) expectRight([dropped, ...payments], value);
}, 60_000);
