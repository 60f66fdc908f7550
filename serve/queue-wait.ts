/**
 * How long requests wait for one another where the event loop has no time to spare: the mean time in flight, by Little's law
 * (J. D. C. Little, A Proof for the Queuing Formula: L = λW, 1961), from what was in flight and what was answered.
 *
 * Over a store that answers later, the queue of a busy process is in its sockets: each turn of the event loop takes as many
 * replies as it is given at once, so that turns stay short while the replies of hundreds of requests wait. The event loop's
 * delay does not see them. A slow store keeps requests in flight as well, but leaves the event loop time to spare.
 */
import { type EventLoopUtilization, performance } from 'node:perf_hooks';

/** Share of the time that the event loop has something to do, from which on requests wait for one another. */
const BUSY_MIN = 0.9;
const INTERVAL_MS = 20;

export class QueueWait {
  #inFlight = 0;
  #inFlightMs = 0;
  #answered = 0;
  #atMs: number;

  constructor(nowMs: number) {
    this.#atMs = nowMs;
  }

  /** @param slots taken, or, below 0, given back */
  change(slots: number, nowMs: number): void {
    this.#advance(nowMs);
    this.#inFlight += slots;
    if (slots < 0) this.#answered -= slots;
  }

  /**
   * Ends an interval.
   * @param busy share of the interval that the event loop had something to do
   * @returns mean time in flight in it, ms; 0 where the event loop was not busy. What was answered counts as one at least
   */
  end(nowMs: number, busy: number): number {
    this.#advance(nowMs);
    const waitMs = busy < BUSY_MIN ? 0 : this.#inFlightMs / Math.max(1, this.#answered);
    this.#inFlightMs = 0;
    this.#answered = 0;
    return waitMs;
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
