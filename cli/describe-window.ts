import type { Window } from '../engine/definitions/types.ts';
import { formatDuration } from '../engine/windows/duration.ts';

/** A window in words, for people: `7d`, `7d, 1d late`, `7 × 1d every 1d`, `since the day began (UTC)`, `last 5 events`. */
export function describeWindow(window: Window): string {
  const late = (offsetMs: number): string => (offsetMs === 0 ? '' : `, ${formatDuration(offsetMs)} late`);
  switch (window.kind) {
    case 'sliding':
      return formatDuration(window.sizeMs) + late(window.offsetMs);
    case 'lifetime':
      return `lifetime${late(window.offsetMs)}`;
    case 'series':
      return (
        `${formatDuration(window.sizeMs)} every ${formatDuration(window.stepMs)} from ` +
        `${formatDuration(window.startMs)} before${late(window.endMs)}`
      );
    case 'calendar':
      return `since the ${window.unit} began (${window.timeZone})`;
    case 'last_events':
      return (
        `last ${window.count} events` +
        (window.withinMs === null ? '' : ` within ${formatDuration(window.withinMs)}`)
      );
  }
}
