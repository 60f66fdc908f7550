/** When looks that fail or hang are told. What they see is tested with the roles, on real servers. */
import { afterEach, beforeEach, expect, it } from 'vitest';
import { testRepo } from '../embedded/testing/test-repo.ts';
import { type Clock, ManualClock } from '../engine/clock.ts';
import { MemoryTileStore } from '../engine/store/memory-tile-store.ts';
import { randomTokens } from '../engine/store/random-tokens.ts';
import { IngestProgress } from '../ingest/ingest-progress.ts';
import { MemoryEventLog } from '../ingest/log/memory-event-log.ts';
import { OpenGaps } from '../ingest/open-gaps.ts';
import { ViewBindings } from '../roles/view-bindings.ts';
import { waitUntil } from '../services/process/wait-until.ts';
import { LogPositions } from './log-positions.ts';

let nowMs = 0;
let positions: LogPositions;
let looks: { resolve(): void; reject(error: Error): void }[];
let stop: AbortController;
let running: Promise<void>;

function positionsOf(args: {
  clock: Clock;
  progress: IngestProgress;
  idleMs: number;
  beforeLook: () => Promise<void>;
}): LogPositions {
  const source = testRepo.sources.get('clicks')!;
  const log = new MemoryEventLog({ source: source.name, partitions: 1, random: () => 'one' });
  return new LogPositions({
    ...args,
    sources: [{ source, log, ingest: () => null }],
    store: { look: async (_shard, names) => ({ mark: null, watermarks: names.map(() => null) }) },
    shards: 1,
    bindings: new ViewBindings({
      views: source.views,
      store: new MemoryTileStore({ random: () => 'one' }),
      clock: args.clock,
      newToken: randomTokens(),
    }),
    gaps: new OpenGaps(),
    eventClock: null,
    monotonicMs: () => nowMs,
    awaitedMs: 1,
    onError: () => {},
  });
}

beforeEach(async () => {
  nowMs = 0;
  looks = [];
  stop = new AbortController();
  const clock = new ManualClock(0);
  positions = positionsOf({
    clock,
    progress: new IngestProgress({ clock, lagBoundMs: 10_000 }),
    idleMs: 1,
    beforeLook: () => new Promise((resolve, reject) => looks.push({ resolve, reject })),
  });
  running = positions.run(stop.signal);
});
afterEach(async () => {
  stop.abort();
  for (const look of looks) look.resolve();
  await running;
});

const atLook = async (index: number) => {
  await waitUntil(() => looks.length > index, { what: `look ${index}`, timeoutMs: 10_000 });
  return looks[index]!;
};
const failure = (): string | null => (positions.failing?.error as Error | undefined)?.message ?? null;

it('one failed look is a hiccup; two in a row are told until one comes back', async () => {
  (await atLook(0)).reject(new Error('no store'));
  await atLook(1);
  expect(failure()).toBeNull();
  looks[1]!.reject(new Error('still no store'));
  await atLook(2);
  expect(failure()).toBe('still no store');
  looks[2]!.resolve();
  await atLook(3);
  expect(failure()).toBeNull();
  // A hiccup again.
  looks[3]!.reject(new Error('no store'));
  await atLook(4);
  expect(failure()).toBeNull();
});

it('one failed look is told where the next does not come back within a second', async () => {
  (await atLook(0)).reject(new Error('no store'));
  await atLook(1);
  nowMs = 1_000;
  expect(failure()).toBeNull();
  nowMs = 1_001;
  expect(failure()).toBe('no store');
});

it('a look that takes long is slow, one that takes longer than 2 s has no answer', async () => {
  await atLook(0);
  nowMs = 2_000;
  expect(failure()).toBeNull();
  nowMs = 2_001;
  expect(failure()).toBe('Kafka or Redis has not answered for 2 s');
  looks[0]!.resolve();
  await atLook(1);
  expect(failure()).toBeNull();
});

it('a look that leaves out the ends of the log, as somebody waits, does not make anything fresh for longer', async () => {
  const clock = new ManualClock(0);
  const progress = new IngestProgress({ clock, lagBoundMs: 10_000 });
  const mine = positionsOf({ clock, progress, idleMs: 500, beforeLook: async () => {} });
  await mine.look();
  void progress.waitUntilApplied('swipes', new Map([[0, 1]]), stop.signal);
  clock.advanceTo(499);
  await mine.look();
  clock.advanceTo(10_000);
  expect(mine.isBlind).toBe(false);
  clock.advanceTo(10_001);
  expect(mine.isBlind).toBe(true);
});
