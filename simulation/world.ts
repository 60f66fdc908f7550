/**
 * One simulated run: real ingest and compaction code on a simulated log, store, clock and scheduler, faults
 * throughout; then the faults stop, everything catches up, and every value is compared with the oracle. Meanwhile
 * `StateTruth` looks at every write.
 *
 * Faults, each at a random step and as often as the seed's `FaultPlan` says: a consumer or compactor is killed
 * between two operations or suspended for long (a zombie) while another takes over; two owners of one partition;
 * chunks with other borders on every start; processes of the version before, and with other clocks; shards of the
 * store fall back to an earlier prefix of their writes, one or all, or the store is wiped; replies are lost before or
 * after a write, one or most of them for a while, or the write lands later; reads of the log fail or are short, its
 * offsets have holes, retention drops what was not applied; records cannot be used, by one view until it is mended or by
 * none ever; the schema registry is away, slow, or has lost a schema, at which consumers wait or write dead letters; dead
 * letters are replayed, too early, or twice where the one who does it is killed in between; views are rebuilt, their workers
 * killed, suspended, two at once, or ended, and what was read before is removed; partitions are added; events repeat on other partitions,
 * also when the dedupe horizon has passed, share key and time, come late or from the future. Or nothing happens but one
 * `Disturbance` at one step, so that all steps can be tried in turn.
 *
 * What it does not catch: anything inside one store operation (the stores' own contract suite does that), and
 * real time.
 */
import { Compactor } from '../compaction/compactor.ts';
import type { Answer } from './answers.ts';
import { FaultInjection } from './fault-injection.ts';
import type { Fault } from './faults.ts';
import { HealedChecks } from './healed-checks.ts';
import { Mismatch } from './mismatch.ts';
import { Processes } from './processes.ts';
import { Producer } from './producer.ts';
import { Readers } from './readers.ts';
import { REMOVED_AFTER_MS, RunState, SHARDS, type SimulationOptions } from './run-state.ts';

export interface SimulationResult {
  readonly seed: number;
  /** Hash of the store's final content: equal for equal seeds. */
  readonly stateHash: string;
  readonly steps: number;
  /** Steps until the last event was appended: faults occur only in these. */
  readonly faultySteps: number;
  readonly events: number;
  /** Values compared with the oracle. */
  readonly comparisons: number;
  /** How often each fault was injected. */
  readonly faults: ReadonlyMap<Fault, number>;
  /** How often readers got answers of each kind. */
  readonly answers: ReadonlyMap<Answer, number>;
  /** What went wrong first, in words; null: nothing. */
  readonly failure: string | null;
}

/** A run that does not settle in this many steps is stuck. */
const STEPS_MAX = 400_000;
/** How long a replay takes, so that compaction comes to what was replayed. */
const REPLAY_MS = 20_000;

export async function simulate(options: SimulationOptions): Promise<SimulationResult> {
  const world = new World(options);
  let failure: string | null = null;
  try {
    await world.run();
  } catch (error) {
    failure =
      error instanceof Mismatch
        ? error.message
        : `threw ${String(error instanceof Error ? error.stack : error)}`;
  }
  return world.result(failure);
}

class World {
  readonly #run: RunState;
  readonly #processes: Processes;
  readonly #readers: Readers;
  readonly #producer: Producer;
  readonly #injection: FaultInjection;
  readonly #checks: HealedChecks;
  #faultySteps = 0;

  constructor(options: SimulationOptions) {
    this.#run = new RunState(options);
    this.#processes = new Processes(this.#run);
    this.#readers = new Readers(this.#run, this.#processes);
    this.#producer = new Producer(this.#run, this.#processes);
    this.#injection = new FaultInjection(this.#run, this.#processes, this.#readers);
    this.#checks = new HealedChecks(this.#run);
  }

  result(failure: string | null): SimulationResult {
    return {
      seed: this.#run.seed,
      stateHash: this.#run.store.stateHash(),
      steps: this.#run.scheduler.steps,
      faultySteps: this.#faultySteps,
      events: this.#run.content.events().length,
      comparisons: this.#run.comparison.comparisons,
      faults: this.#run.faults.byKind,
      answers: this.#run.answers.byKind,
      failure,
    };
  }

