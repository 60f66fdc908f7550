/**
 * Three brokers that replicate: leaders and group coordinators die or are suspended, one at a time, so that others take
 * over. Topics need two replicas in sync for an acknowledgement.
 */
import { it, onTestFinished } from 'vitest';
import {
  describeWithServices,
  type KafkaBroker,
  startKafkaCluster,
  startRedis,
} from '../../services/index.ts';
import { until } from '../cluster/until.ts';
import { Deck } from './deck.ts';
import { runScenario, SEED, TIMEOUT_MS } from './run-scenario.ts';
import type { World } from './world.ts';

describeWithServices(['kafka', 'redis'], `faults G brokers (TEST_SEED=${SEED})`, () => {
  it('brokers that die one after the other', { timeout: TIMEOUT_MS }, async () => {
    const [kafka, redis] = await Promise.all([startKafkaCluster(), startRedis({ appendonly: 'everysec' })]);
    onTestFinished(async () => {
      await Promise.all([kafka.stop(), redis.stop()]);
    });

    const inSync = async ({ roles }: World): Promise<void> =>
      until('all replicas are in sync', async () => {
        const topics = [roles.topics.payments, roles.topics.visits, '__consumer_offsets'];
        const metadata = await roles.admin.fetchTopicMetadata({ topics });
        return metadata.topics.every(({ partitions }) =>
          partitions.every(({ isr }) => isr.length === kafka.nodes.length),
        );
      });
    const victimOf = async ({ roles, random, fault }: World): Promise<KafkaBroker> => {
      if (random.chance(0.5)) {
        const { topics } = await roles.admin.fetchTopicMetadata({ topics: [roles.topics.payments] });
        const { leader } = random.pick(topics[0]!.partitions);
        fault('leader of a partition away', `broker ${leader}`);
        return kafka.nodes[leader - 1]!;
      }
      const { controller, brokers } = await roles.admin.describeCluster();
      const { nodeId } = random.pick(brokers);
      fault(nodeId === controller ? 'controller away' : 'coordinator or leader away', `broker ${nodeId}`);
      return kafka.nodes[nodeId - 1]!;
    };
    const faults = new Deck(['killed', 'stopped'] as const);
    await runScenario({
      name: 'brokers',
      services: {
        brokers: kafka.brokers,
        brokerPorts: kafka.nodes.map(({ port }) => port),
        redis: redis.url,
        flags: ['--replication-factor', `${kafka.nodes.length}`],
      },
      disturb: async (world) => {
        await world.pause(world.random.between(500, 3_000));
        if (world.isOver) return;
        const victim = await victimOf(world);
        if (faults.draw(world.random) === 'killed') {
          world.fault('broker killed');
          await victim.kill('SIGKILL');
          await world.pause(world.random.between(0, 5_000));
          await victim.restart();
        } else {
          world.fault('broker SIGSTOP');
          await victim.kill('SIGSTOP');
          await world.pause(world.random.between(1_000, 8_000));
          await victim.kill('SIGCONT');
        }
        await inSync(world);
      },
    });
  });
});
