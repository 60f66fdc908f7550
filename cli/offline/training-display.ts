/** How far a training set, or what is made by its code, is. */
import type { TrainingProgress } from '../../offline/training-set.ts';
import { formatCount, formatDurationShort, progressDisplay } from '../replay/progress-display.ts';

export class TrainingDisplay {
  readonly #startedMs: number;
  readonly #display: ReturnType<typeof progressDisplay>;

  constructor(stream: NodeJS.WriteStream, startedMs: number) {
    this.#startedMs = startedMs;
    this.#display = progressDisplay(stream, 'rows');
  }

  update({ phase, share, rows }: TrainingProgress): void {
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
    this.#display.stop();
  }
}
