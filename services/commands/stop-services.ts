import type { Report } from '../libraries/install.ts';
import { endProcess } from '../process/end-process.ts';
import { isAlive } from '../process/process-identity.ts';
import type { ServiceName } from '../testing/have-services.ts';
import { readState } from './services-state.ts';

/** From SIGTERM to SIGKILL: Redis and Kafka flush what they have. */
const GRACE_MS = 20_000;

export interface StopServicesOptions {
  readonly only: readonly ServiceName[];
  readonly dir: string;
  readonly report: Report;
}

/** Ends the servers that services.json names, and waits until they are gone. Their data stays. */
export async function stopServices({ only, dir, report }: StopServicesOptions): Promise<void> {
  await Promise.all(only.map((name) => stopService(name, dir, report)));
}

/** The entry stays, for the ports: its process is recognisably gone. */
export async function stopService(name: ServiceName, dir: string, report: Report): Promise<void> {
  const known = readState(dir)[name];
  if (known === undefined || !isAlive(known)) {
    report(`${name.padEnd(9)}does not run`);
    return;
  }
  await endProcess(known, { graceMs: GRACE_MS });
  report(`${name.padEnd(9)}ended (pid ${known.pid})`);
}
