/** A rebuild over a log that was made again. */
import { expect, test } from 'vitest';
import { testRepo } from '../embedded/testing/test-repo.ts';
import { ManualClock } from '../engine/clock.ts';
import { MemoryTileStore } from '../engine/store/memory-tile-store.ts';
import { randomTokens } from '../engine/store/random-tokens.ts';
import { MemoryEventLog } from '../ingest/log/memory-event-log.ts';
import { LogReplacedError } from '../ingest/partition-stopped.ts';
import { driveRebuild } from './drive-rebuild.ts';
import { ViewBindings } from './view-bindings.ts';
import { ViewRebuild, type ViewRebuildOptions } from './view-rebuild.ts';

const NOW_MS = 1_780_000_000_000;
const source = testRepo.sources.get('payments')!;
const view = source.views[0]!;

/** A view that has five records of a log of its only partition. */
async function setUp() {
  const newToken = randomTokens();
  const store = new MemoryTileStore({ random: () => newToken() });
  const clock = new ManualClock(NOW_MS);
  const bindings = new ViewBindings({ views: source.views, store, clock, newToken: () => newToken() });
  const log = new MemoryEventLog({ source: source.name, partitions: 1, random: () => newToken() });
  const append = (count: number) =>
    log.append(
      Array.from({ length: count }, () => ({
        partition: 0,
        appendedMs: NOW_MS,
        stamp: null,
        value: Buffer.from('{}'),
        eventTimeMs: NOW_MS,
      })),
    );
  await append(5);
  const identity = await log.identity(0);
  const name = { namespace: view.namespace, source: source.name, partition: 0 };
  const next = { nextOffset: 5, maxEventTimeMs: NOW_MS, appendedMs: NOW_MS, clockMs: NOW_MS };
  const incarnation = await store.incarnation(0);
  const token = newToken();
  const moved = await store.moveWatermarks([
    { shard: 0, name, expected: null, incarnation, next: { ...next, token, logIdentity: identity } },
  ]);
  expect(moved).toEqual([true]);
  const options: ViewRebuildOptions = {
    source,
    view,
    bindings,
    writing: { store, clock, shards: 1, newToken: () => newToken() },
    check: async () => {},
    log,
    nowMs: () => NOW_MS,
    graceMs: 0,
  };
  const building = async () => (await bindings.read([view]))[0]!.building;
  /** As of a topic in Kafka: another log has the same identity. */
  const sameIdentity = (): void => {
    log.identity = async () => identity;
  };
  return { log, append, options, building, sameIdentity };
}

test('a log made again is refused before anything is made: by its identity, or as it is shorter than what was applied', async () => {
  for (const how of ['identity', 'end'] as const) {
    const { log, append, options, building, sameIdentity } = await setUp();
    log.recreate(0);
    await append(how === 'identity' ? 9 : 4);
    if (how === 'end') sameIdentity();
    const refused = ViewRebuild.begin(options);
    await expect(refused).rejects.toThrow(LogReplacedError);
    await expect(refused).rejects.toThrow(
      /source payments, partition 0, .*start afresh with another store .*a rebuild cannot go on with it either/,
    );
    expect(await building()).toBeNull();
  }
});

test('one that is made again during a rebuild ends it, with the reason', async () => {
  const { log, options, sameIdentity } = await setUp();
  const rebuild = await ViewRebuild.begin(options);
  expect((await rebuild.look()).state).toBe('filling');
  sameIdentity();
  log.recreate(0);
  const driven = driveRebuild(
    {
      rebuild,
      fill: async () => ({ stop: async () => {} }),
      lookEveryMs: 1,
      onLook: () => {},
      onTrouble: (error) => expect.unreachable(String(error)),
    },
    AbortSignal.timeout(10_000),
  );
  await expect(driven).rejects.toThrow(LogReplacedError);
});
