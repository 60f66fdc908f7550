/** Compaction beside whatever else the process does, with its metrics and log lines. */
import type { FastifyBaseLogger } from 'fastify';
import { type CompactionCounts, Compactor, type ViewLookup } from '../compaction/compactor.ts';
import type { Completeness } from '../compaction/completeness.ts';
import type { StateWriting } from '../ingest/view-writer.ts';
import type { Metrics } from '../serve/metrics.ts';
import { runCompaction } from './compaction-loop.ts';
import { reasonOf } from './reason-of.ts';

const IDLE_MS = 1_000;

export interface CompactionRoleOptions {
  readonly viewIn: ViewLookup;
  readonly writing: StateWriting;
  readonly completeness: Completeness;
  readonly metrics: Metrics;
  /** States per step; what one step holds the thread for. */
  readonly batchSize: number;
  /** Time since features were last asked of this process, ms; compaction steps aside. @default never asked */
  readonly quietMs?: () => number;
  readonly logger?: FastifyBaseLogger;
}

export class CompactionRole {
  readonly #options: CompactionRoleOptions;
  readonly #compactor: Compactor;
  #failing: string | null = null;

  constructor(options: CompactionRoleOptions) {
    const { viewIn, writing, completeness, batchSize } = options;
    this.#options = options;
    this.#compactor = new Compactor(viewIn, writing, completeness, { batchSize });
  }

  /** Why compaction does not get on; null: it does. */
  get failing(): string | null {
    return this.#failing;
  }

  /** Compacts until the signal aborts. Never rejects. */
  run(signal: AbortSignal): Promise<void> {
    const { writing, metrics, logger, quietMs = () => Number.POSITIVE_INFINITY } = this.#options;
    return runCompaction(
      {
        compactor: this.#compactor,
        shards: writing.shards,
        idleMs: IDLE_MS,
        quietMs,
        onStep: (counts) => this.#count(counts),
        onRound: (failed) => {
          if (!failed) this.#failing = null;
        },
        onError: (error) => {
          this.#failing = `compaction: ${reasonOf(error)}`;
          metrics.count('millrace_compaction_errors_total', {});
          logger?.error({ reason: reasonOf(error) }, 'compaction failed; it is tried again');
        },
      },
      signal,
    );
  }

  /** Compacts what is due now, in all shards; returns the number of states looked at. */
  async compact(): Promise<number> {
    let states = 0;
    for (let shard = 0; shard < this.#options.writing.shards; ) {
      const counts = await this.#compactor.step(shard);
      this.#count(counts);
      const step = counts.compacted + counts.ended + counts.conflicts + counts.postponed;
      if (step === 0) shard++;
      states += step;
    }
    return states;
  }

  /** States due now, in all shards. */
  async backlog(): Promise<number> {
    const { store, clock, shards } = this.#options.writing;
    const counts = await Promise.all(
      Array.from({ length: shards }, (_, shard) => store.countDue(shard, clock.nowMs())),
    );
    return counts.reduce((sum, count) => sum + count, 0);
  }

  #count({ compacted, ended, conflicts, postponed, coarsened }: CompactionCounts): void {
    for (const [view, n] of coarsened) {
      this.#options.metrics.count('millrace_states_coarsened_total', { view: view.name }, n);
    }
    for (const [outcome, n] of Object.entries({ compacted, ended, conflict: conflicts, postponed })) {
      this.#options.metrics.count('millrace_compaction_states_total', { outcome }, n);
    }
  }
}
