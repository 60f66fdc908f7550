/** How often conditions are tried. */
const POLL_INTERVAL_MS = 25;

export interface WaitOptions {
  /** Completes the error `… after N ms: <what>`. */
  readonly what: string;
  readonly timeoutMs: number;
}

/**
 * Polls until the condition holds. A condition that throws counts as not holding yet; what it threw last is the
 * cause of the error. Throws when the time is over, which is checked after every try.
 */
export async function waitUntil(
  condition: () => boolean | Promise<boolean>,
  { what, timeoutMs }: WaitOptions,
): Promise<void> {
  const deadlineMs = performance.now() + timeoutMs;
  for (;;) {
    let cause: unknown;
    try {
      if (await condition()) return;
    } catch (error) {
      cause = error;
    }
    if (performance.now() >= deadlineMs) throw new Error(`not yet after ${timeoutMs} ms: ${what}`, { cause });
    await new Promise((resolve) => setTimeout(resolve, POLL_INTERVAL_MS));
  }
}
