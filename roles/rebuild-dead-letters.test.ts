import { beforeEach, expect, test } from 'vitest';
import { mendableDefinitions } from '../embedded/testing/mendable-repo.ts';
import { NOON_MS } from '../embedded/testing/test-repo.ts';
import { ManualClock } from '../engine/clock.ts';
import { compileRepo } from '../engine/definitions/compile.ts';
import type { CompiledView } from '../engine/definitions/compiled.ts';
import { MemoryTileStore } from '../engine/store/memory-tile-store.ts';
import { randomTokens } from '../engine/store/random-tokens.ts';
import { PROTOCOL } from '../engine/tiles/state-protocol.ts';
import { DEFAULT_PACING } from '../engine/tiles/state-update.ts';
import { DEFAULT_TILE_SHAPE } from '../engine/tiles/tile-shape.ts';
import type { DeadLetters } from '../ingest/dead-letter.ts';
import { MemoryEventLog } from '../ingest/log/memory-event-log.ts';
import { PartitionConsumer } from '../ingest/partition-consumer.ts';
import { RebuildDeadLetters } from './rebuild-dead-letters.ts';
import { ViewBindings } from './view-bindings.ts';

const newToken = randomTokens();
const repo = compileRepo(mendableDefinitions(true));
const source = repo.sources.get('swipes')!;
const broken = repo.views.get('careful')!;
/** The same state, and code that can use all of it. */
const mended = compileRepo(mendableDefinitions(false)).views.get('careful')!;
const NOBODY: DeadLetters = { write: async () => {} };

let clock: ManualClock;
let log: MemoryEventLog;
let store: MemoryTileStore;
let bindings: ViewBindings;
let written: (readonly [offset: number, readOffset: number])[];
let unusable: number;

beforeEach(() => {
  clock = new ManualClock(NOON_MS);
  log = new MemoryEventLog({ source: 'swipes', partitions: 1, random: newToken });
  store = new MemoryTileStore({ random: newToken });
  bindings = new ViewBindings({ views: [broken], store, clock, newToken: () => newToken() });
  written = [];
});

const append = async (amount: number, originOffset?: number): Promise<void> => {
  const value = Buffer.from(JSON.stringify({ at: NOON_MS, card: 'c1', amount }));
  const record = { partition: 0, appendedMs: NOON_MS, stamp: null, value, eventTimeMs: NOON_MS };
  await log.append([originOffset === undefined ? record : { ...record, originOffset }]);
};
const apply = async (view: CompiledView, deadLetters: DeadLetters, chunkRecords = 100): Promise<void> => {
  const consumer = new PartitionConsumer({
    ...{ source, views: [view], partition: 0, log, deadLetters },
    writing: {
      ...{ store, clock, shards: 2, newToken },
      ...{ shape: DEFAULT_TILE_SHAPE, pacing: DEFAULT_PACING, rules: PROTOCOL },
    },
    observer: { chunkApplied: () => {}, caughtUp: () => {}, positioned: () => {}, gap: () => {} },
    options: { chunkRecords },
  });
  await consumer.step();
};
/** Fills a namespace of its own with the broken code; returns offsets of letters it wrote, and where they were read. */
const rebuild = async (): Promise<typeof written> => {
  written = [];
  unusable = 0;
  const note = (letters: Parameters<DeadLetters['write']>[0]): void => {
    for (const { offset, readOffset } of letters) written.push([offset, readOffset]);
  };
  const letters = new RebuildDeadLetters({
    ...{ view: broken, bindings, store, shards: 2, letters: NOBODY },
    onWritten: note,
    onUnusable: (records) => {
      unusable += records;
    },
  });
  await apply(bindings.bound(broken, newToken()), letters);
  return written;
};

test('a record that the active namespace could not use has its letter', async () => {
  await append(13);
  await append(1);
  await apply(broken, NOBODY);
  expect(await rebuild()).toEqual([]);
});

test('one that it counts, or has not come to, gets one', async () => {
  await append(1);
  await append(13);
  await append(13);
  await apply(mended, NOBODY, 2);
  expect(await rebuild()).toEqual([
    [1, 1],
    [2, 2],
  ]);
});

test('a copy that it has not come to gets one, though the record has', async () => {
  await append(13);
  await append(1);
  await append(13, 0);
  await apply(broken, NOBODY, 2);
  expect(await rebuild()).toEqual([[0, 2]]);
  await apply(broken, NOBODY);
  expect(await rebuild()).toEqual([]);
});

test('a record counts once, however many copies of it got letters', async () => {
  await append(13);
  await append(13, 0);
  await append(13);
  await append(13, 0);
  expect(await rebuild()).toEqual([
    [0, 0],
    [0, 1],
    [2, 2],
    [0, 3],
  ]);
  expect(unusable).toBe(2);
});
