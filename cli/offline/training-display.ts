/** How far a training set, or what is made by its code, is. */
import type { TrainingProgress } from '../../offline/training-set.ts';
import { formatCount, formatDurationShort, progressDisplay } from '../replay/progress-display.ts';

export class TrainingDisplay {
  readonly #stream: NodeJS.WriteStream;
  #startedMs = 0;
  #display: ReturnType<typeof progressDisplay> | null = null;

  constructor(stream: NodeJS.WriteStream) {
    this.#stream = stream;
  }

  /** Begins to count with the first call: before it logs may have been read, which have a display of their own. */
  update({ phase, share, rows }: TrainingProgress): void {
    if (this.#display === null) {
      this.#startedMs = performance.now();
      this.#display = progressDisplay(this.#stream, 'rows');
    }
    const elapsedMs = performance.now() - this.#startedMs;
    this.#display.update({
      percent: Math.floor(share * 100),
      events: formatCount(rows),
      rate: formatCount((rows / elapsedMs) * 1000),
      eta: formatDurationShort(share === 0 ? Number.POSITIVE_INFINITY : (elapsedMs * (1 - share)) / share),
      note: phase,
      elapsedMs,
    });
  }

  stop(): void {
    this.#display?.stop();
  }
}
