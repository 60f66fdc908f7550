import { expect } from 'vitest';
import { leaveGroup } from '../../services/kafka/leave-group.ts';
import type { SupervisedProcess } from '../supervised-process.ts';
import { Deck } from './deck.ts';
import type { World } from './world.ts';

/** Between two faults, ms. */
const PAUSE_MS = { least: 500, most: 2_500 };
const STOP_MS = { least: 300, most: 4_000 };

/** Kills, suspends and rolls processes of every role, one at a time, as long as the load lasts. */
export async function disturbProcesses(world: World): Promise<void> {
  const { random, roles, faults, say } = world;
  const signals = new Deck(['SIGKILL', 'SIGSTOP', 'SIGKILL', 'SIGSTOP', 'SIGTERM'] as const);
  const groups = new Deck([roles.ingest, roles.compact, roles.serve]);
  while (!world.isOver) {
    await world.pause(random.between(PAUSE_MS.least, PAUSE_MS.most));
    const victim = random.pick(groups.draw(random));
    const fault = signals.draw(random);
    if (world.isOver || (fault !== 'SIGKILL' && !victim.isReady)) continue;
    say(`${fault} ${victim.name}`);
    faults.add(`${fault} ${victim.role}`);
    if (fault === 'SIGSTOP') {
      victim.signal('SIGSTOP');
      await world.pause(random.between(STOP_MS.least, STOP_MS.most));
      victim.signal('SIGCONT');
      continue;
    }
    await roles.noteCompacted(victim);
    if (fault === 'SIGTERM') {
      expect(await victim.roll(), victim.output).toEqual({ code: 0, signal: null });
    } else if (victim.role === 'ingest') {
      await killMember(world, victim);
    } else {
      await victim.crash();
    }
  }
}

/**
 * A dead member would keep its partitions, and hold up every rebalance, for the 30 s of its session, which is longer than
 * a short run: all are taken out of their groups, as brokers do at a session's end, and the living ones join again.
 */
async function killMember({ roles, brokerPorts }: World, victim: SupervisedProcess): Promise<void> {
  // Brokers may be the ones that are disturbed.
  const members = await roles.groups.members().catch(() => new Map<string, readonly string[]>());
  await victim.crash();
  for (const [group, ids] of members) {
    for (const id of ids) await Promise.all(brokerPorts.map((port) => leaveGroup(port, group, id)));
  }
}
