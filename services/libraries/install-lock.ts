import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { identify, isAlive, type ProcessIdentity } from '../process/process-identity.ts';
import { waitUntil } from '../process/wait-until.ts';

/** Others wait while one downloads. */
const WAIT_MS = 10 * 60_000;

/** Runs `work` while no other process holds the lock file; one whose holder is gone counts for nothing. */
export async function withInstallLock(file: string, work: () => Promise<void>): Promise<void> {
  const own = JSON.stringify(identify(process.pid));
  mkdirSync(dirname(file), { recursive: true });
  await waitUntil(() => tryLock(file, own), { what: `lock ${file}`, timeoutMs: WAIT_MS });
  try {
    await work();
  } finally {
    rmSync(file, { force: true });
  }
}

function tryLock(file: string, own: string): boolean {
  try {
    writeFileSync(file, own, { flag: 'wx' });
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  }
  const holder = holderOf(file);
  // A lock just made is empty for a moment; its holder fills it, or the file is removed by hand.
  if (holder !== null && !isAlive(holder)) rmSync(file, { force: true });
  return false;
}

function holderOf(file: string): ProcessIdentity | null {
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as ProcessIdentity;
  } catch {
    return null;
  }
}
