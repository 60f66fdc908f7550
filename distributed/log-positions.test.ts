/** When looks that fail or hang are told. What they see is tested with the roles, on real servers. */
import { afterEach, beforeEach, expect, it } from 'vitest';
import { ManualClock } from '../engine/clock.ts';
import { MemoryTileStore } from '../engine/store/memory-tile-store.ts';
import { randomTokens } from '../engine/store/random-tokens.ts';
import { IngestProgress } from '../ingest/ingest-progress.ts';
import { OpenGaps } from '../ingest/open-gaps.ts';
import { ViewBindings } from '../roles/view-bindings.ts';
import { waitUntil } from '../services/process/wait-until.ts';
import { LogPositions } from './log-positions.ts';

let nowMs = 0;
let positions: LogPositions;
let looks: { resolve(): void; reject(error: Error): void }[];
let stop: AbortController;
let running: Promise<void>;

beforeEach(async () => {
  nowMs = 0;
  looks = [];
  stop = new AbortController();
  const clock = new ManualClock(0);
  positions = new LogPositions({
    sources: [],
    store: { look: async () => ({ mark: null, watermarks: [] }) },
    shards: 1,
    bindings: new ViewBindings({
      views: [],
      store: new MemoryTileStore({ random: () => 'one' }),
      clock,
      newToken: randomTokens(),
    }),
    progress: new IngestProgress({ clock, lagBoundMs: 10_000 }),
    gaps: new OpenGaps(),
    eventClock: null,
    clock,
    monotonicMs: () => nowMs,
    idleMs: 1,
    awaitedMs: 1,
    beforeLook: () => new Promise((resolve, reject) => looks.push({ resolve, reject })),
    onError: () => {},
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
