import { afterEach, expect, onTestFinished, test } from 'vitest';
import { NOON_MS, testRepo } from '../embedded/testing/test-repo.ts';
import { ManualClock } from '../engine/clock.ts';
import { MemoryTileStore } from '../engine/store/memory-tile-store.ts';
import { randomTokens } from '../engine/store/random-tokens.ts';
import { RedisTileStore } from '../engine/store/redis/redis-tile-store.ts';
import { ForwardingStore } from '../engine/store/testing/forwarding-store.ts';
import type { TileStore } from '../engine/store/tile-store.ts';
import { describeWithServices, type RedisServer, startRedis } from '../services/index.ts';
import { waitUntil } from '../services/process/wait-until.ts';
import { NamespaceRetirement, REMOVED_AFTER_MS } from './namespace-retirement.ts';
import { begun, switched } from './view-binding.ts';
import { ViewBindings } from './view-bindings.ts';

const view = testRepo.views.get('spend')!;
const newToken = randomTokens();
const STATES = 4_000;

/** A view whose former namespace is due to be removed, with states in it. */
async function open(store: TileStore) {
  const clock = new ManualClock(NOON_MS);
  const bindings = new ViewBindings({ views: [view], store, clock, newToken: () => newToken() });
  await store.compareAndSet(
    Array.from({ length: STATES }, (_, i) => ({
      address: { namespace: view.namespace, key: `k${i}`, shard: 0 },
      expected: null,
      next: { token: newToken(), head: new Uint8Array([1]) },
      ...{ changes: new Map(), dueMs: NOON_MS + i },
    })),
  );
  await bindings.change(
    view,
    begun(bindings.binding(view), newToken(), { acceptGap: false, cut: null, history: null }),
  );
  await bindings.change(view, switched(bindings.binding(view), NOON_MS));
  clock.advanceTo(NOON_MS + REMOVED_AFTER_MS);
  let states = 0;
  const retirement = new NamespaceRetirement({
    ...{ views: [view], bindings, store, shards: 1, clock },
    onRemoved: (_, removed) => {
      states = removed;
    },
    onError: () => {},
  });
  return { bindings, retirement, removed: () => states };
}

test('a binding is left to whoever adopts it together with the positions of what is read', async () => {
  const { bindings, retirement, removed } = await open(new MemoryTileStore({ random: () => newToken() }));
  const before = bindings.binding(view);
  await retirement.remove();
  expect(removed()).toBe(STATES);
  expect(bindings.binding(view)).toBe(before);
  expect((await bindings.read([view]))[0]!.retiring).toEqual([]);
});

describeWithServices(['redis'], 'over Redis', () => {
  let redis: RedisServer | undefined;
  afterEach(() => redis?.stop());

  /** Redis is started again between the first step and the second: its cursor then is one of another order. */
  class RestartedStore extends ForwardingStore {
    steps = 0;

    override async dropStates(args: Parameters<TileStore['dropStates']>[0]) {
      const step = await super.dropStates(args);
      if (this.steps++ === 0) {
        await redis!.restart();
        const answers = (): Promise<boolean> => this.incarnation(0).then(Boolean, () => false);
        await waitUntil(answers, { what: 'Redis answers again', timeoutMs: 20_000 });
      }
      return step;
    }
  }

  test('no state is passed over where Redis is started again meanwhile', async () => {
    redis = await startRedis({ appendonly: 'everysec' });
    const store = new RestartedStore(await RedisTileStore.open({ nodes: redis.url, prefix: 'retired' }));
    onTestFinished(() => store.close());
    const { retirement } = await open(store);
    await retirement.remove();
    expect(store.steps).toBeGreaterThan(2);
    const again = await store.dropStates({ shard: 0, namespace: view.namespace, cursor: null });
    let left = again!.dropped;
    for (let cursor = again!.cursor; cursor !== null; ) {
      const step = await store.dropStates({ shard: 0, namespace: view.namespace, cursor });
      left += step!.dropped;
      cursor = step!.cursor;
    }
    expect(left).toBe(0);
  });
});
