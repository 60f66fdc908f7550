/**
 * Lines that every request may cause while something is away: of each kind one a second, as a log that is written
 * synchronously would cost more than what it is about.
 */

const EVERY_MS = 1_000;

interface Written {
  atMs: number;
  omitted: number;
}

export class LogRate {
  readonly #nowMs: () => number;
  /** As many as there are kinds: names of routes, codes, services and views, never what a caller wrote. */
  readonly #kinds = new Map<string, Written>();

  /** @param nowMs a clock that never goes back. @default `performance.now` */
  constructor(nowMs: () => number = () => performance.now()) {
    this.#nowMs = nowMs;
  }

  /**
   * Whether a line of the kind is to be written now.
   * @returns how many of its kind were left out since the last one; null: this one is left out
   */
  admit(kind: string): number | null {
    const nowMs = this.#nowMs();
    const last = this.#kinds.get(kind);
    if (last === undefined) {
      this.#kinds.set(kind, { atMs: nowMs, omitted: 0 });
      return 0;
    }
    if (nowMs - last.atMs < EVERY_MS) {
      last.omitted++;
      return null;
    }
    const { omitted } = last;
    last.atMs = nowMs;
    last.omitted = 0;
    return omitted;
  }
}
