/** The processes of a run: consumers and compactors, each with a clock, a version and a view of store and log of its own. */
import { Compactor } from '../compaction/compactor.ts';
import { type Completeness, logCompleteness } from '../compaction/completeness.ts';
import type { Clock } from '../engine/clock.ts';
import type { CompiledRepo, CompiledView } from '../engine/definitions/compiled.ts';
import type { DeadLetter, DeadLetters } from '../ingest/dead-letter.ts';
import { UnknownSchemaError } from '../ingest/decoding/registry-record-decoder.ts';
import { RegistryUnavailableError } from '../ingest/decoding/schema-registry.ts';
import { type LaneObserver, PartitionLanes } from '../ingest/partition-lanes.ts';
import { LogReplacedError } from '../ingest/partition-stopped.ts';
import type { StateWriting } from '../ingest/view-writer.ts';
import { NamespaceRetirement } from '../roles/namespace-retirement.ts';
import { ViewBindings } from '../roles/view-bindings.ts';
import { abortRebuild } from '../roles/view-rebuild.ts';
import type { Fault } from './faults.ts';
import { FaultyLog } from './faulty-log.ts';
import { FaultyStore, LostReplyError } from './faulty-store.ts';
import { checkLetter } from './letter-truth.ts';
import { Mismatch } from './mismatch.ts';
import { type Mutation, mutatedRules } from './mutations.ts';
import { REMOVED_AFTER_MS, type RunState, SHARDS } from './run-state.ts';
import type { Actor } from './scheduler.ts';
import { simulatedDecoder } from './simulated-decoder.ts';
import { SimulatedRebuild } from './simulated-rebuild.ts';
import { simulationRepo } from './simulation-repo.ts';

/** By seed: so few that most repeats are told by their rows, and so many that none is. */
const RECENT_IDS_MAX = [2, 8, 4_096] as const;
const REPLAY_STEP_MS = 250;
const WORKERS_MAX = 12;
/** Of a turn of a consumer or compactor: that it looks where states lie before. */
const LOOKED = 0.5;
/** Of a turn of a compactor: that it looks for what is to be removed. */
const REMOVED = 0.05;
/** That somebody goes on with a rebuild whose worker ended. */
const GONE_ON = 0.7;

export interface Worker {
  readonly actor: Actor;
  readonly kind: 'consumer' | 'compactor' | 'rebuild';
  /** Starts another one that does the same. */
  readonly again: () => void;
}

const KILLED: Readonly<Record<Worker['kind'], Fault>> = {
  consumer: 'consumer killed',
  compactor: 'compactor killed',
  rebuild: 'rebuild worker killed',
};
const SUSPENDED: Readonly<Record<Worker['kind'], Fault>> = {
  consumer: 'consumer suspended, another took over',
  compactor: 'compactor suspended',
  rebuild: 'rebuild worker suspended',
};

/** The mutation of the store that a rebuild writes to. */
const mutationOfRebuild = (mutation: Mutation | null): Mutation | null =>
  mutation === 'rebuild_states_not_awaited' ? 'states_not_awaited' : mutation;

/** What a consumer tries again after. */
const isForNow = (error: unknown): boolean =>
  error instanceof LostReplyError ||
  error instanceof RegistryUnavailableError ||
  error instanceof UnknownSchemaError;

export class Processes {
  readonly #run: RunState;
  #workers: Worker[] = [];
  #tokens = 0;

  constructor(run: RunState) {
    this.#run = run;
  }

  get workers(): readonly Worker[] {
    return this.#workers;
  }

  /** Leaves out those that ended or were killed; suspended ones stay. */
  forgetEnded(): void {
    this.#workers = this.#workers.filter(({ actor }) => actor.alive && !actor.ended);
  }

  /** A process has a clock of its own: how far it is ahead of the run's, ms. */
  clockSkewMs(): number {
    const { clockSkewMs } = this.#run.plan;
    if (clockSkewMs === 0) return 0;
    this.#run.faults.add('process with another clock');
    return this.#run.random.between(-clockSkewMs, clockSkewMs);
  }

  #processClock(): Clock {
    const skewMs = this.clockSkewMs();
    return { nowMs: () => this.#run.clock.nowMs() + skewMs };
  }

