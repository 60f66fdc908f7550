/**
 * What the rules of the storage protocol speak of: a state as it was read, what is to become of it, and the decisions
 * that make an event count exactly once. See "Storage protocol" in ARCHITECTURE.md.
 */
import type { FieldName, Token, Watermark } from '../store/tile-store.ts';
import { IDS_FIELD } from './grid.ts';
import { type Head, tailOffset, tailPartition } from './head.ts';
import type { RowBlock } from './row-block.ts';
import type { TileView } from './tile-view.ts';

/** A view as far as its stored state is concerned; `CompiledView` is one. */
export interface StateView extends TileView {
  readonly longestWindowMs: number;
  readonly largestOffsetMs: number;
  readonly lifetimeOffsetMs: number;
  readonly keepsForever: boolean;
  readonly asOfRetentionMs: number;
  readonly resolutionMs: number | null;
  readonly maxStateBytes: number;
  readonly latenessMs: number;
  readonly dedupeHorizonMs: number;
  /** Whether a row says which event it is. Where a stamp does, the row's id is its position in the log. */
  readonly hasEventIds: boolean;
}

/**
 * The decisions that make up exactly-once. Production code uses `PROTOCOL`; the simulator replaces one at a
 * time to show that it would notice.
 */
export interface ProtocolRules {
  /** Whether the record was applied to the state before. */
  isApplied(head: Head, partition: number, offset: number): boolean;
  /** Tail rows of a partition with offset < this may be folded, and become its floor. */
  foldBelow(watermark: Watermark | null, tail: RowBlock, partition: number): number;
  /** Whether events with an id that was seen are skipped. */
  readonly dedupe: boolean;
  /** Whether a row that leaves the tail above the watermark leaves its offset behind. */
  readonly remembersEarly: boolean;
}

/** Partition → offsets of a tail's rows: asked for every row of a chunk, and a hot key's tail can be a whole chunk. */
const tailOffsets = new WeakMap<RowBlock, Map<number, Set<number>>>();

function tailHolds(tail: RowBlock, partition: number, offset: number): boolean {
  if (tail.length === 0) return false;
  let byPartition = tailOffsets.get(tail);
  if (byPartition === undefined) {
    byPartition = new Map();
    for (let i = 0; i < tail.length; i++) {
      const offsets = byPartition.get(tailPartition(tail, i));
      if (offsets === undefined) byPartition.set(tailPartition(tail, i), new Set([tailOffset(tail, i)]));
      else offsets.add(tailOffset(tail, i));
    }
    tailOffsets.set(tail, byPartition);
  }
  return byPartition.get(partition)?.has(offset) ?? false;
}

export const PROTOCOL: ProtocolRules = {
  isApplied(head, partition, offset) {
    return (
      offset < (head.floors.get(partition) ?? 0) ||
      tailHolds(head.tail, partition, offset) ||
      (head.early.get(partition)?.has(offset) ?? false)
    );
  },
  foldBelow(watermark) {
    return watermark === null ? 0 : watermark.nextOffset;
  },
  dedupe: true,
  remembersEarly: true,
};

/** A state as it was read: head and the fields asked for. */
export interface StateSnapshot {
  readonly token: Token | null;
  readonly head: Uint8Array | null;
  /** Every field that was asked for; null where absent. */
  readonly fields: ReadonlyMap<FieldName, Uint8Array | null>;
  /** Watermark per partition, read at the same instant; null: not asked for. */
  readonly watermarks: ReadonlyMap<number, Watermark | null> | null;
}

export interface IngestCounts {
  applied: number;
  /** Skipped because the record had been applied before (redelivery). */
  redelivered: number;
  /** Skipped because an event with the same id had been applied. */
  duplicate: number;
  /** Older than every window: dropped. */
  tooLate: number;
}

export type UpdatePlan =
  /** More must be read (everything again, these included, at one instant) before a decision is possible. */
  | { readonly kind: 'read'; readonly fields: readonly FieldName[]; readonly watermarks: boolean }
  /** Nothing to write. */
  | { readonly kind: 'unchanged'; readonly counts: IngestCounts }
  | {
      readonly kind: 'write';
      /** null: the state ends and all its fields are deleted. */
      readonly head: Uint8Array | null;
      readonly changes: ReadonlyMap<FieldName, Uint8Array | null>;
      /** The state's new time in the due index; null: it stays as it is. */
      readonly dueMs: number | null;
      /** Whether rows or tiles were given up because the state had come to its bound. */
      readonly coarsened: boolean;
      /** Of the state after the write, as it counts towards its bound; null: what was read does not say. */
      readonly sizeBytes: number | null;
      readonly counts: IngestCounts;
    };

/** What ingest asks for at first: the ids, where there is a dedupe. */
export const INGEST_FIELDS: readonly FieldName[] = [IDS_FIELD];
