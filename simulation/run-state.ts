/** What the parts of one run share: its randomness, the log, the store, what was appended, and how far things have gone. */
import { ManualClock } from '../engine/clock.ts';
import type { CompiledRepo } from '../engine/definitions/compiled.ts';
import { SeededRandom } from '../engine/testing/random.ts';
import { MemoryEventLog } from '../ingest/log/memory-event-log.ts';
import { AnswerCounts } from './answers.ts';
import { CALM, type FaultPlan, planFaults } from './fault-plan.ts';
import { type Disturbance, FaultCounts } from './faults.ts';
import { SimulatedLetters } from './letter-replay.ts';
import { LogContent } from './log-content.ts';
import type { Mutation } from './mutations.ts';
import { Namespaces } from './namespaces.ts';
import { OracleComparison } from './oracle-comparison.ts';
import { Scheduler } from './scheduler.ts';
import { SimulatedRegistry } from './simulated-registry.ts';
import { POISON_AMOUNT, simulationRepo } from './simulation-repo.ts';
import { StateTruth } from './state-truth.ts';
import { WatchedStore } from './watched-store.ts';

export interface SimulationOptions {
  readonly seed: number;
  /** A mistake to plant; the run is then expected to end in a mismatch for some seeds. */
  readonly mutation?: Mutation | undefined;
  /** Only this happens, in a run of few events; null: a few events and nothing happens. @default the seed's faults */
  readonly disturbance?: Disturbance | null | undefined;
  /** Whether values are compared. A run goes the same way without, at a third of the cost. @default true */
  readonly watched?: boolean | undefined;
}

export const SHARDS = 3;
export const PARTITIONS_MAX = 4;
/** Between the end of a namespace's time and its removal, ms: more than any two clocks are apart. */
export const REMOVED_AFTER_MS = 3_000;
const START_MS = 1_700_000_000_000;

export class RunState {
  readonly seed: number;
  readonly mutation: Mutation | null;
  readonly disturbance: Disturbance | null;
  /** Nothing goes wrong but the disturbance, if there is one. */
  readonly calm: boolean;
  readonly watched: boolean;
  readonly plan: FaultPlan;
  readonly random: SeededRandom;
  readonly scheduler: Scheduler;
  readonly clock = new ManualClock(START_MS);
  readonly withIds: boolean;
  readonly repo: CompiledRepo;
  readonly store: WatchedStore;
  readonly log: MemoryEventLog;
  readonly content: LogContent;
  readonly namespaces: Namespaces;
  readonly comparison: OracleComparison;
  readonly truth: StateTruth;
  readonly faults = new FaultCounts();
  /** What readers were answered. */
  readonly answers = new AnswerCounts();
  readonly registry: SimulatedRegistry;
  /** Offsets that hold no record, as `partition:offset`. */
  readonly holes = new Set<string>();
  readonly letters = new SimulatedLetters();
  /** Whether processes that start now can use what was poison. */
  mended = false;
  /** Whether all letters of what was mended were replayed, when everything was. */
  lettersReplayed = false;
  /** The scheduler's step before which dead letters fail. */
  lettersLostUntil = 0;
  /** The scheduler's step before which most replies are lost. */
  repliesLostUntil = 0;
  /** Whether retention dropped records. */
  truncated = false;
  /** Compactors go on until then, although there are no faults. */
  replayUntilMs = 0;
  /** Whether anything may go wrong still. */
  faulty = true;

  constructor({ seed, mutation, disturbance, watched = true }: SimulationOptions) {
    this.seed = seed;
    this.mutation = mutation ?? null;
    this.calm = disturbance !== undefined;
    this.disturbance = disturbance ?? null;
    this.watched = watched;
    this.plan = this.calm ? CALM : planFaults(seed);
    this.random = new SeededRandom(seed);
    this.scheduler = new Scheduler(this.random);
    this.registry = new SimulatedRegistry(this.scheduler, this.mutation);
    // The dedupe would hide a floor that fails: half of the runs have no ids.
    this.withIds = seed % 2 === 0;
    this.repo = simulationRepo(this.withIds, 'present', true);
    this.store = new WatchedStore(
      { random: () => this.random.hex64(), historyLimit: 400 },
      () => (this.watched ? this.truth : null),
      () => this.namespaces,
    );
    this.log = new MemoryEventLog({
      source: 'swipes',
      partitions: this.random.between(1, 2),
      random: () => this.random.hex64(),
      segmentRecords: 1,
    });
    this.content = new LogContent({
      repo: this.repo,
      withIds: this.withIds,
      isPoison: ({ amount }) => amount === POISON_AMOUNT,
    });
    this.namespaces = new Namespaces({
      repo: this.repo,
      store: this.store,
      log: this.log,
      content: this.content,
      clock: this.clock,
      clockSkewMs: this.plan.clockSkewMs,
      removedAfterMs: REMOVED_AFTER_MS,
      shards: SHARDS,
      faults: this.faults,
    });
    this.comparison = new OracleComparison(this.clock);
    this.truth = new StateTruth({
      comparison: this.comparison,
      repo: this.repo,
      store: this.store,
      content: this.content,
      namespaces: this.namespaces,
      shards: SHARDS,
      clock: this.clock,
      clockSkewMs: this.plan.clockSkewMs,
      seed,
      lettered: (view, place) => this.letters.has(place, view.name),
      poisonCounts: () => this.mended && this.lettersReplayed,
      step: () => this.scheduler.steps,
    });
  }
}
