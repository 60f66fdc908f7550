import { expect, test } from 'vitest';
import { inOwnNamespaces } from '../compaction/compactor.ts';
import { testRepo } from '../embedded/testing/test-repo.ts';
import { ManualClock } from '../engine/clock.ts';
import { MemoryTileStore } from '../engine/store/memory-tile-store.ts';
import { randomTokens } from '../engine/store/random-tokens.ts';
import { ForwardingStore } from '../engine/store/testing/forwarding-store.ts';
import { PROTOCOL } from '../engine/tiles/state-protocol.ts';
import { DEFAULT_PACING } from '../engine/tiles/state-update.ts';
import { DEFAULT_TILE_SHAPE } from '../engine/tiles/tile-shape.ts';
import { Metrics } from '../serve/metrics.ts';
import { CompactionRole } from './compaction-role.ts';

const NOW_MS = 1_700_000_000_000;
const SHARDS = 2;

test('the backlog has the states that are due and the age of the one that waits longest, over all shards', async () => {
  const newToken = randomTokens();
  const store = new MemoryTileStore({ random: () => newToken() });
  const metrics = new Metrics();
  const role = new CompactionRole({
    viewIn: inOwnNamespaces(testRepo.views.values()),
    writing: {
      ...{ store, clock: new ManualClock(NOW_MS), shards: SHARDS, newToken },
      ...{ shape: DEFAULT_TILE_SHAPE, pacing: DEFAULT_PACING, rules: PROTOCOL },
    },
    completeness: async () => true,
    metrics,
    batchSize: 8,
  });
  const enter = async (key: string, shard: number, dueMs: number) => {
    const address = { namespace: '0123456789abcdef', key, shard };
    const next = { token: newToken(), head: new Uint8Array(1) };
    expect(await store.compareAndSet([{ address, expected: null, next, changes: new Map(), dueMs }])).toEqual(
      [true],
    );
  };
  const counted = async (): Promise<number[]> => {
    await role.countBacklog();
    const text = await metrics.text();
    return ['backlog_states', 'backlog_age_seconds'].map((name) =>
      Number(new RegExp(`^millrace_compaction_${name} (\\S+)$`, 'm').exec(text)![1]),
    );
  };
  expect(await counted()).toEqual([0, 0]);
  await enter('later', 0, NOW_MS + 1_000);
  expect(await counted()).toEqual([0, 0]);
  await enter('a', 0, NOW_MS - 1_000);
  await enter('b', 1, NOW_MS - 90_000);
  await enter('c', 1, NOW_MS);
  expect(await counted()).toEqual([3, 90]);
});

test('a store that cannot say how old the backlog is says how large it is', async () => {
  const newToken = randomTokens();
  const store = new (class extends ForwardingStore {
    override async countDue(): Promise<number> {
      return 7;
    }

    override async earliestDueMs(): Promise<never> {
      throw new Error('not allowed');
    }
  })(new MemoryTileStore({ random: () => newToken() }));
  const metrics = new Metrics();
  const role = new CompactionRole({
    viewIn: () => undefined,
    writing: {
      ...{ store, clock: new ManualClock(NOW_MS), shards: 1, newToken },
      ...{ shape: DEFAULT_TILE_SHAPE, pacing: DEFAULT_PACING, rules: PROTOCOL },
    },
    completeness: async () => true,
    metrics,
    batchSize: 8,
  });
  await expect(role.countBacklog()).rejects.toThrow('not allowed');
  expect(await metrics.text()).toMatch(/^millrace_compaction_backlog_states 7$/m);
});
