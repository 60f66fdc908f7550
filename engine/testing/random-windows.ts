/** Random windows, from a seed: sizes odd and on the tile grid, offsets, series, calendar periods, last events. */
import type { Window } from '../definitions/types.ts';
import { CALENDAR_UNITS, periodMs, WEEK_STARTS } from '../windows/calendar-period.ts';
import type { SeededRandom } from './random.ts';

const DAY_MS = 86_400_000;
/** A window reaches 20 years at most. */
const REACH_MAX_MS = 20 * 365 * DAY_MS;

/** A window of this kind that a view with the resolution takes. */
export function randomWindowOfKind(
  random: SeededRandom,
  kind: Window['kind'],
  { scaleMs, resolutionMs }: { readonly scaleMs: number; readonly resolutionMs: number | null },
): Window {
  for (;;) {
    const window = attemptOf(random, kind, scaleMs);
    // A series that reaches too far has become another kind.
    if (window.kind !== kind) continue;
    if (fitsResolution(window, resolutionMs)) return window;
    if (window.kind === 'sliding') return { ...window, sizeMs: resolutionMs! };
    if (window.kind !== 'series') continue;
    const startMs = window.startMs + resolutionMs! - window.sizeMs;
    if (startMs <= REACH_MAX_MS) return { ...window, sizeMs: resolutionMs!, startMs };
  }
}

/** Whether a view with the resolution takes the window. */
export function fitsResolution(window: Window, resolutionMs: number | null): boolean {
  if (resolutionMs === null) return true;
  if (window.kind === 'calendar') return periodMs(window.unit) >= resolutionMs;
  return !('sizeMs' in window) || window.sizeMs >= resolutionMs;
}

function attemptOf(random: SeededRandom, kind: Window['kind'], scaleMs: number): Window {
  switch (kind) {
    case 'sliding':
      return { kind, sizeMs: windowSizeMs(random, scaleMs), offsetMs: offsetOf(random, scaleMs) };
    case 'lifetime':
      return { kind, offsetMs: offsetOf(random, scaleMs) };
    case 'series':
      return seriesOf(random, scaleMs);
    case 'calendar':
      return calendarOf(random);
    case 'last_events':
      return lastEventsOf(random, scaleMs);
  }
}

function offsetOf(random: SeededRandom, scaleMs: number): number {
  return random.chance(0.7) ? 0 : Math.floor(random.pick([1, 1_000, scaleMs, scaleMs * 7 + 1, DAY_MS]));
}

function windowSizeMs(random: SeededRandom, scaleMs: number): number {
  const size = random.pick([
    1_000,
    1_001,
    random.between(1_000, 5_000),
    scaleMs * random.between(1, 6),
    scaleMs * random.between(5, 60),
    scaleMs * 10 + random.between(-1, 1),
    2 ** random.between(10, 35),
    2 ** random.between(10, 35) + random.between(-1, 1),
    60_000,
    3_600_000,
    DAY_MS,
    30 * DAY_MS,
    365 * DAY_MS,
    3 * 365 * DAY_MS,
  ]);
  return Math.max(1_000, Math.floor(size));
}

export function randomWindow(random: SeededRandom, scaleMs: number, withLifetime: boolean): Window {
  const offsetMs = offsetOf(random, scaleMs);
  if (withLifetime && random.chance(0.3)) return { kind: 'lifetime', offsetMs };
  const kind = random.below(10);
  if (kind === 0) return seriesOf(random, scaleMs);
  if (kind === 1) return calendarOf(random);
  if (kind === 2) return lastEventsOf(random, scaleMs);
  return { kind: 'sliding', sizeMs: windowSizeMs(random, scaleMs), offsetMs };
}

function calendarOf(random: SeededRandom): Window {
  return {
    kind: 'calendar',
    unit: random.pick(CALENDAR_UNITS),
    timeZone: random.pick(ZONES),
    weekStart: random.pick(WEEK_STARTS),
  };
}

function lastEventsOf(random: SeededRandom, scaleMs: number): Window {
  const withinMs = random.chance(0.5) ? null : windowSizeMs(random, scaleMs);
  return { kind: 'last_events', count: random.pick([1, 2, 3, 7, 20, 256]), withinMs };
}

/** With days that have 23 and 25 hours, no midnight or two, and clocks half an hour off. */
const ZONES = [
  'UTC',
  'Europe/Berlin',
  'America/New_York',
  'America/Sao_Paulo',
  'America/Havana',
  'Asia/Kathmandu',
];

function seriesOf(random: SeededRandom, scaleMs: number): Window {
  const sizeMs = windowSizeMs(random, scaleMs);
  const stepMs = Math.max(1_000, Math.floor(sizeMs * random.pick([0.5, 1, 1, 2])));
  const endMs = random.pick([0, 0, 1, Math.floor(scaleMs)]);
  const startMs = endMs + sizeMs + random.below(6) * stepMs + random.below(stepMs);
  return startMs > REACH_MAX_MS
    ? { kind: 'sliding', sizeMs, offsetMs: 0 }
    : { kind: 'series', startMs, endMs, sizeMs, stepMs };
}
