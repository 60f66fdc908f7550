/**
 * How long requests wait for one another where the event loop has no time to spare: what their mean time in flight is above that
 * of moments in which it had. By Little's law (J. D. C. Little, A Proof for the Queuing Formula: L = λW, 1961) that
 * follows from what was in flight and what was answered.
 *
 * Over a store that answers later, the queue of a busy process is in its sockets: each turn of the event loop takes as many
 * replies as it is given at once, so that turns stay short while the replies of hundreds of requests wait. The event loop's
 * delay does not see them. A slow store keeps requests in flight as well, also while there is time to spare.
 */
import { type EventLoopUtilization, performance } from 'node:perf_hooks';

/** Share of the time that the event loop has something to do, from which on requests wait for one another. */
const BUSY_MIN = 0.9;
/** Below that it has time to spare. In between there may be a queue or none: nothing is concluded. */
const SPARE_MAX = 0.7;
const INTERVAL_MS = 20;
/** Of an interval with time to spare, in the mean of those. */
const SPARE_SHARE = 1 / 8;

/** Of an interval, ms. */
export interface Wait {
  /** Mean time in flight. */
  readonly inFlightMs: number;
  /** What of it was spent waiting for others; 0 where the event loop was not busy. */
  readonly queuedMs: number;
}

export class QueueWait {
  /** Mean time in flight of intervals with time to spare, ms; null: none yet. */
  #spareMs: number | null = null;
  #inFlight = 0;
  #inFlightMs = 0;
  #answered = 0;
  #atMs: number;
  #startMs: number;

  constructor(nowMs: number) {
    this.#atMs = nowMs;
    this.#startMs = nowMs;
  }

  begin(nowMs: number): void {
    this.#advance(nowMs);
    this.#inFlight++;
  }

  end(nowMs: number): void {
    this.#advance(nowMs);
    this.#inFlight--;
    this.#answered++;
  }

  /**
   * Ends an interval.
   * @param busy share of it that the event loop had something to do
   */
  endInterval(nowMs: number, busy: number): Wait {
    this.#advance(nowMs);
    // What is not answered yet counts with its time so far: nothing has waited for longer than the interval.
    const requests = Math.max(this.#answered, this.#inFlight);
    const inFlightMs = requests === 0 ? 0 : this.#inFlightMs / requests;
    const meanInFlight = this.#inFlightMs / Math.max(1, nowMs - this.#startMs);
    this.#inFlightMs = 0;
    this.#answered = 0;
    this.#startMs = nowMs;
    if (busy >= BUSY_MIN) {
      // One alone waits for nobody, however long its work takes.
      const othersShare = Math.max(0, 1 - 1 / meanInFlight);
      const queuedMs = Math.min(inFlightMs - (this.#spareMs ?? 0), inFlightMs * othersShare);
      return { inFlightMs, queuedMs: Math.max(0, queuedMs) };
    }
    if (requests > 0 && busy < SPARE_MAX) {
      this.#spareMs =
        this.#spareMs === null ? inFlightMs : this.#spareMs + SPARE_SHARE * (inFlightMs - this.#spareMs);
    }
    return { inFlightMs, queuedMs: 0 };
  }

  #advance(nowMs: number): void {
    this.#inFlightMs += this.#inFlight * (nowMs - this.#atMs);
    this.#atMs = nowMs;
  }
}

/**
 * @param onInterval told every 20 ms, or later where the event loop is late itself, which share of that time it was busy
 * @returns ends it
 */
export function watchUtilization(onInterval: (busy: number) => void): () => void {
  let before: EventLoopUtilization = performance.eventLoopUtilization();
  const timer = setInterval(() => {
    const now = performance.eventLoopUtilization();
    const { utilization } = performance.eventLoopUtilization(now, before);
    before = now;
    onInterval(utilization);
  }, INTERVAL_MS);
  timer.unref();
  return () => clearInterval(timer);
}
