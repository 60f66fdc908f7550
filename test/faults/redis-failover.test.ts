/**
 * Failovers to a replica that lagged behind: what it never got is gone. The name of the primary leads to it before it is
 * one, so that writes meet READONLY, and the former primary comes back as its replica.
 */
import { it, onTestFinished } from 'vitest';
import {
  describeWithServices,
  type RedisServer,
  sharedServices,
  startRedis,
  TcpProxy,
} from '../../services/index.ts';
import { waitUntil } from '../../services/process/wait-until.ts';
import { runScenario, SEED, TIMEOUT_MS } from './run-scenario.ts';
import type { World } from './world.ts';

const LINK_MS = 60_000;

describeWithServices(['kafka', 'redis'], `faults C redis-failover (TEST_SEED=${SEED})`, () => {
  it('a primary that dies before its replica has everything', { timeout: TIMEOUT_MS }, async () => {
    const start = async (replicaOf?: RedisServer): Promise<RedisServer> => {
      const server = await startRedis({
        appendonly: 'everysec',
        ...(replicaOf === undefined ? {} : { replicaOf }),
      });
      onTestFinished(() => server.stop());
      return server;
    };
    const follow = async (replica: RedisServer): Promise<void> =>
      waitUntil(
        async () => String(await replica.command('INFO', 'replication')).includes('master_link_status:up'),
        { what: 'the replica follows', timeoutMs: LINK_MS },
      );
    let primary = await start();
    let replica = await start(primary);
    await follow(replica);
    const proxy = await TcpProxy.open(primary.port);
    onTestFinished(() => proxy.close());

    const failOver = async (world: World): Promise<void> => {
      const { random } = world;
      // From here on the replica gets nothing any more: what it has is what one that lags would have.
      await replica.command('REPLICAOF', 'NO', 'ONE');
      await world.pause(random.between(100, 2_000));
      world.fault('failover to a lagging replica');
      await primary.kill('SIGKILL');
      if (random.chance(0.5)) {
        world.fault('writes to a replica (READONLY)');
        await replica.command('REPLICAOF', '127.0.0.1', primary.port);
        proxy.leadTo(replica.port);
        await world.pause(random.between(300, 1_500));
        await replica.command('REPLICAOF', 'NO', 'ONE');
      } else {
        await world.pause(random.between(0, 1_500));
        proxy.leadTo(replica.port);
      }
      const former = primary;
      primary = replica;
      // What it had in advance is thrown away.
      await former.restart();
      await former.command('REPLICAOF', '127.0.0.1', primary.port);
      replica = former;
      await follow(replica);
    };
    await runScenario({
      name: 'redis-failover',
      services: { brokers: await sharedServices().kafka(), redis: `redis://127.0.0.1:${proxy.port}` },
      disturb: async (world) => {
        await world.pause(world.random.between(1_000, 4_000));
        if (!world.isOver) await failOver(world);
      },
    });
  });
});
