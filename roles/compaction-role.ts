/** Compaction beside whatever else the process does, with its metrics and log lines. */
import type { FastifyBaseLogger } from 'fastify';
import { type CompactionCounts, Compactor, type ViewLookup } from '../compaction/compactor.ts';
import type { Completeness } from '../compaction/completeness.ts';
import type { StateWriting } from '../ingest/view-writer.ts';
import type { Metrics } from '../serve/metrics.ts';
import { tracedBetween } from '../serve/tracing.ts';
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
        onStep: (counts, tookMs) => {
          this.#count(counts);
          const states = counts.written.length;
          if (states === 0) return;
          const nowMs = performance.now();
          tracedBetween('millrace.compact', nowMs - tookMs, nowMs, { 'millrace.states': states });
        },
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

  /** States due now, in all shards, and how long the first of them has been; a collector of metrics. */
  async countBacklog(): Promise<void> {
    const { metrics, writing } = this.#options;
    const { store, clock, shards } = writing;
    const nowMs = clock.nowMs();
    const all = Array.from({ length: shards }, (_, shard) => shard);
    const counts = await Promise.all(all.map((shard) => store.countDue(shard, nowMs)));
    metrics.set(
      'millrace_compaction_backlog_states',
      {},
      counts.reduce((sum, count) => sum + count, 0),
    );
    const earliest = await Promise.all(all.map((shard) => store.earliestDueMs(shard)));
    const dueMs = earliest.reduce<number>((min, at) => Math.min(min, at ?? nowMs), nowMs);
    metrics.set('millrace_compaction_backlog_age_seconds', {}, (nowMs - dueMs) / 1000);
  }

  #count({ compacted, ended, conflicts, postponed, coarsened, written }: CompactionCounts): void {
    const { metrics } = this.#options;
    for (const { view, ended: gone, sizeBytes } of written) {
      if (gone) metrics.count('millrace_states_ended_total', { view: view.name });
      else metrics.observe('millrace_state_bytes', { view: view.name }, sizeBytes);
    }
    for (const [view, n] of coarsened) {
      metrics.count('millrace_states_coarsened_total', { view: view.name }, n);
    }
    for (const [outcome, n] of Object.entries({ compacted, ended, conflict: conflicts, postponed })) {
      metrics.count('millrace_compaction_states_total', { outcome }, n);
    }
  }
}
