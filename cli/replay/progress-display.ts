/** How far a replay, or a rebuild, is: a bar where someone watches, otherwise a plain line every few seconds. On stderr. */
import { SingleBar } from 'cli-progress';

export interface Progress {
  readonly bytesRead: number;
  readonly bytesTotal: number;
  /** Events answered by the server or rejected. */
  readonly events: number;
  readonly elapsedMs: number;
}

/** Events, rate and time left, as both displays show them. */
export interface ShownProgress {
  readonly percent: number;
  readonly events: string;
  /** Events per second. */
  readonly rate: string;
  readonly eta: string;
  /** What is under way. @default nothing is said */
  readonly note?: string;
}

export interface ProgressDisplay {
  update(progress: ShownProgress & { readonly elapsedMs: number }): void;
  stop(): void;
}

const LINE_EVERY_MS = 5_000;

export function formatDurationShort(durationMs: number): string {
  if (!Number.isFinite(durationMs)) return '?';
  const seconds = Math.round(durationMs / 1000);
  if (seconds < 60) return `${seconds}s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)}m${String(seconds % 60).padStart(2, '0')}s`;
  return `${Math.floor(seconds / 3600)}h${String(Math.floor(seconds / 60) % 60).padStart(2, '0')}m`;
}

export const formatCount = (count: number): string => Math.round(count).toLocaleString('en-US');

export function describeProgress({ bytesRead, bytesTotal, events, elapsedMs }: Progress): ShownProgress {
  const share = bytesTotal === 0 ? 1 : Math.min(1, bytesRead / bytesTotal);
  return {
    percent: Math.floor(share * 100),
    events: formatCount(events),
    rate: formatCount(elapsedMs === 0 ? 0 : (events / elapsedMs) * 1000),
    eta: formatDurationShort(share === 0 ? Number.POSITIVE_INFINITY : (elapsedMs * (1 - share)) / share),
  };
}

/** @param unit what is counted */
export function progressDisplay(stream: NodeJS.WriteStream, unit = 'events'): ProgressDisplay {
  return stream.isTTY ? barDisplay(stream, unit) : lineDisplay(stream, unit);
}

function barDisplay(stream: NodeJS.WriteStream, unit: string): ProgressDisplay {
  const bar = new SingleBar({
    format: ` {bar} {percent} % | {events} ${unit} | {rate}/s | ETA {left}{note}`,
    stream,
    hideCursor: true,
    barsize: 30,
    etaBuffer: 1,
  });
  bar.start(100, 0, { events: '0', rate: '0', left: '?', percent: 0, note: '' });
  return {
    update({ percent, events, rate, eta, note }) {
      bar.update(percent, { events, rate, left: eta, percent, note: note === undefined ? '' : ` | ${note}` });
    },
    stop() {
      bar.stop();
    },
  };
}

function lineDisplay(stream: NodeJS.WriteStream, unit: string): ProgressDisplay {
  let nextMs = LINE_EVERY_MS;
  return {
    update({ percent, events, rate, eta, note, elapsedMs }) {
      if (elapsedMs < nextMs) return;
      nextMs = elapsedMs + LINE_EVERY_MS;
      stream.write(
        `${percent} %, ${events} ${unit}, ${rate}/s, ETA ${eta}${note === undefined ? '' : `, ${note}`}\n`,
      );
    },
    stop() {},
  };
}
