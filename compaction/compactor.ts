/**
 * The background compactor: takes states whose due time has come from the due index and folds, expires and
 * coarsens each by one compare-and-set. Any number may run at once: the lease keeps them apart most of the
 * time, the compare-and-set always.
 *
 * Works shard by shard in small batches and yields between them, so that in one process it runs beside ingest
 * and serving without holding the thread.
 */
import type { CompiledView } from '../engine/definitions/compiled.ts';
import type { CompareAndSet, DueEntry, FieldName, Watermark } from '../engine/store/tile-store.ts';
import {
  COMPACTION_FIELDS,
  planCompaction,
  type StateSnapshot,
  tailPartitions,
} from '../engine/tiles/state-update.ts';
import type { StateWriting } from '../ingest/view-writer.ts';
import type { Completeness } from './completeness.ts';

export interface CompactorOptions {
  /** States taken in one lease. Default 32. */
  readonly batchSize: number;
  /** How long a lease keeps other compactors away, ms. Default 30 s. */
  readonly leaseMs: number;
}

export const DEFAULT_COMPACTOR_OPTIONS: CompactorOptions = { batchSize: 32, leaseMs: 30_000 };

export interface CompactionCounts {
  /** States rewritten. */
  compacted: number;
  /** States ended because nothing was left in them. */
  ended: number;
  /** Writes that lost their compare-and-set; the state comes up again when its lease ends. */
  conflicts: number;
  /** Due entries of views that are no longer defined: removed from the index. */
  orphaned: number;
}

/** A plan needs at most one read per level of the tree, and one more for the watermarks. */
const READS_MAX = 16;

export class Compactor {
  readonly #views: ReadonlyMap<string, CompiledView>;
  readonly #writing: StateWriting;
  readonly #completeness: Completeness;
  readonly #options: CompactorOptions;

  constructor(
    views: Iterable<CompiledView>,
    writing: StateWriting,
    completeness: Completeness,
    options: Partial<CompactorOptions> = {},
  ) {
    this.#views = new Map([...views].map((view) => [view.namespace, view]));
    this.#writing = writing;
    this.#completeness = completeness;
    this.#options = { ...DEFAULT_COMPACTOR_OPTIONS, ...options };
  }

  /** Compacts up to one batch of due states of a shard; `compacted + ended + …` is 0 when none was due. */
  async step(shard: number): Promise<CompactionCounts> {
    const { store, clock } = this.#writing;
    const counts: CompactionCounts = { compacted: 0, ended: 0, conflicts: 0, orphaned: 0 };
    const nowMs = clock.nowMs();
    const entries = await store.leaseDue({
      shard,
      nowMs,
      leaseUntilMs: nowMs + this.#options.leaseMs,
      limit: this.#options.batchSize,
    });
    const liveViews = new Map<CompiledView, boolean>();
    for (const entry of entries) {
      const view = this.#views.get(entry.address.namespace);
      if (view === undefined) {
        counts.orphaned++;
        await store.finishDue([{ entry, nextDueMs: null }]);
        continue;
      }
      const live = liveViews.get(view) ?? (await this.#completeness(view, shard));
      liveViews.set(view, live);
      await this.#compact(entry, view, live, counts);
    }
    return counts;
  }

  async #compact(
    entry: DueEntry,
    view: CompiledView,
    live: boolean,
    counts: CompactionCounts,
  ): Promise<void> {
    const { store, clock, shape, rules, pacing, newToken } = this.#writing;
    let fields: readonly FieldName[] = COMPACTION_FIELDS;
    let partitions: readonly number[] = [];
    for (let reads = 0; reads < READS_MAX; reads++) {
      const state = await this.#read(entry, view, fields, partitions);
      if (state.head === null) {
        // Ingest entered the key before a write that has not come yet, or never will.
        await store.finishDue([{ entry, nextDueMs: null }]);
        return;
      }
      const needed = tailPartitions(view, state.head);
      if (needed.some((partition) => !partitions.includes(partition))) {
        partitions = needed;
        continue;
      }
      const plan = planCompaction({
        view,
        shape,
        rules,
        pacing,
        state,
        nowMs: clock.nowMs(),
        live,
      });
      if (plan.kind === 'read') {
        fields = [...new Set(plan.fields)];
        continue;
      }
      const write: CompareAndSet = {
        address: entry.address,
        expected: state.token,
        next: plan.head === null ? null : { token: newToken(state.token), head: plan.head },
        changes: plan.changes,
      };
      const [won] = await store.compareAndSet([write]);
      if (!won) {
        counts.conflicts++;
        return;
      }
      if (plan.head === null) counts.ended++;
      else counts.compacted++;
      await store.finishDue([{ entry, nextDueMs: plan.nextDueMs ?? null }]);
      return;
    }
    throw new Error(`compaction of a state of view ${view.name} did not settle in ${READS_MAX} reads`);
  }

  async #read(
    entry: DueEntry,
    view: CompiledView,
    fields: readonly FieldName[],
    partitions: readonly number[],
  ): Promise<StateSnapshot> {
    const watermarks = partitions.map((partition) => ({
      namespace: view.namespace,
      source: view.source.name,
      partition,
    }));
    const [read] = await this.#writing.store.read([{ address: entry.address, fields, watermarks }]);
    return {
      token: read!.token,
      head: read!.head,
      fields: new Map(fields.map((field, f) => [field, read!.fields[f]!])),
      watermarks: new Map(partitions.map((p, i): [number, Watermark | null] => [p, read!.watermarks[i]!])),
    };
  }
}
