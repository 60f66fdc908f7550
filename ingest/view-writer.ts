/**
 * Writes accepted events of one view to the tile store: read, merge, compare-and-set, for many keys at once.
 *
 * Each round costs one read and one write call for all keys still pending; a key leaves when its write won or
 * nothing was to be written. A key whose write lost is read and merged again in the next round.
 */
import { CorruptBytesError } from '../engine/bytes.ts';
import type { Clock } from '../engine/clock.ts';
import type { CompiledView } from '../engine/definitions/compiled.ts';
import { hash53 } from '../engine/hash64.ts';
import type {
  CompareAndSet,
  FieldName,
  StateAddress,
  TileStore,
  Token,
  Watermark,
} from '../engine/store/tile-store.ts';
import {
  INGEST_FIELDS,
  type IngestCounts,
  type ProtocolRules,
  type StateSnapshot,
} from '../engine/tiles/state-protocol.ts';
import { type CompactionPacing, type IncomingRow, planIngest } from '../engine/tiles/state-update.ts';
import type { TileShape } from '../engine/tiles/tile-shape.ts';

/** What every writer of states needs, in ingest and compaction alike. */
export interface StateWriting {
  readonly store: TileStore;
  readonly clock: Clock;
  /** Number of shards (hash-tag groups) states are spread over; 1 on a single node. */
  readonly shards: number;
  readonly shape: TileShape;
  readonly pacing: CompactionPacing;
  readonly rules: ProtocolRules;
  /** Random 64 bits as 16 hex digits. The previous token is given so that a test can make a worse one. */
  readonly newToken: (previous: Token | null) => Token;
  /** Who writes the rows of events. @default a `ViewWriter`, here */
  readonly writerOf?: (view: CompiledView) => RowWriter;
}

/** Writes accepted events of one view. */
export interface RowWriter {
  readonly view: CompiledView;
  /** Applies rows by entity key; resolves when all are in the store. Safe to repeat after a failure. */
  apply(rowsByKey: ReadonlyMap<string, readonly IncomingRow[]>): Promise<WriteCounts>;
}

/** Keys read and written in one call: bounds memory, and how long an embedded store keeps the thread. */
const KEYS_PER_ROUND = 256;

/** A key so contended that a write lost this often is a sign of something broken. */
const ROUNDS_MAX = 10_000;

export function shardOf(key: string, shards: number): number {
  return shards === 1 ? 0 : hash53(key) % shards;
}

interface Pending {
  readonly address: StateAddress;
  readonly incoming: readonly IncomingRow[];
  fields: readonly FieldName[];
  watermarks: boolean;
}

export interface WriteCounts extends IngestCounts {
  /** Writes that lost their compare-and-set and were done again. */
  conflicts: number;
  /** Writes that coarsened their state, as it had come to its bound. */
  coarsened: number;
  /** States that were not there before. */
  created: number;
}

export class ViewWriter implements RowWriter {
  readonly view: CompiledView;
  readonly #writing: StateWriting;

  constructor(view: CompiledView, writing: StateWriting) {
    this.view = view;
    this.#writing = writing;
  }

  /** @throws CorruptBytesError naming the view; what the store throws */
  async apply(rowsByKey: ReadonlyMap<string, readonly IncomingRow[]>): Promise<WriteCounts> {
    try {
      return await this.#apply(rowsByKey);
    } catch (error) {
      if (!(error instanceof CorruptBytesError)) throw error;
      throw new CorruptBytesError(
        `a state of view ${this.view.name} is damaged in the store, or was written by another version (${error.message}): ` +
          'a rebuild of the view writes all of its states anew',
        { cause: error },
      );
    }
  }

