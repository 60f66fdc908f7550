import { waitUntil } from '../../services/process/wait-until.ts';

/** Longer than any wait that is meant to happen; a session of a consumer group ends after 30 s. */
export const WAIT_MS = 120_000;

export const until = (what: string, condition: () => boolean | Promise<boolean>): Promise<void> =>
  waitUntil(condition, { what, timeoutMs: WAIT_MS });
