/** One seed, as the tests and long runs check it. */

import { DISTURBANCES, type Disturbance } from './faults.ts';
import type { Mutation } from './mutations.ts';
import type { SimulationOptions } from './run-state.ts';
import { simulate } from './world.ts';

/** What is to be checked: the run of a seed, or a calm run with one disturbance at each of its steps in turn. */
export interface SeedJob {
  readonly seed: number;
  readonly mutation?: Mutation | undefined;
  /** `all`: every disturbance at each step. `in turn`: a kill at each, and one of the others in turn. */
  readonly everyStep?: 'all' | 'in turn' | undefined;
  /** Without the second run, which must go the same way. @default false */
  readonly once?: boolean | undefined;
}

export interface SeedReport {
  readonly seed: number;
  /** In words, and the command that replays it; null: all was right. */
  readonly failure: string | null;
  readonly runs: number;
  readonly steps: number;
  readonly events: number;
  readonly comparisons: number;
  /** How often each fault was injected. A plain object, so that it can be sent to another process. */
  readonly faults: Readonly<Record<string, number>>;
  /** How often readers got answers of each kind; likewise. */
  readonly answers: Readonly<Record<string, number>>;
}

export function checkSeed(job: SeedJob): Promise<SeedReport> {
  return job.everyStep === undefined ? checkRun(job) : checkEveryStep(job, job.everyStep);
}

/** The command that replays a run. */
export function replayCommand({ seed, mutation, disturbance }: SimulationOptions): string {
  const planted = mutation === undefined ? '' : ` --mutation ${mutation}`;
  const disturbed =
    disturbance === undefined || disturbance === null
      ? ''
      : ` --disturb '${disturbance.fault}' --step ${disturbance.step}`;
  return `npm run sim -- --seed ${seed}${planted}${disturbed}`;
}

/** Watched, and once more without: what the run does, down to every token, must be the same. */
async function checkRun({ seed, mutation, once = false }: SeedJob): Promise<SeedReport> {
  const result = await simulate({ seed, mutation });
  let { failure } = result;
  if (failure === null && !once) {
    const again = await simulate({ seed, mutation, watched: false });
    if (again.failure !== null) failure = `only where nobody looks: ${again.failure}`;
    else if (again.stateHash !== result.stateHash || again.steps !== result.steps) {
      failure =
        `not deterministic: state ${result.stateHash} after ${result.steps} steps, then ${again.stateHash} ` +
        `after ${again.steps}`;
    }
  }
  const { steps, events, comparisons, faults, answers } = result;
  return {
    seed,
    failure: failure === null ? null : described({ seed, mutation }, failure),
    runs: 1,
    ...{ steps, events, comparisons },
    faults: Object.fromEntries(faults),
    answers: Object.fromEntries(answers),
  };
}

async function checkEveryStep({ seed, mutation }: SeedJob, which: 'all' | 'in turn'): Promise<SeedReport> {
  const calm = await simulate({ seed, mutation, disturbance: null });
  const faults = new Map<string, number>();
  const answers = new Map<string, number>();
  let { failure, comparisons, events, steps } = calm;
  let runs = 1;
  if (failure !== null) failure = described({ seed, mutation }, `undisturbed: ${failure}`);
  for (let step = 1; step <= calm.faultySteps && failure === null; step++) {
    const [kill, ...others] = DISTURBANCES;
    const faultsOfStep = which === 'all' ? DISTURBANCES : [kill, others[step % others.length]!];
    for (const fault of faultsOfStep) {
      const disturbance: Disturbance = { fault, step };
      const result = await simulate({ seed, mutation, disturbance });
      runs++;
      comparisons += result.comparisons;
      events += result.events;
      steps += result.steps;
      addTimes(faults, result.faults);
      addTimes(answers, result.answers);
      if (result.failure === null) continue;
      failure = described({ seed, mutation, disturbance }, result.failure);
      break;
    }
  }
  return {
    ...{ seed, failure, runs, steps, events, comparisons },
    faults: Object.fromEntries(faults),
    answers: Object.fromEntries(answers),
  };
}

function addTimes(sums: Map<string, number>, times: Iterable<readonly [string, number]>): void {
  for (const [name, more] of times) sums.set(name, (sums.get(name) ?? 0) + more);
}

function timesLines(times: ReadonlyMap<string, number>): string[] {
  return [...times].sort().map(([name, count]) => `  ${String(count).padStart(9)}  ${name}`);
}

function described(options: SimulationOptions, failure: string): string {
  return `seed ${options.seed}: ${failure}\n  replay: ${replayCommand(options)}`;
}

/** Sums of reports. */
export class SeedTotals {
  seeds = 0;
  runs = 0;
  steps = 0;
  events = 0;
  comparisons = 0;
  readonly failures: string[] = [];
  readonly faults = new Map<string, number>();
  readonly answers = new Map<string, number>();

  add(report: SeedReport): void {
    this.seeds++;
    this.runs += report.runs;
    this.steps += report.steps;
    this.events += report.events;
    this.comparisons += report.comparisons;
    if (report.failure !== null) this.failures.push(report.failure);
    addTimes(this.faults, Object.entries(report.faults));
    addTimes(this.answers, Object.entries(report.answers));
  }

  /** How often each kind of fault was injected, a line each. */
  faultLines(): string[] {
    return timesLines(this.faults);
  }

  /** How often readers got answers of each kind, a line each. */
  answerLines(): string[] {
    return timesLines(this.answers);
  }
}
