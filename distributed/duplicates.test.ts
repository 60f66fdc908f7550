/**
 * C4 over a real Kafka and Redis: a second event with the id of another does not count, on whatever partition it arrives
 * and whatever was done in between; different events of equal key and time all count. Records are written past the door.
 */
import { expect, test } from 'vitest';
import { NOON_MS, payment } from '../embedded/testing/test-repo.ts';
import { describeWithServices } from '../services/index.ts';
import type { TestDeployment, TestProcess } from './testing/test-deployment.ts';
import { testDeployments } from './testing/test-deployments.ts';

describeWithServices(['kafka', 'redis'], 'duplicates', () => {
  const deployments = testDeployments();
  let deployment: TestDeployment;

  const ROLES = ['ingest', 'compact', 'serve'] as const;
  const process = { pacing: { foldAfterMs: 0 }, shape: { leafBytesMax: 90, tailRowsMax: 3 } };
  const open = async (): Promise<TestProcess> => {
    deployment = await deployments.open({ process });
    return deployment.start(ROLES);
  };
  const produce = (partition: number, events: readonly object[]): Promise<void> =>
    deployment.produce(
      'payments',
      partition,
      events.map((event) => ({ value: JSON.stringify(event) })),
    );
  const counted = async (serve: TestProcess): Promise<{ hour: number; ever: number }> => {
    await serve.caughtUp();
    const { body } = await serve.read('card', { entities: { card: 'c1' } });
    return { hour: body.features.payments_1h, ever: body.features.payments_ever };
  };
  /** Pushed behind all that was produced, to both partitions: when they are applied, so is the rest. */
  const applied = async (serve: TestProcess): Promise<void> => {
    const others = Array.from({ length: 16 }, () => payment({ card: 'other' }));
    expect((await serve.push('payments', others)).body).toMatchObject({ accepted: 16 });
  };
  const events = Array.from({ length: 12 }, (_, i) => payment({ at: NOON_MS - i * 60_000 }));

  test('the same id twice counts once across a restart, on the same partition and on another', async () => {
    const first = await open();
    await produce(0, events);
    await applied(first);
    expect(await counted(first)).toEqual({ hour: 12, ever: 12 });
    await first.close();
    await produce(0, events.slice(0, 6));
    await produce(1, events);
    const second = await deployment.start(ROLES);
    await applied(second);
    expect(await counted(second)).toEqual({ hour: 12, ever: 12 });
  });

  test('the same id twice counts once across compaction', async () => {
    const it = await open();
    await produce(0, events);
    await applied(it);
    deployment.clock.advanceTo(NOON_MS + 20 * 60_000);
    expect(await it.runtime.compact()).toBeGreaterThan(0);
    await produce(0, events);
    await produce(1, events);
    await applied(it);
    await it.runtime.compact();
    expect(await counted(it)).toEqual({ hour: 12, ever: 12 });
  });

  test('two different events of equal key and time count twice', async () => {
    const it = await open();
    await produce(0, [payment({ at: NOON_MS }), payment({ at: NOON_MS })]);
    await produce(1, [payment({ at: NOON_MS })]);
    await applied(it);
    expect(await counted(it)).toEqual({ hour: 3, ever: 3 });
  });
});
