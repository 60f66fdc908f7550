/**
 * Which process gets a core first where several share a machine: whoever waits for features waits for `serve`, and nobody
 * for `ingest` or `compact`. Without it the scheduler lets each finish its slice of some milliseconds before `serve` runs.
 *
 * Linux compares priorities within a control group, and within a session where it groups these: between containers or
 * services their CPU weights decide instead. Real-time scheduling is compared on the whole machine.
 */
import os from 'node:os';
import type { Role } from '../distributed/runtime.ts';
import { CliError } from './cli-error.ts';
import { setPriority } from './priority.ts';
import { RealtimeError, setRealtime } from './realtime.ts';
import type { Config } from './settings.ts';

/** A process with several roles is as urgent as the most urgent of them. */
export const NICE_BY_ROLE: Readonly<Record<Role, number>> = { serve: 0, ingest: 10, compact: 15 };

/**
 * Also of those that are real-time `serve` goes first. `compact` has time: what it does later only costs a little more to read.
 * The lowest there are, as the kernel's own threads and whatever keeps the machine alive are to stay in front.
 */
export const REALTIME_BY_ROLE = { serve: 2, ingest: 1 } as const satisfies Partial<Record<Role, number>>;

/**
 * Schedules this process as its settings and roles have it.
 * @throws CliError where it is to be real-time and cannot be
 */
export function setScheduling({ nice, realtime }: Config, roles: readonly Role[]): void {
  const priority = Math.max(...roles.map((role) => (role === 'compact' ? 0 : REALTIME_BY_ROLE[role])));
  // Settings that roles share may say it to one that has no use for it.
  if (!realtime || priority === 0) {
    stepBack(nice ?? Math.min(...roles.map((role) => NICE_BY_ROLE[role])));
    return;
  }
  if (nice !== null)
    throw new CliError('--realtime goes before everybody, and --nice steps back: leave one out');
  try {
    setRealtime(process.pid, priority);
  } catch (error) {
    if (error instanceof RealtimeError) throw new CliError(`${error.message} (--realtime)`, { cause: error });
    throw error;
  }
}

/** Lowers the priority of this process; never raises it, as only a superuser may. */
function stepBack(nice: number): void {
  try {
    if (nice <= os.getPriority()) return;
    // V8's, which collect garbage, are there before any JavaScript runs.
    setPriority(process.pid, nice);
  } catch (error) {
    // Where a sandbox forbids it, the process works all the same.
    process.emitWarning(`the priority could not be lowered: ${(error as Error).message}`);
  }
}
