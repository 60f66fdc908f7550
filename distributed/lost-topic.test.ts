/** A log that cannot be looked at, beside one that can. What the roles make of it: topic-made-again.test.ts. */
import { afterEach, beforeEach, expect, it } from 'vitest';
import { NOON_MS, testRepo } from '../embedded/testing/test-repo.ts';
import { ManualClock } from '../engine/clock.ts';
import { MemoryTileStore } from '../engine/store/memory-tile-store.ts';
import { randomTokens } from '../engine/store/random-tokens.ts';
import { IngestProgress } from '../ingest/ingest-progress.ts';
import type { LogInfo } from '../ingest/log/event-log.ts';
import { MemoryEventLog } from '../ingest/log/memory-event-log.ts';
import { OpenGaps } from '../ingest/open-gaps.ts';
import { ViewBindings } from '../roles/view-bindings.ts';
import { waitUntil } from '../services/process/wait-until.ts';
import { LogPositions } from './log-positions.ts';

// The one that fails is the first in line.
const lost = testRepo.sources.get('payments')!;
const healthy = testRepo.sources.get('clicks')!;

let clock: ManualClock;
let progress: IngestProgress;
let positions: LogPositions;
let logs: { lost: MemoryEventLog; healthy: MemoryEventLog };
let missing: string | null;
/** Offset below which each source is applied. */
let applied: Record<string, number>;
let told: string[];
let looks: number;
let stop: AbortController;
let running: Promise<void>;

const orMissing = (log: LogInfo): LogInfo => ({
  source: log.source,
  identity: (partition) => log.identity(partition),
  ends: (partition) => log.ends(partition),
  partitions: async () => {
    if (missing !== null) throw new Error(missing);
    return log.partitions();
  },
});
const append = (log: MemoryEventLog): Promise<number[]> =>
  log.append([
    { partition: 0, appendedMs: NOON_MS, stamp: null, eventTimeMs: NOON_MS, value: Buffer.from('{}') },
  ]);
/** The looks that are under way, and one that began after the call. */
const looked = async (): Promise<void> => {
  const from = looks;
  await waitUntil(() => looks >= from + 3, { what: 'two looks', timeoutMs: 10_000 });
};
const lag = (source: string) => progress.lags().find((one) => one.source === source);

beforeEach(async () => {
  clock = new ManualClock(NOON_MS);
  progress = new IngestProgress({ clock, lagBoundMs: 10_000 });
  logs = {
    lost: new MemoryEventLog({ source: lost.name, partitions: 1, random: () => 'lost' }),
    healthy: new MemoryEventLog({ source: healthy.name, partitions: 1, random: () => 'healthy' }),
  };
  missing = null;
  applied = { [lost.name]: 1, [healthy.name]: 1 };
  told = [];
  looks = 0;
  const newToken = randomTokens();
  const watermark = { maxEventTimeMs: -1, appendedMs: NOON_MS, clockMs: 0, logIdentity: '' };
  positions = new LogPositions({
    sources: [
      { source: lost, log: orMissing(logs.lost), ingest: () => null },
      { source: healthy, log: logs.healthy, ingest: () => null },
    ],
    store: {
      look: async (_shard, names) => ({
        mark: null,
        watermarks: names.map(({ source }) => ({
          ...watermark,
          token: newToken(),
          nextOffset: applied[source]!,
        })),
      }),
    },
    shards: 1,
    bindings: new ViewBindings({
      views: [...lost.views, ...healthy.views],
      store: new MemoryTileStore({ random: () => 'one' }),
      clock,
      newToken,
    }),
    progress,
    gaps: new OpenGaps(),
    eventClock: null,
    clock,
    idleMs: 1,
    awaitedMs: 1,
    beforeLook: async () => void looks++,
    onError: (error) => told.push((error as Error).message),
  });
  await append(logs.lost);
  await append(logs.healthy);
  await positions.look();
  stop = new AbortController();
  running = positions.run(stop.signal);
});
afterEach(async () => {
  stop.abort();
  await running;
});

it('only its own values are catching up, and only its own lag is unknown', async () => {
  missing = 'there is no topic payments';
  await looked();
  clock.advanceTo(NOON_MS + 60_000);
  await append(logs.healthy);
  await looked();
  expect(lost.views.map((view) => positions.isCatchingUp(view))).toEqual(lost.views.map(() => true));
  expect(healthy.views.map((view) => positions.isCatchingUp(view))).toEqual([true]);
  expect(lag(lost.name)!.seconds).toBeGreaterThanOrEqual(60);
  expect(lag(healthy.name)).toMatchObject({ records: 1, seconds: 60 });
  applied[healthy.name] = 2;
  await looked();
  expect(lost.views.map((view) => positions.isCatchingUp(view))).toEqual(lost.views.map(() => true));
  expect(healthy.views.map((view) => positions.isCatchingUp(view))).toEqual([false]);
  expect(lag(healthy.name)).toMatchObject({ records: 0, seconds: 0 });
  expect(positions.isBlind).toBe(true);
  expect(positions.failing).toMatchObject({ error: { message: 'there is no topic payments' } });
  missing = null;
  await looked();
  expect(positions.isBlind).toBe(false);
  expect(positions.failing).toBeNull();
  expect(lost.views.map((view) => positions.isCatchingUp(view))).toEqual(lost.views.map(() => false));
  expect(lag(lost.name)).toMatchObject({ records: 0, seconds: 0 });
});

it('is told once, when it changes, and again after it was there', async () => {
  missing = 'there is no topic payments';
  await looked();
  await looked();
  expect(told).toEqual(['there is no topic payments']);
  missing = 'not authorized';
  await looked();
  await looked();
  missing = null;
  await looked();
  missing = 'not authorized';
  await looked();
  expect(told).toEqual(['there is no topic payments', 'not authorized', 'not authorized']);
});

it('those who wait for another source are answered, and a single look says what it could not look at', async () => {
  missing = 'there is no topic payments';
  await looked();
  await append(logs.healthy);
  progress.appended(healthy.name, 0, 2);
  const waiting = progress.waitUntilApplied(healthy.name, new Map([[0, 2]]), stop.signal);
  applied[healthy.name] = 2;
  await waiting;
  expect(stop.signal.aborted).toBe(false);
  stop.abort();
  await running;
  await expect(positions.look()).rejects.toThrow('there is no topic payments');
});
