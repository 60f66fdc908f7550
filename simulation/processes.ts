/** The processes of a run: consumers and compactors, each with a clock, a version and a view of store and log of its own. */
import { Compactor, inOwnNamespaces } from '../compaction/compactor.ts';
import { type Completeness, logCompleteness } from '../compaction/completeness.ts';
import type { Clock } from '../engine/clock.ts';
import type { CompiledRepo } from '../engine/definitions/compiled.ts';
import type { ConsumerObserver } from '../ingest/consumer-observer.ts';
import type { DeadLetter, DeadLetters } from '../ingest/dead-letter.ts';
import { UnknownSchemaError } from '../ingest/decoding/registry-record-decoder.ts';
import { RegistryUnavailableError } from '../ingest/decoding/schema-registry.ts';
import { PartitionConsumer } from '../ingest/partition-consumer.ts';
import { LogReplacedError } from '../ingest/partition-stopped.ts';
import type { StateWriting } from '../ingest/view-writer.ts';
import { FaultyLog } from './faulty-log.ts';
import { FaultyStore, LostReplyError } from './faulty-store.ts';
import { checkLetter } from './letter-truth.ts';
import { Mismatch } from './mismatch.ts';
import { mutatedRules } from './mutations.ts';
import { type RunState, SHARDS } from './run-state.ts';
import type { Actor } from './scheduler.ts';
import { simulatedDecoder } from './simulated-decoder.ts';
import { simulationRepo } from './simulation-repo.ts';

/** By seed: so few that most repeats are told by their rows, and so many that none is. */
const RECENT_IDS_MAX = [2, 8, 4_096] as const;
const REPLAY_STEP_MS = 250;
const WORKERS_MAX = 12;

export interface Worker {
  readonly actor: Actor;
  /** Of a consumer; null: it compacts. */
  readonly partition: number | null;
}

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

  writing(actor: Actor): StateWriting {
    const store = new FaultyStore({
      store: this.#run.store,
      scheduler: this.#run.scheduler,
      actor,
      random: this.#run.random,
      mutation: this.#run.mutation,
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

  spawnConsumer(partition: number): Actor {
    const actor = this.#run.scheduler.spawn(`consumer ${partition}`, async (self) => {
      const source = this.processRepo().sources.get('swipes')!;
      const consumer = new PartitionConsumer({
        source,
        views: source.views,
        partition,
        log: this.#logFor(self),
        writing: this.writing(self),
        deadLetters: this.#deadLetters(self),
        observer: this.#observer(),
        decoder: simulatedDecoder(this.#run, source.definition, self),
        options: { chunkRecords: this.#run.random.between(1, 6) },
        wallClock: this.#run.clock,
      });
      while (true) {
        await this.#run.scheduler.gate(self);
        try {
          const before = consumer.nextOffset;
          const records = await consumer.step();
          // Chunks without a record only move watermarks: there may be more behind them.
          if (records === 0 && before !== null && consumer.nextOffset === before && !this.#run.faulty) return;
        } catch (error) {
          if (error instanceof LogReplacedError) throw new Mismatch(`another log, it says: ${error.message}`);
          if (!isForNow(error)) throw error;
          consumer.reset();
        }
      }
    });
    const { scheduler, faulty, ingestStoppedUntil } = this.#run;
    if (faulty) scheduler.suspend(actor, ingestStoppedUntil - scheduler.steps);
    this.#workers.push({ actor, partition });
    return actor;
  }

  #observer(): ConsumerObserver {
    return {
      chunkApplied() {},
      caughtUp() {},
      positioned() {},
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
      const views = this.processRepo().views.values();
      const compactor = new Compactor(inOwnNamespaces(views), writing, this.completeness(writing), {
        batchSize: 2,
        leaseMs: 3_000,
      });
      while (this.#run.faulty || this.#run.clock.nowMs() < this.#run.replayUntilMs) {
        await this.#run.scheduler.gate(self);
        if (!this.#run.faulty) this.#run.clock.advanceTo(this.#run.clock.nowMs() + REPLAY_STEP_MS);
        try {
          await compactor.step(this.#run.random.below(SHARDS));
        } catch (error) {
          if (!(error instanceof LostReplyError)) throw error;
        }
      }
    });
    this.#workers.push({ actor, partition: null });
    return actor;
  }

  kill({ actor, partition }: Worker): void {
    this.#run.faults.add(partition === null ? 'compactor killed' : 'consumer killed');
    this.#run.scheduler.kill(actor);
    this.respawn(partition);
  }

  suspend({ actor, partition }: Worker, steps: number): void {
    this.#run.faults.add(
      partition === null ? 'compactor suspended' : 'consumer suspended, another took over',
    );
    this.#run.scheduler.suspend(actor, steps);
    this.respawn(partition);
  }

  respawn(partition: number | null): void {
    if (this.#workers.length > WORKERS_MAX) return;
    if (partition === null) this.spawnCompactor();
    else this.spawnConsumer(partition);
  }
}
