/** What a network does between us and Redis: replies lost, connections cut, everything late, writes that land long after. */
import { it, onTestFinished } from 'vitest';
import { describeWithServices, sharedServices, startRedis, TcpProxy } from '../../services/index.ts';
import { connectionFaults } from './connection-faults.ts';
import { Deck } from './deck.ts';
import { runScenario, SEED, TIMEOUT_MS } from './run-scenario.ts';

/** Commands of ingest and compaction are given up after 5 s, reads after 1 s. */
const SILENCE_MS = { least: 500, most: 7_000 };

describeWithServices(['kafka', 'redis'], `faults B redis-proxy (TEST_SEED=${SEED})`, () => {
  it('a Redis behind a network that loses, cuts and delays', { timeout: TIMEOUT_MS }, async () => {
    const redis = await startRedis({ appendonly: 'everysec' });
    onTestFinished(() => redis.stop());
    const proxy = await TcpProxy.open(redis.port);
    onTestFinished(() => proxy.close());
    const faults = new Deck(['network', 'network', 'network', 'stopped'] as const);
    const disturbNetwork = connectionFaults(proxy, {
      server: 'Redis',
      silenceMs: SILENCE_MS,
      requestBytes: 4_000,
    });
    await runScenario({
      name: 'redis-proxy',
      services: { brokers: await sharedServices().kafka(), redis: `redis://127.0.0.1:${proxy.port}` },
      disturb: async (world) => {
        await world.pause(world.random.between(500, 1_500));
        if (faults.draw(world.random) === 'network') {
          await disturbNetwork(world);
        } else {
          world.fault('Redis SIGSTOP');
          await redis.kill('SIGSTOP');
          await world.pause(world.random.between(SILENCE_MS.least, SILENCE_MS.most));
          await redis.kill('SIGCONT');
        }
      },
      heal: async () => {
        await redis.kill('SIGCONT');
        proxy.heal();
      },
    });
  });
});
