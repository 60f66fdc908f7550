/** Rebuilds step by step, over a store that falls back and a log that loses records. */
import { beforeEach, expect, test } from 'vitest';
import { NOON_MS, payment, payments, testRepo } from '../embedded/testing/test-repo.ts';
import { ManualClock } from '../engine/clock.ts';
import type { CompiledView } from '../engine/definitions/compiled.ts';
import { MemoryTileStore } from '../engine/store/memory-tile-store.ts';
import { randomTokens } from '../engine/store/random-tokens.ts';
import { PROTOCOL } from '../engine/tiles/state-protocol.ts';
import { DEFAULT_PACING } from '../engine/tiles/state-update.ts';
import { DEFAULT_TILE_SHAPE } from '../engine/tiles/tile-shape.ts';
import { MemoryEventLog } from '../ingest/log/memory-event-log.ts';
import { PartitionConsumer } from '../ingest/partition-consumer.ts';
import { driveRebuild } from './drive-rebuild.ts';
import { LogTooShortError } from './log-reach.ts';
import { ViewBindings } from './view-bindings.ts';
import { type RebuildLook, ViewRebuild } from './view-rebuild.ts';

const newToken = randomTokens();
const source = testRepo.sources.get(payments.name)!;
const view = testRepo.views.get('refusals')!;
const NEVER = new AbortController().signal;

let clock: ManualClock;
let log: MemoryEventLog;
let store: MemoryTileStore;
let bindings: ViewBindings;

beforeEach(() => {
  clock = new ManualClock(NOON_MS);
  log = new MemoryEventLog({ source: 'payments', partitions: 1, random: newToken, segmentRecords: 1 });
  store = new MemoryTileStore({ random: newToken });
  bindings = new ViewBindings({ views: source.views, store, clock, newToken: () => newToken() });
});

