/** Real time, N times as fast as the events' own: each item is held until its moment has come. */
import type { ReplayEvent, ReplayRejection } from './read-events.ts';

/** Longest single wait; timers of Node end at 2³¹ ms. */
const LONGEST_WAIT_MS = 60_000;

export interface Pace {
  /** N times real time; Infinity: never wait. */
  readonly speed: number;
  nowMs(): number;
  /** Resolves after the time, or earlier when the signal aborts. */
  sleep(durationMs: number): Promise<void>;
  /** Called before a wait: what was read so far should be on its way. */
  beforeWait(): void;
  stopped(): boolean;
}

/** The first event comes at once; one that is older than an earlier one does, too. */
export async function* paced(
  items: AsyncIterable<ReplayEvent | ReplayRejection>,
  pace: Pace,
): AsyncGenerator<ReplayEvent | ReplayRejection> {
  let firstEventMs: number | null = null;
  let startMs = 0;
  for await (const item of items) {
    if (item.ok && Number.isFinite(pace.speed)) {
      if (firstEventMs === null) {
        firstEventMs = item.eventTimeMs;
        startMs = pace.nowMs();
      }
      const dueMs = startMs + (item.eventTimeMs - firstEventMs) / pace.speed;
      if (dueMs > pace.nowMs()) pace.beforeWait();
      while (!pace.stopped() && dueMs > pace.nowMs()) {
        await pace.sleep(Math.min(LONGEST_WAIT_MS, dueMs - pace.nowMs()));
      }
    }
    yield item;
  }
}
