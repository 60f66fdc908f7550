/**
 * Linux's real-time scheduling (SCHED_FIFO, sched(7)): who has it gets a core when it wants one, whatever else wants it, and
 * keeps it until it waits for something. The kernel leaves 5 % of the time to all others.
 */
import { spawnSync } from 'node:child_process';

/** A thread that ends meanwhile fails the whole call. */
const TRIES = 3;

/** The message says what is missing. */
export class RealtimeError extends Error {
  override readonly name = 'RealtimeError';
}

/**
 * Makes all threads of a process real-time; later ones are what the thread that starts them is.
 * @param priority 1, behind all others that are real-time, to 99
 * @throws {RealtimeError} where the system has no such thing, or does not let this user
 */
export function setRealtime(pid: number, priority: number): void {
  if (process.platform !== 'linux')
    throw new RealtimeError(`real-time scheduling is Linux's; this is ${process.platform}`);
  for (let left = TRIES - 1; ; left--) {
    const { error, status, stderr } = spawnSync(
      'chrt',
      ['--fifo', '--all-tasks', '--pid', String(priority), String(pid)],
      { encoding: 'utf8' },
    );
    if (error !== undefined) {
      throw new RealtimeError(
        'code' in error && error.code === 'ENOENT'
          ? 'real-time scheduling needs chrt, of the package util-linux, in PATH'
          : `chrt could not be run: ${error.message}`,
      );
    }
    if (status === 0) return;
    if (left > 0 && /No such process/.test(stderr)) continue;
    throw new RealtimeError(
      /not permitted/.test(stderr)
        ? 'real-time scheduling is not permitted: it needs CAP_SYS_NICE (root has it; in a container: --cap-add SYS_NICE) or ' +
            'a limit of real-time priority of 1 or more (systemd: LimitRTPRIO=1)'
        : `chrt failed: ${stderr.trim()}`,
    );
  }
}
