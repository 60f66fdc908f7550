/** `services.json`: what `npm run services` started. */
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ProcessIdentity } from '../process/process-identity.ts';
import type { ServiceName } from '../testing/have-services.ts';

/** One server. Pid and start time name its process even after the pid was given to another one. */
export interface StartedService extends ProcessIdentity {
  /** As the flag of `millrace` takes it. */
  readonly address: string;
  readonly ports: readonly number[];
  readonly dir: string;
  readonly logFile: string;
}

export type ServicesState = Partial<Record<ServiceName, StartedService>>;

export function stateFile(dir: string): string {
  return join(dir, 'services.json');
}

/** Empty if nothing was started there. */
export function readState(dir: string): ServicesState {
  let text: string;
  try {
    text = readFileSync(stateFile(dir), 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return {};
    throw error;
  }
  return JSON.parse(text) as ServicesState;
}

/** Readers see the old or the new state, never half of one. */
export function writeState(dir: string, state: ServicesState): void {
  mkdirSync(dir, { recursive: true });
  const next = `${stateFile(dir)}.next`;
  writeFileSync(next, `${JSON.stringify(state, null, 2)}\n`);
  renameSync(next, stateFile(dir));
}
