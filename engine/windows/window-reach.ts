/** What a window means for how long a state is kept and how far back it may be coarsened. */
import type { Window } from '../definitions/types.ts';
import { longestPeriodMs } from './calendar-period.ts';

export const SERIES_MAX = 400;

/** How many windows a series has: the oldest still begins at or behind T − start. */
export function seriesLength({
  startMs,
  endMs,
  sizeMs,
  stepMs,
}: Extract<Window, { kind: 'series' }>): number {
  return Math.floor((startMs - endMs - sizeMs) / stepMs) + 1;
}

/** How far before T events may lie that count; Infinity: all. */
export function reachMs(window: Window): number {
  switch (window.kind) {
    case 'sliding':
      return window.offsetMs + window.sizeMs;
    case 'lifetime':
      return Number.POSITIVE_INFINITY;
    case 'series':
      return window.startMs;
    case 'calendar':
      return longestPeriodMs(window.unit);
    case 'last_events':
      return window.withinMs ?? Number.POSITIVE_INFINITY;
  }
}

/**
 * How far before T rows of their own are needed, ms: those with time ≤ T − this lie in no window with an old edge, and
 * in every lifetime window. The newest events are known otherwise.
 */
export function rowsReachMs(windows: Iterable<Window>): number {
  let reach = 0;
  for (const window of windows) {
    const own = reachMs(window);
    reach = Math.max(reach, own === Number.POSITIVE_INFINITY ? newEdgeOffsetMs(window) : own);
  }
  return reach;
}

/** How far before T a new edge lies at most. */
export function newEdgeOffsetMs(window: Window): number {
  switch (window.kind) {
    case 'sliding':
    case 'lifetime':
      return window.offsetMs;
    case 'series':
      return window.endMs + (seriesLength(window) - 1) * window.stepMs;
    default:
      return 0;
  }
}

/** Whether the window has a length in time. */
export function hasLength({ kind }: Window): boolean {
  return kind !== 'lifetime' && kind !== 'last_events';
}
