/**
 * Backfills beside processes that go on, over real servers: the archive has what the topic has lost, events come all the
 * while, repeats of old ones among them, and every answer counts each once. What this does not show: commands that are
 * killed (test/).
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { archivePositions } from '../archive/archive-positions.ts';
import { NOON_MS, payment } from '../embedded/testing/test-repo.ts';
import { SeededRandom } from '../engine/testing/random.ts';
import { BackfillHistory } from '../offline/backfill-history.ts';
import { BackfillLostError, type HistoryPosition } from '../roles/backfill.ts';
import { LogTooShortError } from '../roles/log-reach.ts';
import type { RebuildLook } from '../roles/view-rebuild.ts';
import { describeWithServices, TcpProxy } from '../services/index.ts';
import { type BackfillSink, type BackfillViewOptions, backfillView } from './backfill.ts';
import { abortViewRebuild, type RebuildOptions, rebuildView } from './rebuild.ts';
import { type TestDeployment, type TestProcess, until } from './testing/test-deployment.ts';
import { testDeployments } from './testing/test-deployments.ts';

const CARDS = Array.from({ length: 60 }, (_, i) => `card-${i}`);
const NEVER = new AbortController().signal;
const SEED = Number(process.env.TEST_SEED ?? 20_261_130);

/** What was acknowledged, by card, each id once. */
interface Tally {
  readonly count: Map<string, number>;
  readonly sum: Map<string, number>;
}

