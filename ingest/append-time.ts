import { TIMESTAMP_LIMIT_MS } from '../engine/definitions/timestamp.ts';

/** An append time, ms; null where the log does not say it. Producers may say any: one that is out of range is cut. */
export function knownAppendTime(appendedMs: number): number | null {
  return appendedMs > 0 ? Math.min(appendedMs, TIMESTAMP_LIMIT_MS - 1) : null;
}