  async run(): Promise<void> {
    this.#run.scheduler.mayGoOn = (actor) => this.#injection.mayGoOn(actor);
    this.#run.scheduler.spawn('producer', (actor) => this.#producer.produce(actor));
    for (let p = 0; p < (await this.#run.log.partitions()); p++) this.#processes.spawnConsumer(p);
    for (let c = this.#run.random.between(1, 2); c > 0; c--) this.#processes.spawnCompactor();
    if (this.#run.calm)
      this.#processes.spawnRebuild(this.#run.random.pick([...this.#run.repo.views.keys()]), false);
    this.#readers.start();
    while (this.#producer.producing) {
      await this.#injection.inject();
      await this.#step();
    }
    this.#faultySteps = this.#run.scheduler.steps;
    await this.#heal('after the faults');
    const { letters, mended, random } = this.#run;
    if (mended || letters.mendable(mended).length > 0 || random.chance(0.5)) await this.#replayAll();
    else await this.#check('after the faults');
    // C7: the same values after everything was compacted.
    await this.#compactAll();
    await this.#check('after compaction');
    // I6: a replay into an empty store gives the same values, while compaction goes on.
    if (this.#run.random.chance(0.5)) {
      this.#run.store.wipe();
      this.#run.replayUntilMs = this.#run.clock.nowMs() + REPLAY_MS;
      this.#processes.spawnCompactor();
      this.#readers.goOn();
      await this.#heal('after a wipe');
      await this.#check('after a wipe and replay');
    }
  }

  async #step(): Promise<void> {
    if (this.#run.scheduler.steps > STEPS_MAX) throw new Mismatch(`not settled after ${STEPS_MAX} steps`);
    if (!(await this.#run.scheduler.step())) throw new Mismatch('every actor is dead');
  }

  /** What was mended counts in the end, once. */
  async #replayAll(): Promise<void> {
    const { letters, mended } = this.#run;
    for (let rounds = 0; rounds === 0 || letters.mendable(mended).length > 0; rounds++) {
      if (rounds === 3) throw new Mismatch('dead letters come again although they were mended');
      const actor = this.#injection.spawnReplay();
      while (!actor.ended) await this.#step();
      await this.#heal('after the replay of letters');
    }
    this.#run.lettersReplayed = true;
    await this.#check('after the replay of letters');
  }

  /** Ends the faults, lets everyone still alive finish, and runs fresh consumers to the end of the log. */
  async #heal(when: string): Promise<void> {
    if (this.#run.faulty) {
      for (const { actor } of this.#processes.workers)
        if (this.#run.random.chance(0.5)) this.#run.scheduler.kill(actor);
      this.#readers.endSome();
    }
    this.#run.faulty = false;
    this.#run.registry.restore();
    for (let p = 0; p < (await this.#run.log.partitions()); p++) {
      const actor = this.#processes.spawnConsumer(p);
      while (!actor.ended) await this.#step();
    }
    const areBusy = (): boolean => this.#processes.workers.some(({ actor }) => actor.alive && !actor.ended);
    while (areBusy() || this.#readers.areBusy) await this.#step();
    await this.#endRebuilds();
    // Once more: a zombie may have gone on after the fresh consumers had ended.
    for (let p = 0; p < (await this.#run.log.partitions()); p++) {
      const actor = this.#processes.spawnConsumer(p);
      while (!actor.ended) await this.#step();
    }
    await this.#checks.watermarks(when);
    await this.#checks.letters(when);
  }

  /** What is being built is finished by somebody else, or given up. */
  async #endRebuilds(): Promise<void> {
    const { repo, namespaces, random, truncated } = this.#run;
    for (const view of repo.views.values()) {
      while ((await namespaces.binding(view)).building !== null) {
        const actor = random.chance(0.7)
          ? this.#processes.spawnRebuild(view.name, truncated)
          : this.#processes.spawnAbort(view.name);
        while (!actor.ended) await this.#step();
      }
    }
  }

  /** Folds and expires what is due, and then removes what is not read any more. */
  async #compactAll(): Promise<void> {
    this.#run.clock.advanceTo(this.#run.clock.nowMs() + 10_000);
    const actor = this.#run.scheduler.spawn('last compactor', async (self) => {
      const writing = this.#processes.writing(self);
      const views = [...this.#run.repo.views.values()];
      const bindings = this.#processes.bindings(views, writing);
      await this.#processes.look(bindings, views);
      const compactor = new Compactor(
        (namespace) => bindings.inNamespace(namespace),
        writing,
        this.#processes.completeness(writing),
        { batchSize: 4, leaseMs: 1_000 },
      );
      for (let shard = 0; shard < SHARDS; shard++) {
        let idle = 0;
        while (idle < 2) {
          const { compacted, ended, conflicts } = await compactor.step(shard);
          if (compacted + ended + conflicts > 0) continue;
          idle++;
          this.#run.clock.advanceTo(this.#run.clock.nowMs() + 1_100);
        }
      }
      const { graceMs, clockSkewMs } = this.#run.plan;
      const untilMs = this.#run.clock.nowMs() + graceMs + REMOVED_AFTER_MS + 2 * clockSkewMs;
      if (await this.#run.namespaces.isAnyRetiring()) this.#run.clock.advanceTo(untilMs);
      const retirement = this.#processes.retirement(bindings, views, writing);
      // What is found to be in use again is removed by the next round.
      for (let round = 0; round < 2; round++) await retirement.remove();
    });
    while (!actor.ended) await this.#step();
    await this.#run.namespaces.checkRemoved('after compaction');
  }

  async #check(when: string): Promise<void> {
    await this.#checks.due(when);
    await this.#readers.askAll(when, () => this.#step());
    if (this.#run.watched) await this.#run.truth.checkAll(when);
  }
}