describeWithServices(['kafka', 'redis'], 'backfill over Kafka and Redis', () => {
  const deployments = testDeployments();
  let deployment: TestDeployment;
  let directory: string;
  let random: SeededRandom;
  let sent: Record<string, unknown>[];
  let tally: Tally;

  const begin = async (): Promise<{ ingest: TestProcess; serve: TestProcess }> => {
    directory = await mkdtemp(join(tmpdir(), 'millrace-backfill-'));
    onTestFinished(() => rm(directory, { recursive: true, force: true }));
    random = new SeededRandom(SEED);
    sent = [];
    tally = { count: new Map(), sum: new Map() };
    deployment = await deployments.open();
    const ingest = await deployment.start(['ingest', 'compact'], {
      archive: { directory, everyMs: 1_000 },
    });
    return { ingest, serve: await deployment.start(['serve']) };
  };
  const push = async (process: TestProcess, count: number): Promise<void> => {
    const events = Array.from({ length: count }, () => {
      // Some come again under their ids.
      if (sent.length > 0 && random.chance(0.1)) return random.pick(sent);
      const own = payment({
        id: `b${sent.length}`,
        card: random.pick(CARDS),
        amount: random.below(1_000),
        at: NOON_MS - random.below(3_000_000),
      });
      sent.push(own);
      const card = own.card as string;
      tally.count.set(card, (tally.count.get(card) ?? 0) + 1);
      tally.sum.set(card, (tally.sum.get(card) ?? 0) + (own.amount as number));
      return own;
    });
    // Those of one push are in it once or twice, and count once.
    expect((await process.push('payments', events)).status).toBe(200);
  };
  const check = async (process: TestProcess, card: string): Promise<void> => {
    const { body } = await process.read('card', { entities: { card }, metadata: true });
    const { payments_1h, amount_sum_1h, payments_ever } = body.features;
    const count = tally.count.get(card) ?? 0;
    expect([payments_1h, amount_sum_1h, payments_ever], card).toEqual([
      count,
      tally.sum.get(card) ?? 0,
      count,
    ]);
    const status = body.metadata.features.payments_1h.status;
    expect(status, card).toBe(count === 0 ? 'empty' : 'present');
  };
  const archived = async (): Promise<HistoryPosition[]> => {
    const found = await archivePositions(directory, 'payments');
    return [0, 1].map((partition) => {
      const { toOffset = 0, logIdentity = null, gaps = [] } = found.get(partition) ?? {};
      return { nextOffset: toOffset, logIdentity, gaps };
    });
  };
  const archiveAll = async (): Promise<void> => {
    const ends = await deployment.ends('payments');
    await until('all is archived', async () => {
      deployment.clock.advanceTo(deployment.clock.nowMs() + 1_000);
      return `${(await archived()).map(({ nextOffset }) => nextOffset)}` === `${ends}`;
    });
  };
  /** Kafka takes the records below. */
  const deleteBelow = (offsets: readonly number[]): Promise<void> =>
    deployment.admin.deleteTopicRecords({
      topic: deployment.topicOf('payments'),
      partitions: offsets.map((offset, partition) => ({ partition, offset: String(offset) })),
    });
  const options = (): RebuildOptions => ({
    ...deployment.processOptions(['ingest']),
    view: deployment.repo.views.get('spend')!,
    lookEveryMs: 20,
    joinWithinRecords: 200,
  });
  const fill = async (
    { cut, nowMs, ...sink }: BackfillSink,
    signal: AbortSignal,
    watch: (states: number) => void = () => {},
  ): Promise<void> => {
    const path = join(directory, 'source=payments');
    await BackfillHistory.use({ view: options().view, path, signal: NEVER }, async (history) => {
      let total = 0;
      const write: BackfillSink['write'] = async (states) => {
        const before = total;
        // One by one, so that there is a middle.
        for (const state of states) {
          if (signal.aborted) break;
          total += await sink.write([state]);
          watch(total);
        }
        return total - before;
      };
      const filled = await history.fill({ sink: { ...sink, write }, cut, nowMs, load: 1 }, signal);
      if (filled === null) return;
      expect(filled.states).toBe(CARDS.length);
    });
  };
  const backfill = async (
    more: Partial<BackfillViewOptions> = {},
    signal: AbortSignal = NEVER,
  ): Promise<RebuildLook['state']> =>
    backfillView({ ...options(), positions: await archived(), fill, ...more }, signal);

  test(`what the topic has lost comes from the archive, the rest from the topic, and each event counts once (seed ${SEED})`, async () => {
    const { serve } = await begin();
    for (let i = 0; i < 6; i++) await push(serve, 300);
    await archiveAll();
    const ends = await deployment.ends('payments');
    // Of what is archived the topic still has some: the cut is behind its start.
    await deleteBelow(ends.map((end) => end - 50));
    await push(serve, 300);
    await expect(rebuildView(options(), NEVER)).rejects.toThrow(LogTooShortError);

    let over = false;
    const live = (async () => {
      while (!over) {
        await push(serve, 5);
        await check(serve, random.pick(CARDS));
      }
    })();
    // Stopped in the middle, and gone on with.
    const stop = new AbortController();
    const resumed: boolean[] = [];
    const first = await backfill(
      {
        onBegun: (was) => resumed.push(was),
        fill: (sink, signal) =>
          fill(sink, signal, (states) => {
            if (states === CARDS.length / 2) stop.abort();
          }),
      },
      stop.signal,
    );
    expect(first).toBe('backfilling');
    const looks: RebuildLook['state'][] = [];
    const counts: number[] = [];
    const outcome = await backfill({
      onBegun: (was) => resumed.push(was),
      onLook: ({ state }) => looks.push(state),
      fill: async (sink, signal) => {
        await fill(sink, signal, (written) => counts.push(written));
      },
    });
    expect(outcome).toBe('switched');
    expect(resumed).toEqual([false, true]);
    // The others were there.
    expect(counts.at(-1)).toBe(CARDS.length / 2);
    expect(looks).not.toContain('backfilling');
    const after = sent.length;
    await until('pushes after the switch', () => sent.length > after + 100);
    over = true;
    await live;
    for (const card of CARDS) await check(serve, card);
    // Old ids, in the history and in the topic, are still told.
    const before = sent.length;
    await serve.push('payments', sent.slice(0, 200));
    expect(sent).toHaveLength(before);
    for (const card of CARDS) await check(serve, card);
  });

  test('a Redis that cannot be reached is waited for, and the history is not gone through again', async () => {
    const { serve } = await begin();
    for (let i = 0; i < 3; i++) await push(serve, 300);
    await archiveAll();
    const proxy = await TcpProxy.open(deployments.redis.port);
    onTestFinished(() => proxy.close());
    const { redis, ...others } = options();
    const reached = { ...others, redis: { ...redis, nodes: `redis://127.0.0.1:${proxy.port}` } };
    // Where nobody listens.
    const unreachable = (): void => proxy.leadTo(1);
    const troubles: string[] = [];
    let fills = 0;
    const outcome = await backfill({
      ...reached,
      onTrouble: (error) => {
        troubles.push((error as Error).message);
        proxy.leadTo(deployments.redis.port);
      },
      fill: async (sink, signal) => {
        fills++;
        const complete: BackfillSink['complete'] = async (...ends) => {
          unreachable();
          await sink.complete(...ends);
        };
        await fill({ ...sink, complete }, signal, (states) => {
          if (states === CARDS.length / 2) unreachable();
        });
      },
    });
    expect([outcome, fills]).toEqual(['switched', 1]);
    expect(troubles.length).toBeGreaterThanOrEqual(2);
    for (const card of CARDS) await check(serve, card);

    // Stopped while nobody answers.
    const stop = new AbortController();
    const stopped = await backfill(
      {
        ...reached,
        onTrouble: () => stop.abort(),
        fill: (sink, signal) =>
          fill(sink, NEVER, (states) => {
            if (states === 5) unreachable();
            if (signal.aborted) throw new Error('it goes on');
          }),
      },
      stop.signal,
    );
    expect(stopped).toBe('backfilling');
  });

  test('where nothing tells a repeat, the cut alone does: records count once on either side of it', async () => {
    const { ingest, serve } = await begin();
    const counts = new Map<string, number>();
    let total = 0;
    const produce = async (records: number): Promise<void> => {
      for (const partition of [0, 1]) {
        const cards = Array.from({ length: records / 2 }, () => random.pick(CARDS));
        for (const card of cards) counts.set(card, (counts.get(card) ?? 0) + 1);
        const recordOf = (card: string) =>
          JSON.stringify({ at: NOON_MS - random.below(3_000_000), card, page: '/' });
        await deployment.produce(
          'clicks',
          partition,
          cards.map((card) => ({ value: recordOf(card) })),
        );
      }
      total += records;
      const applied = { view: 'browsing', outcome: 'applied' };
      await until('they are applied', async () => {
        return (await ingest.metric('millrace_events_applied_total', applied)) === total;
      });
    };
    await produce(300);
    const positions = async (): Promise<HistoryPosition[]> => {
      const found = await archivePositions(directory, 'clicks');
      return [0, 1].map((partition) => {
        return { nextOffset: found.get(partition)?.toOffset ?? 0, logIdentity: null, gaps: [] };
      });
    };
    await until('all is archived', async () => {
      deployment.clock.advanceTo(deployment.clock.nowMs() + 1_000);
      return (await positions()).every(({ nextOffset }) => nextOffset === 150);
    });
    const archivedUpTo = await positions();
    await deployment.admin.deleteTopicRecords({
      topic: deployment.topicOf('clicks'),
      partitions: [
        { partition: 0, offset: '150' },
        { partition: 1, offset: '100' },
      ],
    });
    await produce(100);
    const view = deployment.repo.views.get('browsing')!;
    const outcome = await backfillView(
      {
        ...options(),
        ...{ view, positions: archivedUpTo },
        fill: async ({ cut, nowMs, ...sink }, signal) => {
          expect(cut).toEqual([150, 150]);
          await BackfillHistory.use({ view, path: join(directory, 'source=clicks'), signal }, (history) =>
            history.fill({ sink, cut, nowMs, load: 1 }, signal),
          );
          await produce(40);
        },
      },
      NEVER,
    );
    expect(outcome).toBe('switched');
    await produce(20);
    for (const card of CARDS) {
      await until(`${card} is read from the new state`, async () => {
        const { body } = await serve.read('both', { entities: { card }, metadata: true });
        const isRead = body.features.clicks_1h === (counts.get(card) ?? 0);
        return isRead && ['present', 'empty'].includes(body.metadata.features.clicks_1h.status);
      });
    }
  });

  test('one that is given up leaves nothing, and what is in neither of the two is refused', async () => {
    const { serve } = await begin();
    await push(serve, 200);
    await archiveAll();
    const ends = await deployment.ends('payments');
    await push(serve, 100);
    const stop = new AbortController();
    const aborted = await backfill(
      {
        fill: async (sink, signal) => {
          await fill(sink, signal, (states) => {
            if (states === 5) stop.abort();
          });
        },
      },
      stop.signal,
    );
    expect(aborted).toBe('backfilling');
    // A rebuild from the topic does not go on with it.
    expect(await rebuildView(options(), NEVER)).toBe('backfilling');
    expect(await abortViewRebuild(options())).toBe(true);
    for (const card of CARDS) await check(serve, card);

    // Also where somebody else does so while states are written: it is told, and ends.
    const troubles: unknown[] = [];
    const lost = await backfill({
      fill: async (sink, signal) => {
        expect(await abortViewRebuild(options())).toBe(true);
        await fill(sink, signal);
      },
      onTrouble: (error) => troubles.push(error),
    });
    expect(lost).toBe('given_up');
    expect(troubles).toEqual([expect.any(BackfillLostError)]);

    const positions = (await archived()).map((position) => ({ ...position, nextOffset: ends[0]! - 20 }));
    await deleteBelow(ends);
    await expect(backfill({ positions })).rejects.toThrow(LogTooShortError);
    await expect(backfill({ positions })).rejects.toThrow('are not in the history');
    const other = positions.map((position) => ({ ...position, logIdentity: 'other' }));
    await expect(backfill({ positions: other })).rejects.toThrow(
      'the history is not of the log of source payments',
    );
  });
});
