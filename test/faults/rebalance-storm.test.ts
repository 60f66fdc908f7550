/**
 * Members of the consumer groups come and go every few seconds, in order and not, beside the two that stay. Members are
 * taken out of their groups while they live, as by a session that ended.
 */
import { expect, it, onTestFinished } from 'vitest';
import { describeWithServices, sharedServices, startRedis } from '../../services/index.ts';
import { leaveGroup } from '../../services/kafka/leave-group.ts';
import { until } from '../cluster/until.ts';
import { expectNoDefects, type SupervisedProcess } from '../supervised-process.ts';
import { Deck } from './deck.ts';
import { runScenario, SEED, TIMEOUT_MS } from './run-scenario.ts';
import type { World } from './world.ts';

const GUEST_STAYS_MS = 4_000;

describeWithServices(['kafka', 'redis'], `faults H rebalance-storm (TEST_SEED=${SEED})`, () => {
  it('members that come and go all the time', { timeout: TIMEOUT_MS }, async () => {
    const redis = await startRedis({ appendonly: 'everysec' });
    onTestFinished(() => redis.stop());
    let guest: SupervisedProcess | null = null;
    const evict = async ({ roles, brokerPorts, random }: World): Promise<void> => {
      for (const [group, ids] of await roles.groups.members()) {
        if (ids.length === 0) continue;
        const id = random.pick(ids);
        await leaveGroup(brokerPorts[0]!, group, id);
        await until('the member is out of its group', async () => {
          return !(await roles.groups.members()).get(group)!.includes(id);
        });
      }
    };
    const sendAway = async (): Promise<void> => {
      if (guest === null) return;
      // Before it was ready it may not have heard of signals yet.
      const { isReady } = guest;
      const exit = await guest.stop();
      if (isReady) expect(exit, guest.output).toEqual({ code: 0, signal: null });
      expectNoDefects([guest]);
      guest = null;
    };
    const faults = new Deck(['evicted', 'guest', 'guest'] as const);
    await runScenario({
      name: 'rebalance-storm',
      services: { brokers: await sharedServices().kafka(), redis: redis.url },
      disturb: async (world) => {
        await world.pause(world.random.between(100, 1_500));
        if (world.isOver) return;
        if (faults.draw(world.random) === 'evicted') {
          world.fault('member taken out of its group');
          await evict(world);
        } else if (guest === null) {
          world.fault('member came');
          guest = world.roles.startIngest('ingest guest');
          // Half of the time it leaves before it is in.
          if (world.random.chance(0.5)) await world.pause(GUEST_STAYS_MS);
        } else {
          world.fault('member left');
          await sendAway();
        }
      },
      heal: sendAway,
    });
  });
});
