import { isAlive, type ProcessIdentity, signal } from './process-identity.ts';
import { waitUntil } from './wait-until.ts';

/** After SIGKILL only the kernel has to act. */
const KILL_TIMEOUT_MS = 10_000;

/**
 * Ends this very process and returns once it is gone: SIGTERM first, SIGKILL after `graceMs`. Says whether it ran.
 * A stopped (SIGSTOP) process ends by SIGKILL.
 */
export async function endProcess(
  identity: ProcessIdentity,
  { graceMs }: { graceMs: number },
): Promise<boolean> {
  if (!signal(identity, 'SIGTERM')) return false;
  const what = `end of process ${identity.pid}`;
  try {
    await waitUntil(() => !isAlive(identity), { what, timeoutMs: graceMs });
  } catch {
    signal(identity, 'SIGKILL');
    await waitUntil(() => !isAlive(identity), { what, timeoutMs: KILL_TIMEOUT_MS });
  }
  return true;
}
