/** A Redis Cluster whose slots move under writes and whose masters die; replicas take over without their last writes. */
import { it, onTestFinished } from 'vitest';
import {
  describeWithServices,
  type RedisCluster,
  type RedisServer,
  sharedServices,
  startRedisCluster,
} from '../../services/index.ts';
import { waitUntil } from '../../services/process/wait-until.ts';
import { migrateSlot, ownerOf } from '../../services/redis/migrate-slot.ts';
import { Deck } from './deck.ts';
import { runScenario, SEED, TIMEOUT_MS } from './run-scenario.ts';
import type { World } from './world.ts';

/** Of a deployment on a cluster, unless it is told otherwise. */
const SHARDS = 16;
const CLUSTER_MS = 60_000;

async function isMaster(server: RedisServer): Promise<boolean> {
  return ((await server.command('ROLE')) as readonly unknown[])[0] === 'master';
}

/** Masters have slots: one that has lost its slots, and one that came back, follow somebody in the end. */
async function mastersOf(servers: readonly RedisServer[]): Promise<RedisServer[]> {
  const masters: RedisServer[] = [];
  for (const server of servers) if (await isMaster(server)) masters.push(server);
  return masters;
}

async function waitForReplicas(cluster: RedisCluster, servers: readonly RedisServer[]): Promise<void> {
  await waitUntil(
    async () => {
      const masters = await mastersOf(servers);
      if (masters.length !== cluster.masters.length) return false;
      for (const server of servers) {
        const info = String(await server.command('INFO', 'replication'));
        if (!masters.includes(server) && !info.includes('master_link_status:up')) return false;
      }
      return true;
    },
    { what: 'every master of the cluster has its replica', timeoutMs: CLUSTER_MS },
  );
  await cluster.waitUntilOk();
}

describeWithServices(['kafka', 'redis'], `faults D redis-cluster (TEST_SEED=${SEED})`, () => {
  it('a cluster whose slots move and whose masters die', { timeout: TIMEOUT_MS }, async () => {
    const cluster = await startRedisCluster({ replicas: 1, appendonly: 'everysec' });
    onTestFinished(() => cluster.stop());
    const servers = [...cluster.masters, ...cluster.replicas];

    const move = async (world: World): Promise<void> => {
      const masters = await mastersOf(servers);
      const shard = world.random.below(SHARDS);
      const slot = Number(await masters[0]!.command('CLUSTER', 'KEYSLOT', `{${shard}}`));
      const from = await ownerOf(masters, slot);
      const to = world.random.pick(masters.filter((master) => master !== from));
      world.fault('slot of a shard moved', `shard ${shard}`);
      await migrateSlot(masters, slot, from, to);
    };
    const killMaster = async (world: World): Promise<void> => {
      const victim = world.random.pick(await mastersOf(servers));
      world.fault('master of the cluster killed', `port ${victim.port}`);
      await victim.kill('SIGKILL');
      await cluster.waitUntilOk();
      await world.pause(world.random.between(0, 1_500));
      await victim.restart();
      await waitForReplicas(cluster, servers);
    };
    const faults = new Deck(['moved', 'moved', 'killed', 'moved'] as const);
    await runScenario({
      name: 'redis-cluster',
      services: { brokers: await sharedServices().kafka(), redis: cluster.urls.join(',') },
      disturb: async (world) => {
        await world.pause(world.random.between(300, 1_500));
        if (world.isOver) return;
        if (faults.draw(world.random) === 'moved') await move(world);
        else await killMaster(world);
      },
    });
  });
});
