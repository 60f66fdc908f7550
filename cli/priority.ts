/** The priority of a running process. On Linux each of its threads has one of its own. */
import { existsSync, readdirSync } from 'node:fs';
import os from 'node:os';

/**
 * Sets it for the threads that there are; later ones have that of the thread that starts them.
 * @param nice −20, the first to get a core, to 19; less than now only as a superuser
 * @throws where the system forbids it
 */
export function setPriority(pid: number, nice: number): void {
  os.setPriority(pid, nice);
  const threads = `/proc/${pid}/task`;
  if (!existsSync(threads)) return;
  for (const thread of readdirSync(threads)) {
    try {
      os.setPriority(Number(thread), nice);
    } catch {
      // It has ended meanwhile.
    }
  }
}