  async #apply(rowsByKey: ReadonlyMap<string, readonly IncomingRow[]>): Promise<WriteCounts> {
    const counts: WriteCounts = {
      applied: 0,
      redelivered: 0,
      duplicate: 0,
      tooLate: 0,
      conflicts: 0,
      coarsened: 0,
      created: 0,
    };
    const { shards } = this.#writing;
    let pending: Pending[] = [];
    for (const [key, incoming] of rowsByKey) {
      const address = { namespace: this.view.namespace, key, shard: shardOf(key, shards) };
      pending.push({ address, incoming, fields: INGEST_FIELDS, watermarks: false });
    }
    for (let round = 0; pending.length > 0; round++) {
      if (round === ROUNDS_MAX)
        throw new Error(`a state of view ${this.view.name} lost ${ROUNDS_MAX} writes`);
      const next: Pending[] = [];
      for (let at = 0; at < pending.length; at += KEYS_PER_ROUND) {
        next.push(...(await this.#round(pending.slice(at, at + KEYS_PER_ROUND), counts)));
      }
      pending = next;
    }
    return counts;
  }

  async #round(pending: readonly Pending[], counts: WriteCounts): Promise<Pending[]> {
    const { store, clock, shape, rules, pacing, newToken } = this.#writing;
    const snapshots = await readSnapshots(store, this.view, pending);
    const again: Pending[] = [];
    const writers: Pending[] = [];
    const writes: CompareAndSet[] = [];
    const planned: { readonly counts: IngestCounts; readonly coarsened: boolean }[] = [];
    const nowMs = clock.nowMs();
    pending.forEach((item, i) => {
      const state = snapshots[i]!;
      const plan = planIngest({
        view: this.view,
        shape,
        rules,
        pacing,
        state,
        incoming: item.incoming,
        nowMs,
      });
      if (plan.kind === 'read') {
        again.push({
          ...item,
          fields: [...new Set(plan.fields)],
          watermarks: item.watermarks || plan.watermarks,
        });
      } else if (plan.kind === 'unchanged') {
        addCounts(counts, plan.counts);
      } else {
        if (plan.head === null) throw new Error('ingest never ends a state');
        const next = { token: newToken(state.token), head: plan.head };
        const { changes, dueMs } = plan;
        writes.push({
          address: item.address,
          expected: state.token,
          next,
          changes,
          ...(dueMs === null ? {} : { dueMs }),
        });
        writers.push(item);
        planned.push(plan);
      }
    });
    if (writes.length > 0) {
      const won = await store.compareAndSet(writes);
      won.forEach((ok, i) => {
        if (ok) {
          addCounts(counts, planned[i]!.counts);
          if (planned[i]!.coarsened) counts.coarsened++;
          if (writes[i]!.expected === null) counts.created++;
        } else {
          counts.conflicts++;
          again.push({ ...writers[i]!, fields: INGEST_FIELDS, watermarks: false });
        }
      });
    }
    return again;
  }
}

function addCounts(into: IngestCounts, from: IngestCounts): void {
  into.applied += from.applied;
  into.redelivered += from.redelivered;
  into.duplicate += from.duplicate;
  into.tooLate += from.tooLate;
}

/** Reads states, each with the watermarks of all partitions its incoming rows and tail can be of. */
async function readSnapshots(
  store: TileStore,
  view: CompiledView,
  pending: readonly Pending[],
): Promise<StateSnapshot[]> {
  const partitions = watermarkPartitions(pending);
  const names = partitions.map((partition) => ({
    namespace: view.namespace,
    source: view.source.name,
    partition,
  }));
  const reads = await store.read(
    pending.map((item) => ({
      address: item.address,
      fields: item.fields,
      ...(item.watermarks ? { watermarks: names } : {}),
    })),
  );
  return reads.map((read, i) => {
    const item = pending[i]!;
    return {
      token: read.token,
      head: read.head,
      fields: new Map(item.fields.map((field, f) => [field, read.fields[f]!])),
      watermarks: item.watermarks
        ? new Map(
            partitions.map((partition, p): [number, Watermark | null] => [partition, read.watermarks[p]!]),
          )
        : null,
    };
  });
}

/**
 * A consumer folds rows of the partitions it is writing; rows that other partitions put into the same tail wait
 * for their own consumer or for compaction.
 */
function watermarkPartitions(pending: readonly Pending[]): number[] {
  const partitions = new Set<number>();
  for (const item of pending) for (const row of item.incoming) partitions.add(row.partition);
  return [...partitions];
}
