/** How far a backfill is: first the history, then the log. */
import type { FillProgress } from '../../offline/fill-from-history.ts';
import type { RebuildLook } from '../../roles/view-rebuild.ts';
import { RebuildDisplay } from '../rebuild-display.ts';
import {
  formatCount,
  formatDurationShort,
  type ProgressDisplay,
  progressDisplay,
} from '../replay/progress-display.ts';

export class BackfillDisplay {
  readonly #stream: NodeJS.WriteStream;
  readonly #nowMs: () => number;
  readonly #log: RebuildDisplay;
  #fill: { readonly display: ProgressDisplay; readonly beganMs: number } | null = null;

  constructor(stream: NodeJS.WriteStream, nowMs: () => number) {
    this.#stream = stream;
    this.#nowMs = nowMs;
    this.#log = new RebuildDisplay(stream, nowMs);
  }

  note(text: string): void {
    this.#log.note(text);
  }

  fill({ events, totalEvents, states }: FillProgress): void {
    const nowMs = this.#nowMs();
    this.#fill ??= { display: progressDisplay(this.#stream), beganMs: nowMs };
    const elapsedMs = nowMs - this.#fill.beganMs;
    const left = totalEvents - events;
    this.#fill.display.update({
      percent: totalEvents === 0 ? 100 : Math.floor((events / totalEvents) * 100),
      events: formatCount(events),
      rate: formatCount(elapsedMs === 0 ? 0 : (events / elapsedMs) * 1000),
      eta: formatDurationShort(
        left === 0 ? 0 : events === 0 ? Number.POSITIVE_INFINITY : (elapsedMs * left) / events,
      ),
      note: `history, ${formatCount(states)} states`,
      elapsedMs,
    });
  }

  /** Of the log, once the history is in. */
  look(look: RebuildLook): void {
    if (look.state === 'backfilling') return;
    this.#endFill();
    this.#log.look(look);
  }

  stop(): void {
    this.#endFill();
    this.#log.stop();
  }

  #endFill(): void {
    this.#fill?.display.stop();
    this.#fill = null;
  }
}
