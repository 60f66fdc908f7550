/** What watermarks say of records that were gone before they were applied, and what tells another log from the old one. */
import { beforeEach, describe, expect, test } from 'vitest';
import { NOON_MS, payment, payments, testRepo } from '../embedded/testing/test-repo.ts';
import { ManualClock } from '../engine/clock.ts';
import type { LogGap } from '../engine/store/log-gap.ts';
import { MemoryTileStore } from '../engine/store/memory-tile-store.ts';
import { randomTokens } from '../engine/store/random-tokens.ts';
import type { Watermark } from '../engine/store/tile-store.ts';
import { PROTOCOL } from '../engine/tiles/state-protocol.ts';
import { DEFAULT_PACING, retentionMs } from '../engine/tiles/state-update.ts';
import { DEFAULT_TILE_SHAPE } from '../engine/tiles/tile-shape.ts';
import { OffsetOutOfRangeError } from './log/log-errors.ts';
import { MemoryEventLog } from './log/memory-event-log.ts';
import { type ConsumerOptions, PartitionConsumer } from './partition-consumer.ts';
import { LogGapError, LogReplacedError } from './partition-stopped.ts';

const MINUTE_MS = 60_000;
const newToken = randomTokens();
const source = testRepo.sources.get(payments.name)!;
const { maxFutureMs } = source.definition;
/** It has a lifetime window; the other ones reach back some hours. */
const spend = testRepo.views.get('spend')!;
const refusals = testRepo.views.get('refusals')!;

let clock: ManualClock;
let log: MemoryEventLog;
let store: MemoryTileStore;
let told: LogGap[];

beforeEach(() => {
  clock = new ManualClock(NOON_MS);
  log = new MemoryEventLog({ source: 'payments', partitions: 1, random: newToken, segmentRecords: 1 });
  store = new MemoryTileStore({ random: newToken });
  told = [];
});

const append = async (count: number, appendedMs = NOON_MS): Promise<void> => {
  for (let i = 0; i < count; i++) {
    const value = Buffer.from(JSON.stringify(payment()));
    await log.append([{ partition: 0, appendedMs, stamp: null, value, eventTimeMs: NOON_MS }]);
  }
};
/** Retention takes everything below. */
const truncate = async (beforeOffset: number): Promise<void> => {
  const all = Number.POSITIVE_INFINITY;
  await log.truncate({
    ...{ partition: 0, beforeOffset },
    ...{ keepEventTimeMs: all, keepAppendedMs: all, maxBytes: all },
  });
};
const consumer = (options: Partial<ConsumerOptions> = {}): PartitionConsumer =>
  new PartitionConsumer({
    source,
    views: source.views,
    partition: 0,
    log,
    writing: {
      ...{ store, clock, shards: 1, newToken },
      ...{ shape: DEFAULT_TILE_SHAPE, pacing: DEFAULT_PACING, rules: PROTOCOL },
    },
    deadLetters: { write: async () => {} },
    observer: {
      chunkApplied() {},
      caughtUp() {},
      positioned() {},
      gap: (_partition, gap) => void told.push(gap),
    },
    options,
    wallClock: clock,
  });
const watermark = async ({ namespace }: { namespace: string }): Promise<Watermark> =>
  (await store.readWatermarks(0, [{ namespace, source: 'payments', partition: 0 }]))[0]!;
const gapsOf = async (view: { namespace: string }): Promise<readonly LogGap[] | undefined> =>
  (await watermark(view)).gaps;

