/**
 * Rebuilds beside processes that go on, over real servers. What this does not show: workers that are killed (test/).
 */
import { expect, test } from 'vitest';
import { NOON_MS, payment } from '../embedded/testing/test-repo.ts';
import { RedisTileStore } from '../engine/store/redis/redis-tile-store.ts';
import { StoreFormatError, StoreUnusedError } from '../engine/store/store-errors.ts';
import { LogTooShortError } from '../roles/log-reach.ts';
import { REMOVED_AFTER_MS } from '../roles/namespace-retirement.ts';
import { decodeBinding, type ViewBinding } from '../roles/view-binding.ts';
import type { RebuildLook } from '../roles/view-rebuild.ts';
import { describeWithServices } from '../services/index.ts';
import { abortViewRebuild, type RebuildOptions, rebuildView } from './rebuild.ts';
import {
  type TestDeployment,
  type TestDeploymentOptions,
  type TestProcess,
  until,
} from './testing/test-deployment.ts';
import { testDeployments } from './testing/test-deployments.ts';

const GRACE_MS = 600_000;
const CARDS = ['c1', 'c2', 'c3', 'c4', 'c5'];
const NEVER = new AbortController().signal;

describeWithServices(['kafka', 'redis'], 'rebuild over Kafka and Redis', () => {
  const deployments = testDeployments();
  let deployment: TestDeployment;
  const open = async (more: Partial<TestDeploymentOptions> = {}): Promise<void> => {
    deployment = await deployments.open(more);
  };
  const viewOf = () => deployment.repo.views.get('spend')!;
  const options = (more: Partial<RebuildOptions> = {}): RebuildOptions => ({
    ...deployment.processOptions(['ingest']),
    view: viewOf(),
    graceMs: GRACE_MS,
    lookEveryMs: 20,
    joinWithinRecords: 200,
    ...more,
  });
  const store = async <T>(use: (store: RedisTileStore) => Promise<T>): Promise<T> => {
    const { redis: settings } = deployment.processOptions(['ingest']);
    const opened = await RedisTileStore.open(settings);
    try {
      return await use(opened);
    } finally {
      await opened.close();
    }
  };
  const binding = (): Promise<ViewBinding> =>
    store(async (opened) => {
      const [record] = await opened.readRecords([`view:${viewOf().namespace}`]);
      return decodeBinding(viewOf(), record!);
    });

  let pushed = 0;
  const push = async (process: TestProcess, count: number): Promise<void> => {
    const events = Array.from({ length: count }, () =>
      payment({
        id: `r${pushed++}`,
        card: CARDS[pushed % CARDS.length]!,
        amount: 1,
        at: NOON_MS - (pushed % 1_000),
      }),
    );
    expect((await process.push('payments', events)).body).toMatchObject({ accepted: count, duplicates: 0 });
  };
  /** Payments of all cards, and the statuses of the answers. */
  const read = async (process: TestProcess): Promise<{ payments: number; statuses: Set<string> }> => {
    let sum = 0;
    const statuses = new Set<string>();
    for (const card of CARDS) {
      const { status, body } = await process.read('card', { entities: { card }, metadata: true });
      expect(status).toBe(200);
      sum += body.features.payments_1h;
      statuses.add(body.metadata.features.payments_1h.status);
    }
    return { payments: sum, statuses };
  };

  test('answers stay right and fresh all the while, and the former state goes when its time is over', async () => {
    await open();
    const ingest = await deployment.start(['ingest', 'compact']);
    const serve = await deployment.start(['serve']);
    pushed = 0;
    for (let i = 0; i < 4; i++) await push(serve, 500);

    const statuses = new Set<string>();
    let stop = false;
    let least = pushed;
    const reading = (async () => {
      while (!stop) {
        await push(serve, 7);
        least = pushed;
        const answer = await read(serve);
        // What was acknowledged as applied is counted by whatever is read next, before and after the switch.
        expect(answer.payments).toBe(least);
        for (const status of answer.statuses) statuses.add(status);
      }
    })();
    // Somebody who waits for nothing: pushes wait until what is read has caught up.
    const watching = (async () => {
      while (!stop) {
        const atLeast = least;
        const answer = await read(serve);
        expect(answer.payments).toBeGreaterThanOrEqual(atLeast);
        for (const status of answer.statuses) statuses.add(status);
      }
    })();
    const looks: RebuildLook[] = [];
    const resumed: boolean[] = [];
    const outcome = await rebuildView(
      options({
        consumer: { chunkRecords: 100 },
        onLook: (look) => looks.push(look),
        onBegun: (was) => resumed.push(was),
      }),
      NEVER,
    );
    const after = pushed;
    await until('pushes after the switch', () => pushed > after + 100);
    stop = true;
    await Promise.all([reading, watching]);

    expect(outcome).toBe('switched');
    expect(resumed).toEqual([false]);
    expect([...statuses]).toEqual(['present']);
    expect([...new Set(looks.map(({ state }) => state))]).toEqual(['filling', 'joined', 'switched']);
    expect(looks.at(-1)!.appliedRecords).toBeGreaterThanOrEqual(2_000);

    const former = viewOf().namespace;
    const { active, building, retiring } = await binding();
    expect(active).not.toBe(former);
    expect({ building, retiring }).toEqual({
      building: null,
      retiring: [{ namespace: former, untilMs: NOON_MS + GRACE_MS }],
    });
    // Both are applied until the time of the former is over; events count once. Whoever waits for an event sees the watermark
    // before `ingest` hears that it was moved.
    const applied = { view: 'spend', outcome: 'applied' };
    await until(
      'each is counted once',
      async () => (await ingest.metric('millrace_events_applied_total', applied)) === pushed,
    );
    const nextOffsets = (namespace: string): Promise<number[]> =>
      store(async (opened) => {
        const names = [0, 1].map((partition) => ({ namespace, source: 'payments', partition }));
        return (await opened.readWatermarks(0, names)).map((mark) => mark?.nextOffset ?? -1);
      });
    await until(
      'both are applied',
      async () => `${await nextOffsets(former)}` === `${await nextOffsets(active)}`,
    );

    deployment.clock.advanceTo(NOON_MS + GRACE_MS + REMOVED_AFTER_MS);
    await until('the former state is removed', async () => (await binding()).retiring.length === 0);
    expect(await nextOffsets(former)).toEqual([-1, -1]);
    expect(
      await store((opened) => opened.dropStates({ shard: 0, namespace: former, cursor: null })),
    ).toMatchObject({
      dropped: 0,
    });
    await push(serve, 10);
    expect(await read(serve)).toEqual({ payments: pushed, statuses: new Set(['present']) });
    expect(await nextOffsets(former)).toEqual([-1, -1]);

    // A store that is emptied takes the binding along: the view is filled where its definition says.
    await deployments.redis.command('FLUSHALL');
    await until('the view is filled again', async () => {
      const { payments: counted, statuses: told } = await read(serve);
      return counted === pushed && told.has('present');
    });
    expect(await binding()).toMatchObject({ token: null, active: former });
  });

  test('one that is interrupted is gone on with, by two workers at once if need be, and one is enough', async () => {
    await open();
    const all = await deployment.start(['ingest', 'serve']);
    pushed = 0;
    for (let i = 0; i < 4; i++) await push(all, 500);
    const first = new AbortController();
    let reached = 0;
    const outcome = await rebuildView(
      options({
        consumer: { chunkRecords: 10 },
        onLook: ({ appliedRecords }) => {
          reached = appliedRecords;
          if (appliedRecords > 0) first.abort();
        },
      }),
      first.signal,
    );
    expect(outcome).toBe('filling');
    expect(reached).toBeLessThan(2_000);
    const { building } = await binding();
    expect(building).toMatchObject({ joined: false });

    const resumed: boolean[] = [];
    const firstLooks: number[] = [];
    const worker = () => {
      let isFirst = true;
      return rebuildView(
        options({
          onBegun: (was) => resumed.push(was),
          onLook: ({ appliedRecords }) => {
            if (isFirst) firstLooks.push(appliedRecords);
            isFirst = false;
          },
        }),
        NEVER,
      );
    };
    expect(await Promise.all([worker(), worker()])).toEqual(['switched', 'switched']);
    expect(resumed).toEqual([true, true]);
    expect(Math.min(...firstLooks)).toBeGreaterThanOrEqual(reached);
    expect((await binding()).active).toBe(building!.namespace);
    expect(await read(all)).toEqual({ payments: pushed, statuses: new Set(['present']) });
  });

  test('one of a store that nobody fills is refused, and fills nothing', async () => {
    await open();
    const { redis: settings } = options();
    const nowhere = { ...settings, prefix: `${settings.prefix}-typo` };
    for (const attempt of [
      () => rebuildView(options({ redis: nowhere }), NEVER),
      () => abortViewRebuild(options({ redis: nowhere })),
    ]) {
      const refused = attempt();
      await expect(refused).rejects.toThrow(StoreUnusedError);
      await expect(refused).rejects.toThrow(`Redis keys ${nowhere.prefix}:…`);
    }
    expect(await deployments.redis.command('KEYS', `${nowhere.prefix}:*`)).toEqual([]);

    // Others use it, and nobody applies this view.
    await deployment.start(['serve']);
    const refused = rebuildView(options(), NEVER);
    await expect(refused).rejects.toThrow(StoreUnusedError);
    await expect(refused).rejects.toThrow(/^nobody has applied view spend, as it is defined here, under/);
    expect((await binding()).token).toBeNull();
    await deployment.start(['ingest']);
    expect(await rebuildView(options(), NEVER)).toBe('switched');
  });

  test('one by another clock than those who ingest have is refused, and leaves now where it was', async () => {
    await open({ process: { clock: 'event' } });
    const all = await deployment.start(['ingest', 'serve', 'compact']);
    pushed = 0;
    await push(all, 100);
    const nowMs = (): number => all.runtime.clock.nowMs();
    await until('it is some time of the events', () => nowMs() > 0);
    for (const attempt of [
      () => rebuildView(options({ clock: 'wall' }), NEVER),
      () => abortViewRebuild(options({ clock: 'wall' })),
    ]) {
      const refused = attempt();
      await expect(refused).rejects.toThrow(StoreFormatError);
      await expect(refused).rejects.toThrow(/are filled by the event clock; start with --clock event,/);
    }
    expect((await binding()).token).toBeNull();
    expect(await rebuildView(options(), NEVER)).toBe('switched');
    // It is the time of an event, all of which are from before noon, where the other clock stands; those up to it count.
    const timesMs = Array.from({ length: 100 }, (_, i) => NOON_MS - 1 - i);
    expect(timesMs).toContain(nowMs());
    expect(await read(all)).toEqual({
      payments: timesMs.filter((timeMs) => timeMs <= nowMs()).length,
      statuses: new Set(['present']),
    });
  });

  test('one that is aborted leaves everything as it was', async () => {
    await open();
    const all = await deployment.start(['ingest', 'serve', 'compact']);
    pushed = 0;
    await push(all, 500);
    expect(await abortViewRebuild(options())).toBe(false);
    let filled = 0;
    const worker = rebuildView(
      // Never near enough to join: the worker has it to itself.
      options({ joinWithinRecords: -1, onLook: ({ appliedRecords }) => (filled = appliedRecords) }),
      NEVER,
    );
    await until('it is filled', () => filled === 500);
    const { namespace } = (await binding()).building!;
    const states = (): Promise<number> =>
      store(async (opened) => {
        const reads = CARDS.map((key) => ({ address: { namespace, key, shard: 0 }, fields: [] }));
        return (await opened.read(reads)).filter(({ token }) => token !== null).length;
      });
    expect(await states()).toBe(CARDS.length);

    expect(await abortViewRebuild(options())).toBe(true);
    expect(await worker).toBe('given_up');
    expect(await binding()).toMatchObject({ active: viewOf().namespace, building: null });
    deployment.clock.advanceTo(NOON_MS + REMOVED_AFTER_MS);
    await until('what it filled is removed', async () => (await binding()).retiring.length === 0);
    expect(await states()).toBe(0);
    expect(await read(all)).toEqual({ payments: pushed, statuses: new Set(['present']) });
  });

  /** Kafka takes the records of partition 0 below the offset. */
  const deleteBelow = (offset: number): Promise<void> =>
    deployment.admin.deleteTopicRecords({
      topic: deployment.topicOf('payments'),
      partitions: [{ partition: 0, offset: String(offset) }],
    });
  const missingOf = async (process: TestProcess): Promise<unknown[]> => {
    const { body } = await process.read('card', { entities: { card: CARDS[0] }, metadata: true });
    const { payments_1h, payments_before_1h } = body.metadata.features;
    return [payments_1h.missing, payments_before_1h.missing];
  };

  test('where the topic has lost what the view can reach, it is refused unless that is accepted', async () => {
    await open();
    const all = await deployment.start(['ingest', 'serve']);
    pushed = 0;
    await push(all, 50);
    await deleteBelow(5);
    const refused = rebuildView(options(), NEVER);
    await expect(refused).rejects.toThrow(LogTooShortError);
    await expect(refused).rejects.toThrow(/source payments, partition 0, begins at offset 5/);
    expect((await binding()).token).toBeNull();
    expect(await missingOf(all)).toEqual([undefined, undefined]);
    expect(await rebuildView(options({ acceptGap: true }), NEVER)).toBe('switched');
    // Values say what they lack.
    const lacking = { payments: pushed - 5, statuses: new Set(['catching_up']) };
    await until('it is read', async () => (await read(all)).payments === pushed - 5);
    expect(await read(all)).toEqual(lacking);
    const gap = { after: null, until: new Date(NOON_MS).toISOString() };
    expect(await missingOf(all)).toEqual([gap, gap]);
  });

  test('what the topic loses from under one that is interrupted is not passed unless that is accepted', async () => {
    await open();
    const all = await deployment.start(['ingest', 'serve']);
    pushed = 0;
    for (let i = 0; i < 4; i++) await push(all, 500);
    const interrupted = new AbortController();
    await rebuildView(
      options({
        consumer: { chunkRecords: 10 },
        onLook: ({ appliedRecords }) => {
          if (appliedRecords > 0) interrupted.abort();
        },
      }),
      interrupted.signal,
    );
    const { building } = await binding();
    const end = (await deployment.ends('payments'))[0]!;
    await deleteBelow(end - 1);
    const refused = rebuildView(options(), NEVER);
    await expect(refused).rejects.toThrow(LogTooShortError);
    await expect(refused).rejects.toThrow(new RegExp(`has lost records \\d+ to ${end - 2} before`));
    expect(await binding()).toMatchObject({ active: viewOf().namespace, building });
    expect(await read(all)).toEqual({ payments: pushed, statuses: new Set(['present']) });

    expect(await rebuildView(options({ acceptGap: true }), NEVER)).toBe('switched');
    await until('it is read', async () => (await read(all)).payments < pushed);
    expect((await read(all)).statuses).toEqual(new Set(['catching_up']));
  });
});
