/** A Redis that is full, that is told to evict, and that is emptied. */
import { it, onTestFinished } from 'vitest';
import { describeWithServices, sharedServices, startRedis } from '../../services/index.ts';
import { until } from '../cluster/until.ts';
import { Deck } from './deck.ts';
import { runScenario, SEED, TIMEOUT_MS } from './run-scenario.ts';
import type { World } from './world.ts';

const ROOM_ENOUGH = '10gb';

describeWithServices(['kafka', 'redis'], `faults E redis-full (TEST_SEED=${SEED})`, () => {
  it('a Redis that is full, told to evict, emptied', { timeout: TIMEOUT_MS }, async () => {
    const redis = await startRedis({ appendonly: 'everysec' });
    onTestFinished(() => redis.stop());
    const configure = (name: string, value: string | number) => redis.command('CONFIG', 'SET', name, value);

    const fill = async (world: World): Promise<void> => {
      const [, used] = /used_memory:(\d+)/.exec(String(await redis.command('INFO', 'memory')))!;
      world.fault('Redis full (OOM)');
      // At once, or after some more writes.
      await configure('maxmemory', Number(used) + world.random.pick([0, 0, 100_000]));
      await world.pause(world.random.between(500, 5_000));
      await configure('maxmemory', 0);
    };
    /** Nothing is evicted as there is room; that it could be has to be said. */
    const evicting = async (world: World): Promise<void> => {
      world.fault('eviction policy changed');
      await configure('maxmemory', ROOM_ENOUGH);
      await configure('maxmemory-policy', 'allkeys-lru');
      await until('readiness says that data may be dropped', async () => {
        // Not of one: it may be started just now, which is refused.
        for (const process_ of world.roles.all) {
          const text = process_.url === null ? '' : await process_.get('/readyz').catch(() => '');
          if (text.includes('maxmemory-policy allkeys-lru')) return true;
        }
        return false;
      });
      await configure('maxmemory-policy', 'noeviction');
      await configure('maxmemory', 0);
    };
    const faults = new Deck(['full', 'evicting', 'full', 'emptied'] as const);
    await runScenario({
      name: 'redis-full',
      services: { brokers: await sharedServices().kafka(), redis: redis.url },
      disturb: async (world) => {
        await world.pause(world.random.between(500, 3_000));
        if (world.isOver) return;
        const fault = faults.draw(world.random);
        if (fault === 'full') await fill(world);
        else if (fault === 'evicting') await evicting(world);
        else {
          world.fault('FLUSHALL');
          await redis.command('FLUSHALL');
        }
      },
    });
  });
});
