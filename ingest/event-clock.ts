import type { Clock } from '../engine/clock.ts';
import type { StreamSource } from '../engine/definitions/types.ts';

/**
 * The clock of replays: now is the least of the highest event times applied, over all partitions that have
 * events. 0 before the first event. Never goes back while the process runs; after a restart it is made again from
 * the stored watermarks.
 */
export class EventClock implements Clock {
  readonly #highest = new Map<string, number>();
  readonly #timeless: ReadonlySet<string>;
  #nowMs = 0;

  /** @param sources all that there are. Facts hold from a time long ago, or to come: they do not say what time it is, where others do. */
  constructor(sources: Iterable<StreamSource> = []) {
    const all = [...sources];
    const facts = all.filter(({ batch }) => batch !== undefined);
    this.#timeless = new Set(facts.length === all.length ? [] : facts.map(({ name }) => name));
  }

  /** @param maxEventTimeMs highest event time applied to the partition; −1 when none */
  applied(source: string, partition: number, maxEventTimeMs: number): void {
    this.restore(source, partition, maxEventTimeMs);
    this.advance();
  }

  /**
   * As `applied`, for all partitions at start before the clock is first advanced: time must not run ahead.
   * @param clockMs where the clock stood when the partition's watermark was moved: it does not go back behind it
   */
  restore(source: string, partition: number, maxEventTimeMs: number, clockMs = 0): void {
    this.#nowMs = Math.max(this.#nowMs, clockMs);
    if (maxEventTimeMs < 0 || this.#timeless.has(source)) return;
    const name = `${source}/${partition}`;
    this.#highest.set(name, Math.max(this.#highest.get(name) ?? 0, maxEventTimeMs));
  }

  advance(): void {
    if (this.#highest.size > 0) this.#nowMs = Math.max(this.#nowMs, Math.min(...this.#highest.values()));
  }

  nowMs(): number {
    return this.#nowMs;
  }
}
