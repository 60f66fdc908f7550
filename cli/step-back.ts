/**
 * Which process gets a core first where several share a machine: whoever waits for features waits for `serve`, and nobody
 * for `ingest` or `compact`. Without it the scheduler lets each finish its slice of some milliseconds before `serve` runs.
 *
 * Linux compares priorities within a control group, and within a session where it groups these: between containers or
 * services their CPU weights decide instead.
 */
import os from 'node:os';
import type { Role } from '../distributed/runtime.ts';
import { setPriority } from './priority.ts';

/** A process with several roles is as urgent as the most urgent of them. */
export const NICE_BY_ROLE: Readonly<Record<Role, number>> = { serve: 0, ingest: 10, compact: 15 };

/**
 * Lowers the priority of this process; never raises it, as only a superuser may.
 * @param nice null: as its roles have it
 */
export function stepBack(nice: number | null, roles: readonly Role[]): void {
  const wanted = nice ?? Math.min(...roles.map((role) => NICE_BY_ROLE[role]));
  try {
    if (wanted <= os.getPriority()) return;
    // V8's, which collect garbage, are there before any JavaScript runs.
    setPriority(process.pid, wanted);
  } catch (error) {
    // Where a sandbox forbids it, the process works all the same.
    process.emitWarning(`the priority could not be lowered: ${(error as Error).message}`);
  }
}
