/** How a history is written away: the pauses, and where it is stopped. What is written is in history-states.test.ts. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { NOON_MS, testRepo } from '../embedded/testing/test-repo.ts';
import { DuckDb, text } from './duckdb.ts';
import { EventHistory } from './event-history.ts';
import { type FillProgress, fillFromHistory, type StateSink } from './fill-from-history.ts';
import { BACKFILL_LIMITS } from './history-states.ts';
import { tableFiles } from './table-files.ts';

// Time stands still but while something is written: each state takes so long.
vi.mock('node:timers/promises', () => ({ setTimeout: vi.fn() }));
const STATE_MS = 10;
const FULL = BACKFILL_LIMITS.states;
const KEYS = 2 * FULL + 1;

const pause = vi.mocked(delay);
const view = testRepo.views.get('browsing')!;
let dir: string;
let db: DuckDb;
let history: EventHistory;
let nowMs: number;
let completed: Parameters<StateSink['complete']>[];

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'millrace-fill-'));
  db = await DuckDb.open({ memoryBytes: 2 ** 28, threads: 1, spillDir: dir });
  const file = join(dir, 'clicks.parquet');
  await db.run(
    `COPY (SELECT make_timestamp(${NOON_MS}::BIGINT * 1000) AS "at", 'c' || i AS card, '/' AS page,
       0 AS _partition, i AS _offset FROM range(${KEYS}) t(i)) TO ${text(file)}`,
  );
  history = await EventHistory.open(db, view.source, await tableFiles(file), dir);
  completed = [];
  nowMs = 0;
  vi.spyOn(performance, 'now').mockImplementation(() => nowMs);
  pause.mockReset().mockResolvedValue(undefined);
});
afterEach(async () => {
  vi.restoreAllMocks();
  db.close();
  await rm(dir, { recursive: true, force: true });
});

const fill = (
  load: number,
  signal: AbortSignal,
  onProgress: (progress: FillProgress) => void = () => {},
): Promise<FillProgress | null> =>
  fillFromHistory(
    {
      ...{ db, view, history, cut: [KEYS], nowMs: NOON_MS, load, onProgress },
      sink: {
        write: async (states) => {
          nowMs += STATE_MS * states.length;
          // One is there already.
          return states.length - 1;
        },
        complete: async (...ends) => void completed.push(ends),
      },
    },
    signal,
  );

test.each([
  [0.25, 3],
  [0.5, 1],
  [1, 0],
])(
  'a write is under way in a share of %d of the time: each is followed by a pause of %d times its length',
  async (load, times) => {
    const { signal } = new AbortController();
    const progress: FillProgress[] = [];
    const last = await fill(load, signal, (one) => progress.push(one));
    expect(pause.mock.calls.map(([ms]) => ms)).toEqual(
      [FULL, FULL, 1].map((states) => states * STATE_MS * times),
    );
    for (const [, , options] of pause.mock.calls) expect(options).toEqual({ signal });
    const counts = progress.map(({ states, written, totalEvents }) => [states, written, totalEvents]);
    expect(counts).toEqual([
      [0, 0, KEYS],
      [FULL, FULL - 1, KEYS],
      [2 * FULL, 2 * FULL - 2, KEYS],
      [KEYS, KEYS - 3, KEYS],
    ]);
    expect(last).toEqual(progress.at(-1));
    expect(last!.events).toBe(KEYS);
    expect(completed.map(([newestMs]) => newestMs)).toEqual([[NOON_MS]]);
  },
);

test.each([1, 3])('stopped in pause %d, it writes nothing more and is not completed', async (pauses) => {
  const stop = new AbortController();
  pause.mockImplementation(async () => {
    if (pause.mock.calls.length < pauses) return;
    stop.abort();
    // As the real one does.
    throw stop.signal.reason;
  });
  expect(await fill(0.25, stop.signal)).toBeNull();
  expect(nowMs).toBe(STATE_MS * (pauses === 1 ? FULL : KEYS));
  expect(completed).toEqual([]);
});
