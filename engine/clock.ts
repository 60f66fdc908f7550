/**
 * What the engine takes for now: the machine's time, or the time of the events, for replays. A store is filled by one of
 * them for good: watermarks keep where the clock stood, and what was folded, expired or too late by the one is wrong by
 * the other.
 */
export type ClockKind = 'wall' | 'event';

/** Where `now` comes from. Processing time and, with the event clock, also the time windows are asked for. */
export interface Clock {
  /** ms since the epoch; never goes back. */
  nowMs(): number;
}

/** The machine's clock, held still while it is set back. */
export class WallClock implements Clock {
  #latestMs = 0;

  nowMs(): number {
    this.#latestMs = Math.max(this.#latestMs, Date.now());
    return this.#latestMs;
  }
}

/** A clock moved by hand. */
export class ManualClock implements Clock {
  #nowMs: number;

  constructor(startMs: number) {
    this.#nowMs = startMs;
  }

  nowMs(): number {
    return this.#nowMs;
  }

  /** @throws when it would go back */
  advanceTo(timeMs: number): void {
    if (timeMs < this.#nowMs) throw new Error('a clock does not go back');
    this.#nowMs = timeMs;
  }
}
