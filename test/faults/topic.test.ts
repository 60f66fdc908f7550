/**
 * The topics themselves change: retention takes records that were applied, and partitions are added. What was taken is
 * read before it goes, for the oracle.
 */
import { it, onTestFinished } from 'vitest';
import { describeWithServices, sharedServices, startRedis } from '../../services/index.ts';
import { Deck } from './deck.ts';
import { runScenario, SEED, TIMEOUT_MS } from './run-scenario.ts';
import type { World } from './world.ts';

const PARTITIONS_MAX = 7;

describeWithServices(['kafka', 'redis'], `faults K topic (TEST_SEED=${SEED})`, () => {
  it('topics that forget what was applied, and grow', { timeout: TIMEOUT_MS }, async () => {
    const redis = await startRedis({ appendonly: 'everysec' });
    onTestFinished(() => redis.stop());

    const forget = async ({ roles, random, fault }: World): Promise<void> => {
      const topic = random.pick([roles.topics.payments, roles.topics.visits]);
      // Committed offsets are for display, and never ahead of what is applied. The group has the name of its topic.
      const [committed] = await roles.admin.fetchOffsets({ groupId: topic, topics: [topic] });
      await roles.readTopics();
      const partitions = committed!.partitions
        .filter(({ offset }) => Number(offset) > 0)
        .map(({ partition, offset }) => ({ partition, offset: String(random.between(1, Number(offset))) }));
      if (partitions.length === 0) return;
      fault('records deleted', partitions.map(({ partition, offset }) => `${partition}/${offset}`).join(' '));
      await roles.admin.deleteTopicRecords({ topic, partitions });
    };
    const grow = async ({ roles, random, fault }: World): Promise<void> => {
      const topic = random.pick([roles.topics.payments, roles.topics.visits]);
      const partitions = (await roles.admin.fetchTopicOffsets(topic)).length;
      if (partitions >= PARTITIONS_MAX) return;
      fault('partition added', `${partitions + 1}`);
      await roles.admin.createPartitions({ topicPartitions: [{ topic, count: partitions + 1 }] });
    };
    const faults = new Deck(['forgotten', 'grown', 'forgotten'] as const);
    await runScenario({
      name: 'topic',
      services: { brokers: await sharedServices().kafka(), redis: redis.url },
      disturb: async (world) => {
        await world.pause(world.random.between(1_000, 4_000));
        if (world.isOver) return;
        if (faults.draw(world.random) === 'forgotten') await forget(world);
        else await grow(world);
      },
    });
  });
});
