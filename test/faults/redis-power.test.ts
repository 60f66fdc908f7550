/** A Redis that loses power: killed, the end of its append-only file gone, slow to load; its scripts forgotten. */
import { expect, it, onTestFinished } from 'vitest';
import { describeWithServices, sharedServices, startRedis } from '../../services/index.ts';
import { AppendOnlyFile } from '../../services/redis/append-only-file.ts';
import { Deck } from './deck.ts';
import { runScenario, SEED, TIMEOUT_MS } from './run-scenario.ts';
import type { World } from './world.ts';

/** So that processes meet a server that answers LOADING, µs for each command of the file. */
const LOAD_DELAY_US = 100;

describeWithServices(['kafka', 'redis'], `faults A redis-power (TEST_SEED=${SEED})`, () => {
  it('a Redis that loses power, and with it its newest second', { timeout: TIMEOUT_MS }, async () => {
    const redis = await startRedis({
      appendonly: 'everysec',
      args: ['--key-load-delay', `${LOAD_DELAY_US}`],
    });
    onTestFinished(() => redis.stop());
    const brokers = await sharedServices().kafka();

    const powerLoss = async (world: World): Promise<void> => {
      const file = new AppendOnlyFile(redis.dir);
      const flushedBytes = file.bytes;
      // What is written from here on may be lost: a second of it, as `everysec` promises, or more.
      await world.pause(world.random.between(300, 2_000));
      await redis.kill('SIGKILL');
      const size = file.bytes;
      const kept = Math.max(Math.min(flushedBytes, size), size - world.random.below(size - flushedBytes + 1));
      file.truncate(kept);
      world.fault('Redis killed, end of its AOF lost', `${size - kept} of ${size} bytes`);
      await world.pause(world.random.between(100, 2_000));
      await redis.restart();
    };
    const faults = new Deck(['power', 'scripts', 'power'] as const);
    await runScenario({
      name: 'redis-power',
      services: { brokers, redis: redis.url },
      disturb: async (world) => {
        await world.pause(world.random.between(1_000, 3_000));
        if (faults.draw(world.random) === 'power') {
          await powerLoss(world);
        } else {
          for (let i = world.random.between(1, 5); i > 0; i--) {
            await redis.command('SCRIPT', 'FLUSH');
            world.fault('SCRIPT FLUSH');
            await world.pause(200);
          }
        }
      },
    });
    expect(await redis.command('PING')).toBe('PONG');
  });
});
