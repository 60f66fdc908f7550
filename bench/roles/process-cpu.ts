import { readFileSync } from 'node:fs';

/** Of every Linux there is. */
const TICKS_PER_SECOND = 100;

/** CPU time a process has taken so far, s; NaN where there is no /proc. */
export function cpuSeconds(pid: number): number {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // Field 2 is the command in parentheses, which may hold spaces; user and system time are fields 14 and 15.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
  } catch {
    return Number.NaN;
  }
}

/** CPU time of processes over several stretches of time. */
export class CpuMeter {
  readonly #pids: readonly number[];
  readonly #seconds: number[];
  #before: number[] = [];

  constructor(pids: readonly number[]) {
    this.#pids = pids;
    this.#seconds = pids.map(() => 0);
  }

  start(): void {
    this.#before = this.#pids.map(cpuSeconds);
  }

  stop(): void {
    this.#pids.forEach((pid, i) => {
      this.#seconds[i]! += cpuSeconds(pid) - this.#before[i]!;
    });
  }

  /** In the order of the pids. */
  get seconds(): readonly number[] {
    return this.#seconds;
  }
}
