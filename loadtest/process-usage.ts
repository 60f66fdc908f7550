/** CPU time and memory of the processes of a run, looked at every second (Linux). */
import { readFileSync } from 'node:fs';
import { cpuSeconds } from '../bench/roles/process-cpu.ts';
import { machineTicks } from './machine-ticks.ts';

const LOOK_EVERY_MS = 1_000;
const MB = 2 ** 20;

export interface ProcessUsage {
  readonly name: string;
  /** Of one core, while the load was on; NaN where there is no /proc. */
  readonly cpuShare: number;
  readonly rssMbMax: number;
  /** Mean memory of the last fifth to that of the second one. */
  readonly growth: number;
}

export interface MachineUsage {
  readonly processes: readonly ProcessUsage[];
  /** Share of all cores that was busy, whoever made it so. */
  readonly busy: number;
  /** Share of all cores that the host of a virtual machine kept from it while it wanted them. */
  readonly stolen: number;
}

export class UsageMeter {
  readonly #processes: {
    readonly name: string;
    readonly pid: number;
    readonly startS: number;
    endS: number;
  }[] = [];
  readonly #rssMb = new Map<string, number[]>();
  readonly #before = machineTicks();
  readonly #startedMs = performance.now();
  readonly #timer: NodeJS.Timeout;

  constructor(processes: readonly { readonly name: string; readonly pid: number }[]) {
    for (const { name, pid } of processes) {
      const startS = cpuSeconds(pid);
      this.#processes.push({ name, pid, startS, endS: startS });
    }
    this.#look();
    this.#timer = setInterval(() => this.#look(), LOOK_EVERY_MS);
  }

  /** Ends the looking; idempotent. Processes that have ended meanwhile count as far as they were seen. */
  stop(): MachineUsage {
    clearInterval(this.#timer);
    this.#look();
    const seconds = (performance.now() - this.#startedMs) / 1000;
    const after = machineTicks();
    const busy = after.busy - this.#before.busy;
    const stolen = after.stolen - this.#before.stolen;
    const all = Math.max(1, busy + stolen + after.idle - this.#before.idle);
    return {
      busy: busy / all,
      stolen: stolen / all,
      processes: this.#processes.map(({ name, startS, endS }) => {
        const rss = this.#rssMb.get(name)!;
        return {
          name,
          cpuShare: (endS - startS) / seconds,
          rssMbMax: Math.max(0, ...rss),
          growth: growthOf(rss),
        };
      }),
    };
  }

  #look(): void {
    for (const process of this.#processes) {
      const seen = cpuSeconds(process.pid);
      if (seen > process.endS) process.endS = seen;
      const samples = this.#rssMb.get(process.name) ?? [];
      this.#rssMb.set(process.name, samples);
      const rss = rssMb(process.pid);
      if (rss !== null) samples.push(rss);
    }
  }
}

/** @param samples at even distances; fewer than five say nothing: 1 */
export function growthOf(samples: readonly number[]): number {
  const fifth = Math.floor(samples.length / 5);
  if (fifth === 0) return 1;
  const mean = (of: readonly number[]): number => of.reduce((sum, one) => sum + one, 0) / of.length;
  return mean(samples.slice(-fifth)) / mean(samples.slice(fifth, 2 * fifth));
}

function rssMb(pid: number): number | null {
  try {
    const kb = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
    return kb === undefined ? null : (Number(kb) * 1024) / MB;
  } catch {
    return null;
  }
}