  /** What a process that starts now knows of. */
  processRepo(): CompiledRepo {
    if (!this.#run.faulty || !this.#run.random.chance(this.#run.plan.formerVersion)) {
      return simulationRepo(this.#run.withIds, 'present', this.#run.mended);
    }
    this.#run.faults.add('process of the version before');
    return simulationRepo(this.#run.withIds, 'former', this.#run.mended);
  }

  writing(actor: Actor, { rebuilds = false } = {}): StateWriting {
    const store = new FaultyStore({
      store: this.#run.store,
      scheduler: this.#run.scheduler,
      actor,
      random: this.#run.random,
      mutation: rebuilds ? mutationOfRebuild(this.#run.mutation) : this.#run.mutation,
      faults: this.#run.faults,
      lossRate: () => this.#lossRate(),
    });
    return {
      store,
      clock: this.#processClock(),
      shards: SHARDS,
      shape: { leafBytesMax: 90, tailRowsMax: 3, recentIdsMax: RECENT_IDS_MAX[this.#run.seed % 3]! },
      pacing: { foldAfterMs: 2_000 },
      rules: mutatedRules(this.#run.mutation),
      newToken: (previous) =>
        this.#run.mutation === 'counter_token'
          ? (Number.parseInt(previous ?? '0', 16) + 1).toString(16).padStart(16, '0')
          : `${(++this.#tokens).toString(16).padStart(8, '0')}${this.#run.random.hex64().slice(8)}`,
    };
  }

  #lossRate(): number {
    if (!this.#run.faulty) return 0;
    if (this.#run.scheduler.steps >= this.#run.repliesLostUntil) return this.#run.plan.replyLost;
    return this.#run.calm ? 1 : 0.6;
  }

  #logFor(actor: Actor): FaultyLog {
    return new FaultyLog({
      log: this.#run.log,
      scheduler: this.#run.scheduler,
      actor,
      isHole: (partition, offset) => this.#run.holes.has(`${partition}:${offset}`),
      onRecord: (record) => this.#run.content.read(record),
      fate: () => {
        if (!this.#run.faulty) return null;
        if (this.#run.random.chance(this.#run.plan.readFailed)) {
          this.#run.faults.add('read of the log failed');
          return 'fails';
        }
        if (!this.#run.random.chance(this.#run.plan.readShort)) return null;
        this.#run.faults.add('read of the log was short');
        return 'short';
      },
      mutation: this.#run.mutation,
    });
  }

  /** Where the process takes the states of its views to lie. */
  bindings(views: Iterable<CompiledView>, { store, clock, newToken }: StateWriting): ViewBindings {
    return new ViewBindings({ views, store, clock, newToken });
  }

  /** As a process does with every look. */
  async look(bindings: ViewBindings, views: readonly CompiledView[]): Promise<void> {
    const found = await bindings.read(views);
    for (const [v, view] of views.entries()) bindings.adopt(view, found[v]!);
  }

  spawnConsumer(partition: number): Actor {
    const actor = this.#run.scheduler.spawn(`consumer ${partition}`, async (self) => {
      const source = this.processRepo().sources.get('swipes')!;
      const writing = this.writing(self);
      const bindings = this.bindings(source.views, writing);
      await this.look(bindings, source.views);
      const lanes = new PartitionLanes({
        source,
        partition,
        log: this.#logFor(self),
        writing,
        deadLetters: this.#deadLetters(self),
        views: () => bindings.applied(source),
        isRead: (view) => bindings.isActive(view),
        observer: this.#observer(),
        decoder: simulatedDecoder(this.#run, source.definition, self),
        consumer: { chunkRecords: this.#run.random.between(1, 6) },
        wallClock: this.#run.clock,
        giveWay: async () => {},
      });
      while (true) {
        await this.#run.scheduler.gate(self);
        if (this.#run.random.chance(LOOKED)) await this.look(bindings, source.views);
        try {
          if (!(await lanes.step()) || this.#run.faulty) continue;
        } catch (error) {
          if (error instanceof LogReplacedError) throw new Mismatch(`another log, it says: ${error.message}`);
          if (!isForNow(error)) throw error;
          continue;
        }
        // At rest, unless there is something else to apply by now.
        const applied = bindings.applied(source);
        await this.look(bindings, source.views);
        if (bindings.applied(source) === applied) return;
      }
    });
    this.#workers.push({ actor, kind: 'consumer', again: () => this.spawnConsumer(partition) });
    return actor;
  }

  #observer(): LaneObserver {
    return {
      chunkApplied() {},
      caughtUp() {},
      positioned() {},
      missing() {},
      failed() {},
      recovered() {},
      gap: () => {
        this.#run.faults.add('gap reported');
        if (!this.#run.truncated) throw new Mismatch('a gap in a log without one');
      },
    };
  }

  #deadLetters(actor: Actor): DeadLetters {
    const append = async (letters: readonly DeadLetter[]): Promise<void> => {
      await this.#run.scheduler.gate(actor);
      const lost = this.#run.faulty && this.#run.scheduler.steps < this.#run.lettersLostUntil;
      if (!lost || this.#run.random.chance(0.2)) {
        for (const letter of letters) {
          checkLetter(this.#run, letter);
          this.#run.letters.add(letter);
        }
      }
      if (lost) throw new LostReplyError('simulated');
    };
    if (this.#run.mutation !== 'letters_not_awaited') return { write: append };
    return { write: async (letters) => void append(letters).catch(() => {}) };
  }

  completeness({ store, clock }: StateWriting): Completeness {
    if (this.#run.mutation === 'replay_not_awaited') return async () => true;
    return logCompleteness(store, () => this.#run.log, clock);
  }

  spawnCompactor(): Actor {
    const actor = this.#run.scheduler.spawn('compactor', async (self) => {
      const writing = this.writing(self);
      const views = [...this.processRepo().views.values()];
      const bindings = this.bindings(views, writing);
      await this.look(bindings, views);
      const retirement = this.retirement(bindings, views, writing);
      const compactor = new Compactor(
        (namespace) => bindings.inNamespace(namespace),
        writing,
        this.completeness(writing),
        { batchSize: 2, leaseMs: 3_000 },
      );
      while (this.#run.faulty || this.#run.clock.nowMs() < this.#run.replayUntilMs) {
        await this.#run.scheduler.gate(self);
        if (!this.#run.faulty) this.#run.clock.advanceTo(this.#run.clock.nowMs() + REPLAY_STEP_MS);
        if (this.#run.random.chance(LOOKED)) await this.look(bindings, views);
        try {
          if (this.#run.random.chance(REMOVED)) await retirement.remove();
          else await compactor.step(this.#run.random.below(SHARDS));
        } catch (error) {
          if (!(error instanceof LostReplyError)) throw error;
        }
      }
    });
    this.#workers.push({ actor, kind: 'compactor', again: () => this.spawnCompactor() });
    return actor;
  }

  retirement(
    bindings: ViewBindings,
    views: readonly CompiledView[],
    { store, clock }: StateWriting,
  ): NamespaceRetirement {
    const { mutation } = this.#run;
    return new NamespaceRetirement({
      views,
      bindings: mutation === 'active_retired' ? retiringActive(bindings) : bindings,
      store,
      shards: SHARDS,
      clock,
      removedAfterMs: mutation === 'grace_forgotten' ? Number.NEGATIVE_INFINITY : REMOVED_AFTER_MS,
      onRemoved() {},
      // `run` is not called: what fails is thrown.
      onError() {},
    });
  }

  /** Rebuilds a view, or goes on with it. */
  spawnRebuild(name: string, acceptGap: boolean): Actor {
    const actor = this.#run.scheduler.spawn(`rebuild of ${name}`, async (self) => {
      const view = this.processRepo().views.get(name);
      // The version before does not have it.
      if (view === undefined) return;
      const rebuild = new SimulatedRebuild({
        ...{ run: this.#run, actor: self, view, acceptGap, isForNow },
        log: this.#logFor(self),
        writing: this.writing(self, { rebuilds: true }),
        letters: this.#deadLetters(self),
        decoder: simulatedDecoder(this.#run, view.source, self),
        observer: this.#observer(),
        // Larger than those of consumers, as nobody waits for a single event.
        chunkRecords: this.#run.random.between(1, 20),
      });
      await rebuild.drive();
    });
    const again = (): void => {
      // Without faults only what the run itself asks for is rebuilt.
      if (this.#run.calm || this.#run.random.chance(GONE_ON)) this.spawnRebuild(name, acceptGap);
    };
    this.#workers.push({ actor, kind: 'rebuild', again });
    return actor;
  }

  spawnAbort(name: string): Actor {
    return this.#run.scheduler.spawn(`abort of a rebuild of ${name}`, async (self) => {
      const view = this.#run.repo.views.get(name)!;
      const writing = this.writing(self);
      const bindings = this.bindings([view], writing);
      for (;;) {
        try {
          await abortRebuild({ view, bindings, nowMs: () => writing.clock.nowMs() });
          return;
        } catch (error) {
          if (!isForNow(error)) throw error;
        }
      }
    });
  }

  kill(worker: Worker): void {
    this.#run.faults.add(KILLED[worker.kind]);
    this.#run.scheduler.kill(worker.actor);
    this.respawn(worker);
  }

  suspend(worker: Worker, steps: number): void {
    this.#run.faults.add(SUSPENDED[worker.kind]);
    this.#run.scheduler.suspend(worker.actor, steps);
    this.respawn(worker);
  }

  respawn({ again }: Worker): void {
    if (this.#workers.length <= WORKERS_MAX) again();
  }
}

/** The mistake that what is read is removed like what is not any more. */
const retiringActive = (bindings: ViewBindings): Pick<ViewBindings, 'read' | 'write'> => ({
  read: async (views) =>
    (await bindings.read(views)).map((binding) => ({
      ...binding,
      retiring: [...binding.retiring, { namespace: binding.active, untilMs: 0 }],
    })),
  write: (view, next) => bindings.write(view, next),
});
