/**
 * The topic applied again to states in Redis that have all of it, as after a loss of the watermarks alone. Events without
 * ids and stamps, whose rows are merged for good: nothing but their offsets says that they were applied. For lmdb see
 * embedded/replayed-log.test.ts.
 */
import { afterAll, expect, test } from 'vitest';
import { mendableDefinitions } from '../embedded/testing/mendable-repo.ts';
import { NOON_MS } from '../embedded/testing/test-repo.ts';
import { RedisTileStore } from '../engine/store/redis/redis-tile-store.ts';
import { describeWithServices, type RedisServer, sharedServices, startRedis } from '../services/index.ts';
import { TestDeployment, type TestProcess } from './testing/test-deployment.ts';

const DAY_MS = 86_400_000;
/** The oldest are beyond every window, and past the time for which reads may ask back. */
const DAYS = 6;
const ROLES = ['ingest', 'compact', 'serve'] as const;

describeWithServices(['kafka', 'redis'], 'a topic that is applied again', () => {
  let redis: RedisServer;
  let deployment: TestDeployment;
  afterAll(async () => {
    await deployment?.close();
    await redis?.stop();
  }, 60_000);

  test('counts nothing twice', async () => {
    const brokers = await sharedServices().kafka();
    redis = await startRedis({ appendonly: 'everysec' });
    const definitions = mendableDefinitions(false);
    const process = { pacing: { foldAfterMs: 0 }, shape: { leafBytesMax: 90, tailRowsMax: 3 } };
    deployment = await TestDeployment.open({
      ...{ definitions, brokers, redisUrl: redis.url, startMs: NOON_MS, process },
    });
    const features = async (it: TestProcess): Promise<unknown> => {
      await it.caughtUp();
      return (await it.read('swipes_of_card', { entities: { card: 'c1' } })).body.features;
    };
    const former = await deployment.start(ROLES);
    for (let day = 0; day < DAYS; day++) {
      deployment.clock.advanceTo(NOON_MS + day * DAY_MS);
      const value = JSON.stringify({ at: deployment.clock.nowMs(), card: 'c1', amount: 2 });
      for (const partition of [0, 1]) {
        await deployment.produce('swipes', partition, Array(4).fill({ value }));
        // Behind them on the same partitions: when it is applied, so are they.
        const others = Array.from({ length: 8 }, () => ({
          at: deployment.clock.nowMs(),
          card: 'other',
          amount: 1,
        }));
        await former.push('swipes', others);
      }
      await former.runtime.compact();
    }
    // Its own loop may have been quicker.
    expect(await former.metric('millrace_compaction_states_total', { outcome: 'compacted' })).toBeGreaterThan(
      0,
    );
    const right = { careful_ever: 8 * DAYS, careful_sum_1d: 16, plain_1d: 8 };
    expect(await features(former)).toEqual(right);
    await former.close();

    const store = await RedisTileStore.open({ nodes: redis.url, prefix: `test-${deployment.id}` });
    for (const { namespace } of deployment.repo.views.values()) await store.dropWatermarks(0, namespace);
    await store.close();
    const again = await deployment.start(ROLES);
    expect(await features(again)).toEqual(right);
    await again.runtime.compact();
    expect(await features(again)).toEqual(right);
  }, 180_000);
});
