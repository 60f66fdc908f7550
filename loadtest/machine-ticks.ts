/** What the cores of the machine have done since it started, in ticks, summed over them. */
import { readFileSync } from 'node:fs';
import { cpus } from 'node:os';

export interface MachineTicks {
  readonly busy: number;
  readonly idle: number;
  /** A virtual machine had something to do, and its host gave the core to somebody else; 0 where that is not told. */
  readonly stolen: number;
}

export function machineTicks(): MachineTicks {
  try {
    return ticksOf(readFileSync('/proc/stat', 'utf8'));
  } catch {
    // No Linux.
    let busy = 0;
    let idle = 0;
    for (const { times } of cpus()) {
      busy += times.user + times.nice + times.sys + times.irq;
      idle += times.idle;
    }
    return { busy, idle, stolen: 0 };
  }
}

/** @param stat the text of /proc/stat, proc_stat(5) */
export function ticksOf(stat: string): MachineTicks {
  // The time of guests is in that of users already.
  const [user, nice, system, idle, iowait, irq, softirq, steal] = /^cpu +(.*)$/m
    .exec(stat)![1]!
    .split(' ')
    .map(Number) as [number, number, number, number, number, number, number, number];
  return { busy: user + nice + system + irq + softirq, idle: idle + iowait, stolen: steal };
}
