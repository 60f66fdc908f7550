/** How far a replay is: a bar where someone watches, otherwise a plain line every few seconds. On stderr. */
import { SingleBar } from 'cli-progress';

export interface Progress {
  readonly bytesRead: number;
  readonly bytesTotal: number;
  /** Events answered by the server or rejected. */
  readonly events: number;
  readonly elapsedMs: number;
}

export interface ProgressDisplay {
  update(progress: Progress): void;
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

/** Events, rate and time left, as both displays show them. */
export function describeProgress({ bytesRead, bytesTotal, events, elapsedMs }: Progress): {
  percent: number;
  events: string;
  rate: string;
  eta: string;
} {
  const share = bytesTotal === 0 ? 1 : Math.min(1, bytesRead / bytesTotal);
  return {
    percent: Math.floor(share * 100),
    events: formatCount(events),
    rate: formatCount(elapsedMs === 0 ? 0 : (events / elapsedMs) * 1000),
    eta: formatDurationShort(share === 0 ? Number.POSITIVE_INFINITY : (elapsedMs * (1 - share)) / share),
  };
}

export function progressDisplay(stream: NodeJS.WriteStream): ProgressDisplay {
  return stream.isTTY ? barDisplay(stream) : lineDisplay(stream);
}

function barDisplay(stream: NodeJS.WriteStream): ProgressDisplay {
  const bar = new SingleBar({
    format: ' {bar} {percent} % | {events} events | {rate}/s | ETA {left}',
    stream,
    hideCursor: true,
    barsize: 30,
    etaBuffer: 1,
  });
  bar.start(100, 0, { events: '0', rate: '0', left: '?', percent: 0 });
  return {
    update(progress) {
      const { percent, events, rate, eta } = describeProgress(progress);
      bar.update(percent, { events, rate, left: eta, percent });
    },
    stop() {
      bar.stop();
    },
  };
}

function lineDisplay(stream: NodeJS.WriteStream): ProgressDisplay {
  let nextMs = LINE_EVERY_MS;
  return {
    update(progress) {
      if (progress.elapsedMs < nextMs) return;
      nextMs = progress.elapsedMs + LINE_EVERY_MS;
      const { percent, events, rate, eta } = describeProgress(progress);
      stream.write(`${percent} %, ${events} events, ${rate}/s, ETA ${eta}\n`);
    },
    stop() {},
  };
}
