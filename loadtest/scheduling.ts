/**
 * Who gets a core first on a machine that both serves and makes the load. With real-time scheduling: k6, which finds late what it
 * gets late; then what a request waits for; then what an event waits for, and whoever asks for it. Without: as the roles have it.
 */
import { spawnSync } from 'node:child_process';
import { setPriority } from '../cli/priority.ts';
import { setRealtime } from '../cli/realtime.ts';
import { NICE_BY_ROLE, REALTIME_BY_ROLE } from '../cli/scheduling.ts';

export class Scheduling {
  readonly realtime: boolean;

  /** @param wanted whether it is to be real-time where the system permits it */
  constructor(wanted: boolean) {
    this.realtime = wanted && spawnSync('chrt', ['--fifo', '1', 'true']).status === 0;
  }

  /** k6: it is to send when a request is due, as clients do who have machines of their own. */
  load(pid: number): void {
    if (this.realtime) setRealtime(pid, REALTIME_BY_ROLE.serve + 1);
  }

  /** A process that requests wait for. */
  first(pid: number): void {
    if (this.realtime) setRealtime(pid, REALTIME_BY_ROLE.serve);
  }

  /** One that only events wait for, or that makes them. */
  second(pid: number): void {
    if (this.realtime) setRealtime(pid, REALTIME_BY_ROLE.ingest);
    else setPriority(pid, NICE_BY_ROLE.ingest);
  }

  /** For the report. */
  toString(): string {
    return this.realtime
      ? 'real-time: k6, then what requests wait for, then what events wait for'
      : 'not real-time: not permitted, or not wanted';
  }
}
