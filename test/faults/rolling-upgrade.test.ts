/**
 * Another version of the feature repo, one process at a time: a view that is new, one that is another under its name. Old
 * and new processes of every role work beside each other; compactors, which meet states they do not know, come last.
 */
import { expect, it, onTestFinished } from 'vitest';
import { describeWithServices, sharedServices, startRedis } from '../../services/index.ts';
import * as nextVersion from '../fixtures/roles-next/features.ts';
import { fixture } from '../millrace-process.ts';
import type { SupervisedProcess } from '../supervised-process.ts';
import { runScenario, SEED, TIMEOUT_MS } from './run-scenario.ts';
import type { World } from './world.ts';

describeWithServices(['kafka', 'redis'], `faults J rolling-upgrade (TEST_SEED=${SEED})`, () => {
  it('another version of the views, one process at a time', { timeout: TIMEOUT_MS }, async () => {
    const redis = await startRedis({ appendonly: 'everysec' });
    onTestFinished(() => redis.stop());
    const waiting: SupervisedProcess[] = [];
    let world: World | null = null;
    const upgrade = async (process_: SupervisedProcess): Promise<void> => {
      world!.fault(`upgrade of ${process_.role}`);
      const exit = await process_.upgrade(fixture('roles-next'));
      expect(exit, process_.output).toEqual({ code: 0, signal: null });
      await process_.ready();
    };
    await runScenario({
      name: 'rolling-upgrade',
      services: { brokers: await sharedServices().kafka(), redis: redis.url },
      definitions: nextVersion,
      disturb: async (now) => {
        const { ingest, serve, compact } = now.roles;
        if (world === null) waiting.push(...ingest, ...serve, ...compact);
        world = now;
        await world.pause(world.random.between(100, 1_000));
        const next = waiting.shift();
        if (next !== undefined) await upgrade(next);
      },
      heal: async () => {
        for (const process_ of waiting.splice(0)) await upgrade(process_);
      },
    });
  });
});
