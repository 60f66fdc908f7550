/** How far a rebuild is: a bar where someone watches, otherwise a line every few seconds. */
import type { RebuildLook } from '../roles/view-rebuild.ts';
import {
  formatCount,
  formatDurationShort,
  type ProgressDisplay,
  progressDisplay,
  type ShownProgress,
} from './replay/progress-display.ts';

export class RebuildDisplay {
  readonly #stream: NodeJS.WriteStream;
  readonly #nowMs: () => number;
  #display: ProgressDisplay | null = null;
  #notes = '';
  /** The first look of this run: what another had done before it says nothing of the rate. */
  #first: { readonly look: RebuildLook; readonly atMs: number } | null = null;
  #last: { readonly look: RebuildLook; readonly atMs: number } | null = null;

  constructor(stream: NodeJS.WriteStream, nowMs: () => number) {
    this.#stream = stream;
    this.#nowMs = nowMs;
  }

  note(text: string): void {
    // Not twice in a row: a server that is down is tried every second.
    if (text === this.#notes) return;
    this.#notes = text;
    this.#stream.write(`${text}\n`);
  }

  look(look: RebuildLook): void {
    const atMs = this.#nowMs();
    this.#first ??= { look, atMs };
    this.#last = { look, atMs };
    // Nobody has counted yet; a log without records has its total when it is done.
    if (look.totalRecords === 0 && look.state !== 'switched') return;
    this.#display ??= progressDisplay(this.#stream);
    this.#display.update({
      ...describeRebuild(this.#first.look, look, atMs - this.#first.atMs),
      elapsedMs: atMs - this.#first.atMs,
    });
  }

  stop(): void {
    this.#display?.stop();
  }

  summary(): string {
    if (this.#first === null || this.#last === null) return 'nothing to do';
    const elapsedMs = this.#last.atMs - this.#first.atMs;
    const { events, rate } = describeRebuild(this.#first.look, this.#last.look, elapsedMs);
    return `${events} events in ${formatDurationShort(elapsedMs)} (${rate}/s)`;
  }
}

/** A space and a sentence for the closing line; empty where there are none. */
export function describeDeadLetters(letters: number): string {
  if (letters === 0) return '';
  const [were, them] =
    letters === 1 ? ['1 record', 'it is'] : [`${formatCount(letters)} records`, 'they are'];
  return ` ${were} could not be used, and ${them} among the dead letters (millrace dlq list).`;
}

/** Records stand for events: those that nobody can use are few. */
export function describeRebuild(
  first: RebuildLook,
  { appliedRecords, totalRecords }: RebuildLook,
  elapsedMs: number,
): ShownProgress {
  const own = Math.max(0, appliedRecords - first.appliedRecords);
  const left = Math.max(0, totalRecords - appliedRecords);
  return {
    percent: totalRecords === 0 ? 100 : Math.floor((appliedRecords / totalRecords) * 100),
    events: formatCount(own),
    rate: formatCount(elapsedMs === 0 ? 0 : (own / elapsedMs) * 1000),
    eta: formatDurationShort(
      left === 0 ? 0 : own === 0 ? Number.POSITIVE_INFINITY : (elapsedMs * left) / own,
    ),
  };
}