describe('records that are gone', () => {
  test('from before a consumer that reads on are not passed unsaid', async () => {
    await append(2);
    const it = consumer();
    await it.step();
    await append(3, NOON_MS + MINUTE_MS);
    await truncate(4);
    await expect(it.step()).rejects.toThrow(OffsetOutOfRangeError);
    expect((await watermark(spend)).nextOffset).toBe(2);
    it.reset();
    expect(await it.step()).toBe(1);
    expect(told).toEqual([{ fromOffset: 2, toOffset: 4, afterMs: NOON_MS, untilMs: NOON_MS + MINUTE_MS }]);
    expect(await gapsOf(spend)).toEqual(told);
  });

  test('are in the watermark that passed them, with the times around them, and stay there', async () => {
    await append(3);
    await consumer().step();
    await append(2, NOON_MS + MINUTE_MS);
    await append(2, NOON_MS + 3 * MINUTE_MS);
    await truncate(5);
    const gap = { fromOffset: 3, toOffset: 5, afterMs: NOON_MS, untilMs: NOON_MS + 3 * MINUTE_MS };
    const next = consumer({ chunkRecords: 1 });
    expect(await next.step()).toBe(1);
    expect(told).toEqual([gap]);
    for (const view of source.views) expect(await gapsOf(view)).toEqual([gap]);
    expect(await next.step()).toBe(1);
    for (const view of source.views) expect(await gapsOf(view)).toEqual([gap]);
    // A further one beside it.
    await append(3, NOON_MS + 9 * MINUTE_MS);
    await truncate(9);
    await consumer().step();
    const further = {
      ...{ fromOffset: 7, toOffset: 9 },
      ...{ afterMs: NOON_MS + 3 * MINUTE_MS, untilMs: NOON_MS + 9 * MINUTE_MS },
    };
    expect(await gapsOf(spend)).toEqual([gap, further]);
  });

  test('were appended by now, where nothing is left behind them', async () => {
    await append(3);
    await consumer().step();
    await append(2);
    await truncate(5);
    clock.advanceTo(NOON_MS + MINUTE_MS);
    await consumer().step();
    expect(await gapsOf(spend)).toEqual([
      { fromOffset: 3, toOffset: 5, afterMs: NOON_MS, untilMs: NOON_MS + MINUTE_MS },
    ]);
  });

  test('fall back with the store, and are found again', async () => {
    await append(3);
    await consumer().step();
    await append(2);
    await truncate(5);
    await consumer().step();
    expect(await gapsOf(spend)).toHaveLength(1);
    // One for each watermark that passed the gap.
    store.rollback(source.views.length);
    expect(await gapsOf(spend)).toBeUndefined();
    await consumer().step();
    expect(await gapsOf(spend)).toHaveLength(1);
  });

  test('are forgotten by the views of which no window reaches back to them any more', async () => {
    await append(3);
    await consumer().step();
    await append(2);
    await truncate(4);
    const later = consumer();
    await later.step();
    clock.advanceTo(NOON_MS + maxFutureMs + retentionMs(refusals));
    await append(1);
    await later.step();
    expect(await gapsOf(refusals)).toHaveLength(1);
    clock.advanceTo(clock.nowMs() + 1);
    await append(1);
    await later.step();
    expect(await gapsOf(refusals)).toBeUndefined();
    // It has a lifetime window.
    expect(await gapsOf(spend)).toHaveLength(1);
  });

  test('are told, but missing to nobody, where no window reaches back to them', async () => {
    await append(3);
    await consumer().step();
    await append(2);
    await truncate(4);
    clock.advanceTo(NOON_MS + 30 * 24 * 60 * MINUTE_MS);
    await consumer().step();
    expect(told).toMatchObject([{ fromOffset: 3, toOffset: 4 }]);
    expect(await gapsOf(refusals)).toBeUndefined();
  });
});

describe('a store that is filled anew', () => {
  test('lacks what the log does not hold any more, as far as a window may ask for it', async () => {
    await append(4);
    await append(1, NOON_MS + MINUTE_MS);
    await truncate(4);
    await consumer().step();
    const gap = { fromOffset: 0, toOffset: 4, afterMs: null, untilMs: NOON_MS + MINUTE_MS };
    expect(told).toEqual([gap]);
    for (const view of source.views) expect(await gapsOf(view)).toEqual([gap]);
    store.wipe();
    await consumer().step();
    expect(await gapsOf(refusals)).toEqual([gap]);
  });

  test('lacks nothing where the log begins as far back as its windows reach', async () => {
    await append(5);
    await truncate(4);
    clock.advanceTo(NOON_MS + maxFutureMs + retentionMs(refusals) + 1);
    await consumer().step();
    expect(await gapsOf(refusals)).toBeUndefined();
    expect(await gapsOf(spend)).toHaveLength(1);
  });
});

describe('where the settings say to stop', () => {
  test('nothing passes the gap, and the message says what is missing and what to do', async () => {
    await append(3);
    await consumer().step();
    await append(3);
    await truncate(5);
    const stopped = consumer({ onGap: 'stop' }).step();
    await expect(stopped).rejects.toThrow(LogGapError);
    await expect(stopped).rejects.toThrow(
      /records 3 to 4 of source payments, partition 0, .*missing in spend, refusals, shops.*--on-gap continue/,
    );
    expect((await watermark(spend)).nextOffset).toBe(3);
    expect(await consumer().step()).toBe(1);
    // What was passed once is decided.
    await append(1);
    expect(await consumer({ onGap: 'stop' }).step()).toBe(1);
  });

  test('a new store on a log without its beginning stops as well', async () => {
    await append(3);
    await truncate(2);
    await expect(consumer({ onGap: 'stop' }).step()).rejects.toThrow(LogGapError);
    expect((await watermark(spend)).nextOffset).toBe(0);
  });
});

describe('another log with as many records', () => {
  test('is told by the last record, though its append time is the same', async () => {
    await append(3);
    await consumer().step();
    expect((await watermark(spend)).checksum).toEqual(expect.any(Number));
    const identity = await log.identity(0);
    log.recreate(0);
    await append(4);
    // A topic is not told by its identity.
    log.identity = async () => identity;
    const step = consumer().step();
    await expect(step).rejects.toThrow(LogReplacedError);
    await expect(step).rejects.toThrow('holds another record at offset 2 than the one applied');
  });

  test('a watermark of a former version, without a checksum, still goes by the append time', async () => {
    await append(3);
    await consumer().step();
    for (const view of source.views) {
      const { checksum: _, ...former } = await watermark(view);
      const moves = [
        {
          ...{ shard: 0, name: { namespace: view.namespace, source: 'payments', partition: 0 } },
          ...{ expected: former.token, incarnation: await store.incarnation(0) },
          next: { ...former, token: newToken() },
        },
      ];
      expect(await store.moveWatermarks(moves)).toEqual([true]);
    }
    const identity = await log.identity(0);
    log.recreate(0);
    log.identity = async () => identity;
    await append(4);
    expect(await consumer().step()).toBe(1);
  });
});
