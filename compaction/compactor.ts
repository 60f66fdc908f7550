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
import { DEPTH_MAX } from '../engine/tiles/grid.ts';
import type { StateSnapshot } from '../engine/tiles/state-protocol.ts';
import { COMPACTION_FIELDS, planCompaction, tailPartitions } from '../engine/tiles/state-update.ts';
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
  /** Of views that are not defined here: left to who knows them. */
  postponed: number;
  /** By view: how many of the states rewritten were coarsened for their bound. */
  readonly coarsened: Map<CompiledView, number>;
  /** Each state rewritten or ended. */
  readonly written: { readonly view: CompiledView; readonly ended: boolean; readonly sizeBytes: number }[];
}

/**
 * A state whose view this process does not define may be another's: of a later version that is being rolled out, or of a
 * view removed for a while. It keeps its due entry, looked at again this much later by whoever is there then.
 */
const POSTPONED_MS = 86_400_000;

/**
 * A plan needs one read for the watermarks, and at most one per level of the tree for each of what it does: folding,
 * expiring and coarsening, and a few more for the blocks these meet; past its bound as many again, some hundred nodes at a
 * time.
 */
const READS_MAX = 6 * DEPTH_MAX;

/** The view whose states lie in a namespace; undefined: none of this process. */
export type ViewLookup = (namespace: string) => CompiledView | undefined;

/** Each view in the namespace of its definition. */
export function inOwnNamespaces(views: Iterable<CompiledView>): ViewLookup {
  const byNamespace = new Map([...views].map((view) => [view.namespace, view]));
  return (namespace) => byNamespace.get(namespace);
}

/** A state under way: what is to be read of it next. */
interface Work {
  readonly entry: DueEntry;
  readonly view: CompiledView;
  readonly live: boolean;
  fields: readonly FieldName[];
  partitions: readonly number[];
}

export class Compactor {
  readonly #viewIn: ViewLookup;
  readonly #writing: StateWriting;
  readonly #completeness: Completeness;
  readonly #options: CompactorOptions;

  constructor(
    viewIn: ViewLookup,
    writing: StateWriting,
    completeness: Completeness,
    options: Partial<CompactorOptions> = {},
  ) {
    this.#viewIn = viewIn;
    this.#writing = writing;
    this.#completeness = completeness;
    this.#options = { ...DEFAULT_COMPACTOR_OPTIONS, ...options };
  }

  /** Compacts up to one batch of due states of a shard; all counts are 0 when none was due. */
  async step(shard: number): Promise<CompactionCounts> {
    const { store, clock } = this.#writing;
    const counts: CompactionCounts = {
      compacted: 0,
      ended: 0,
      conflicts: 0,
      postponed: 0,
      coarsened: new Map(),
      written: [],
    };
    const nowMs = clock.nowMs();
    const leaseUntilMs = nowMs + this.#options.leaseMs;
    const entries = await store.leaseDue({ shard, nowMs, leaseUntilMs, limit: this.#options.batchSize });
    let pending = await this.#begin(entries, shard, counts);
    for (let reads = 0; pending.length > 0; reads++) {
      if (reads === READS_MAX) throw new Error(`compaction did not settle in ${READS_MAX} reads`);
      pending = await this.#round(pending, counts);
    }
    return counts;
  }

  async #begin(entries: readonly DueEntry[], shard: number, counts: CompactionCounts): Promise<Work[]> {
    const live = new Map<CompiledView, boolean>();
    const work: Work[] = [];
    const unknown: DueEntry[] = [];
    for (const entry of entries) {
      const view = this.#viewIn(entry.address.namespace);
      if (view === undefined) {
        unknown.push(entry);
        continue;
      }
      if (!live.has(view)) live.set(view, await this.#completeness(view, shard));
      work.push({ entry, view, live: live.get(view)!, fields: COMPACTION_FIELDS, partitions: [] });
    }
    if (unknown.length > 0) {
      const { store, clock } = this.#writing;
      await store.postponeDue(unknown, clock.nowMs() + POSTPONED_MS);
    }
    counts.postponed += unknown.length;
    return work;
  }

  /** Reads all, plans each, writes those that are decided. Returns those that need to read more. */
  async #round(pending: readonly Work[], counts: CompactionCounts): Promise<Work[]> {
    const { store, clock, shape, rules, pacing, newToken } = this.#writing;
    const states = await this.#read(pending);
    const again: Work[] = [];
    const writes: CompareAndSet[] = [];
    const planned: {
      readonly view: CompiledView;
      readonly coarsened: boolean;
      readonly sizeBytes: number;
    }[] = [];
    const nowMs = clock.nowMs();
    pending.forEach((item, i) => {
      const state = states[i]!;
      // Gone since it was leased: its due entry went with it.
      if (state.head === null) return;
      const { entry, view, live } = item;
      const needed = tailPartitions(view, state.head);
      if (needed.some((partition) => !item.partitions.includes(partition))) {
        again.push({ ...item, partitions: needed });
        return;
      }
      const plan = planCompaction({ view, shape, rules, pacing, state, nowMs, live });
      if (plan.kind === 'read') {
        again.push({ ...item, fields: [...new Set(plan.fields)] });
        return;
      }
      const { head, changes, dueMs } = plan;
      planned.push({ view, coarsened: plan.coarsened, sizeBytes: plan.sizeBytes ?? 0 });
      writes.push({
        address: entry.address,
        expected: state.token,
        next: head === null ? null : { token: newToken(state.token), head },
        changes,
        ...(dueMs === null ? {} : { dueMs }),
      });
    });
    const won = writes.length === 0 ? [] : await store.compareAndSet(writes);
    won.forEach((ok, i) => {
      if (!ok) {
        counts.conflicts++;
        return;
      }
      const { view, coarsened, sizeBytes } = planned[i]!;
      const ended = writes[i]!.next === null;
      if (ended) counts.ended++;
      else counts.compacted++;
      counts.written.push({ view, ended, sizeBytes });
      if (coarsened) counts.coarsened.set(view, (counts.coarsened.get(view) ?? 0) + 1);
    });
    return again;
  }

  async #read(pending: readonly Work[]): Promise<StateSnapshot[]> {
    const reads = await this.#writing.store.read(
      pending.map(({ entry, view, fields, partitions }) => ({
        address: entry.address,
        fields,
        watermarks: partitions.map((partition) => ({
          namespace: view.namespace,
          source: view.source.name,
          partition,
        })),
      })),
    );
    return reads.map(({ token, head, fields, watermarks }, i) => ({
      token,
      head,
      fields: new Map(pending[i]!.fields.map((field, f) => [field, fields[f]!])),
      watermarks: new Map(
        pending[i]!.partitions.map((partition, p): [number, Watermark | null] => [partition, watermarks[p]!]),
      ),
    }));
  }
}
