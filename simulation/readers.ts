/** The processes of a run that answer questions, and what goes wrong with them. */
import type { Processes } from './processes.ts';
import { ReadTruth } from './read-truth.ts';
import { ReaderProcess } from './reader-process.ts';
import type { RunState } from './run-state.ts';
import type { Actor } from './scheduler.ts';

export class Readers {
  readonly #run: RunState;
  readonly #processes: Processes;
  readonly #truth: ReadTruth;
  #readers: ReaderProcess[] = [];

  constructor(run: RunState, processes: Processes) {
    this.#run = run;
    this.#processes = processes;
    this.#truth = new ReadTruth(run);
  }

  start(): void {
    for (let n = this.#run.calm ? 1 : this.#run.random.between(1, 3); n > 0; n--) this.#spawn();
  }

  /** Whether some still look or ask. */
  get areBusy(): boolean {
    return this.#readers.some(({ isBusy }) => isBusy);
  }

  /** The process that the actor is of; undefined: of none that answers questions. */
  of(actor: Actor): ReaderProcess | undefined {
    return this.#readers.find((reader) => reader.has(actor));
  }

  /** Whether a question is being answered by a process that has seen nothing wrong. */
  get areReading(): boolean {
    return this.#readers.some(({ isReading, isSure }) => isReading && isSure);
  }

  /** Faults of one step. */
  inject(): void {
    const { random, plan } = this.#run;
    if (random.chance(plan.readerKilled)) this.kill(random.pick(this.#readers));
    if (random.chance(plan.readerSuspended))
      this.suspend(random.pick(this.#readers), random.between(20, 400));
    const sure = this.#readers.find(({ isSure }) => isSure);
    if (sure !== undefined && random.chance(plan.readerBlind)) this.#blind(sure, 'log');
    if (random.chance(plan.readerBlind)) {
      this.#blind(random.pick(this.#readers), random.pick(['log', 'store'] as const));
    }
  }

  #blind(reader: ReaderProcess, what: 'log' | 'store'): void {
    const { random, plan, faults } = this.#run;
    const steps = random.between(20, 60 * plan.turnsPerEvent);
    faults.add(`reader could not see the ${what} for a while`);
    reader.blind(what, steps);
    if (random.chance(0.5) && !this.#mayRepeat) this.#stopIngest(random.between(steps, 2 * steps));
  }

  kill(reader: ReaderProcess): void {
    this.#run.faults.add('reader killed');
    this.#end(reader);
    this.#spawn();
  }

  suspend(reader: ReaderProcess, steps: number): void {
    this.#run.faults.add('reader suspended');
    reader.suspend(steps);
  }

  /** Some end with the faults. */
  endSome(): void {
    for (const reader of this.#readers) if (this.#run.random.chance(0.5)) this.#end(reader);
  }

  /** Those that are left look and ask again. */
  goOn(): void {
    for (const reader of this.#readers) reader.start();
  }

  /** I8: who has been there all the time gives current values again, and so does a new one. @param step lets one operation through */
  async askAll(when: string, step: () => Promise<void>): Promise<void> {
    const fresh = this.#newReader();
    for (const [reader, said] of [
      [this.#readers[0], 'asked for again'],
      [fresh, 'asked for by a new process'],
    ] as const) {
      const actor = reader?.askAll(`${when}, ${said}`);
      while (actor !== undefined && !actor.ended) await step();
    }
    if (this.#readers.length === 0) this.#readers.push(fresh);
  }

  /**
   * Whether events repeat, and are told by their ids. These are kept for a horizon of what was applied: a partition that stands
   * still for longer, while others do not, may have a repeat of what is forgotten by then (docs/reliability.md).
   */
  get #mayRepeat(): boolean {
    const { withIds, plan } = this.#run;
    return withIds && plan.repeated + plan.repeatedLate + plan.appendedTwice > 0;
  }

  /** So that what the reader finds then is old, and still not applied. */
  #stopIngest(steps: number): void {
    this.#run.faults.add('nothing was applied while a reader could not see');
    this.#run.ingestStoppedUntil = this.#run.scheduler.steps + steps;
    for (const { actor, kind } of this.#processes.workers) {
      if (kind === 'consumer') this.#run.scheduler.suspend(actor, steps);
    }
  }

  #end(reader: ReaderProcess): void {
    reader.kill();
    this.#readers = this.#readers.filter((other) => other !== reader);
  }

  #spawn(): void {
    const reader = this.#newReader();
    this.#readers.push(reader);
    reader.start();
  }

  #newReader(): ReaderProcess {
    const repo = this.#processes.processRepo();
    const skewMs = this.#processes.clockSkewMs();
    return new ReaderProcess({ run: this.#run, truth: this.#truth, repo, skewMs });
  }
}