const writing = () => ({
  ...{ store, clock, shards: 1, newToken },
  ...{ shape: DEFAULT_TILE_SHAPE, pacing: DEFAULT_PACING, rules: PROTOCOL },
});
const append = async (count: number): Promise<void> => {
  for (let i = 0; i < count; i++) {
    const value = Buffer.from(JSON.stringify(payment()));
    await log.append([{ partition: 0, appendedMs: NOON_MS, stamp: null, value, eventTimeMs: NOON_MS }]);
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
/** Applies so many records to a namespace, or all there are. */
const apply = async (bound: CompiledView, chunkRecords = 1_000): Promise<void> => {
  const consumer = new PartitionConsumer({
    ...{ source, views: [bound], partition: 0, log, writing: writing() },
    deadLetters: { write: async () => {} },
    observer: { chunkApplied: () => {}, caughtUp: () => {}, positioned: () => {}, gap: () => {} },
    options: { chunkRecords },
  });
  await consumer.step();
};
const begin = (acceptGap = false): Promise<ViewRebuild> =>
  ViewRebuild.begin({
    ...{ source, view, bindings, writing: writing(), log, acceptGap },
    ...{ nowMs: () => clock.nowMs(), graceMs: 1_000, check: async () => {} },
  });
const never = (): never => {
  throw new Error('there is nothing to do');
};
const active = async (): Promise<string> => (await bindings.read([view]))[0]!.active;

test('what retention took from under a rebuild, and the present state counts, is not passed unless that is accepted', async () => {
  await append(6);
  await apply(view);
  const rebuild = await begin();
  await apply(rebuild.building, 2);
  await truncate(4);
  await apply(rebuild.building);
  await expect(rebuild.look()).rejects.toThrow(LogTooShortError);
  await expect(rebuild.look()).rejects.toThrow(
    /source payments, partition 0, has lost records 2 to 3 before .* view refusals would lack events/,
  );
  // Nor by whoever comes next.
  const next = await begin();
  expect(next.resumed).toBe(true);
  await expect(next.look()).rejects.toThrow(LogTooShortError);
  expect(await active()).toBe(view.namespace);

  const accepting = await begin(true);
  expect([accepting.resumed, accepting.building.namespace]).toEqual([true, rebuild.building.namespace]);
  expect((await accepting.look()).state).toBe('joined');
  // It is said once, for all who drive it.
  expect((await (await begin()).look()).state).toBe('joined');
  expect((await next.look()).state).toBe('switched');
  expect(await active()).toBe(rebuild.building.namespace);
});

test('what the present state lacks as well, or has not come to, is no loss', async () => {
  await append(6);
  await truncate(3);
  await apply(view, 1);
  const rebuild = await begin();
  await apply(rebuild.building, 1);
  expect(await rebuild.look()).toMatchObject({ state: 'joined', nextOffsets: [4] });
  await truncate(5);
  await apply(rebuild.building);
  expect(await rebuild.look()).toMatchObject({ state: 'joined', nextOffsets: [6] });
});

test('a switch that the store loses again is made once more', async () => {
  await append(3);
  await apply(view);
  const states: RebuildLook['state'][] = [];
  let losses = 0;
  const rebuild = await begin();
  const outcome = await driveRebuild(
    {
      rebuild,
      fill: async () => {
        await apply(rebuild.building);
        return { stop: async () => {} };
      },
      lookEveryMs: 1,
      confirmAfterMs: 50,
      onLook: ({ state }) => {
        if (state !== states.at(-1)) states.push(state);
        if (state === 'switched' && losses++ === 0) store.rollback(1);
      },
      onTrouble: (error) => {
        throw error;
      },
    },
    NEVER,
  );
  expect(states).toEqual(['filling', 'joined', 'switched', 'joined', 'switched']);
  expect(outcome).toBe('switched');
  expect(await active()).toBe(rebuild.building.namespace);
});

test('one that has passed what it must not ends with that, and goes on when it is accepted', async () => {
  await append(6);
  await apply(view);
  const drive = async (rebuild: ViewRebuild): Promise<RebuildLook['state']> => {
    let stopped = 0;
    const state = await driveRebuild(
      {
        rebuild,
        fill: async () => {
          await apply(rebuild.building, 2);
          await truncate(4);
          await apply(rebuild.building);
          return { stop: async () => void stopped++ };
        },
        lookEveryMs: 1,
        onTrouble: () => {},
      },
      NEVER,
    ).finally(() => expect(stopped).toBe(1));
    return state;
  };
  await expect(drive(await begin())).rejects.toThrow(LogTooShortError);
  expect(
    await driveRebuild({ rebuild: await begin(true), fill: never, lookEveryMs: 1, onTrouble: never }, NEVER),
  ).toBe('switched');
});

test('why a rebuild stands still is told when it changes', async () => {
  await append(3);
  await apply(view);
  const over = new AbortController();
  const reasons = [[], ['no store'], ['no store'], [], ['no store'], ['no schema', 'no store'], []];
  const told: string[] = [];
  let looks = 0;
  await driveRebuild(
    {
      rebuild: await begin(),
      fill: async () => ({ failing: () => reasons[looks - 1] ?? [], stop: async () => {} }),
      lookEveryMs: 1,
      onLook: () => {
        if (++looks > reasons.length) over.abort();
      },
      onTrouble: (error) => told.push((error as Error).message),
    },
    over.signal,
  );
  expect(told).toEqual(['no store', 'no store', 'no schema; no store']);
});

test('a partition without records has a watermark or none, which is told apart: its loss is noticed by nothing else', async () => {
  const rebuild = await begin();
  expect(await rebuild.look()).toMatchObject({ state: 'filling', nextOffsets: [-1] });
  await apply(rebuild.building);
  expect(await rebuild.look()).toMatchObject({ state: 'joined', nextOffsets: [0] });
  // Nor is one told by what retention has taken.
  await append(3);
  await truncate(3);
  store.wipe();
  const again = await begin();
  expect(await again.look()).toMatchObject({ state: 'filling', nextOffsets: [-1] });
});
