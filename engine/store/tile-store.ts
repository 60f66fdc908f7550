/**
 * The tile store: the only state Millrace keeps besides the log.
 *
 * It speaks of states, watermarks and due entries; it knows nothing of rows, aggregates or windows. Every
 * method is one round trip per store node; arrays are there so that a remote store can pipeline.
 *
 * What it leaves out on purpose: merging (done by the caller, guarded by compare-and-set), scans (compaction works from the
 * due index; only a namespace that is given up is dropped by looking for it), time (arguments), and durability
 * acknowledgements (a store may lose its newest writes as long as it loses a *suffix per shard*: states, watermarks and due
 * entries of one shard, and with the first shard the records, roll back together to one earlier moment; the watermark
 * protocol repairs the rest, see ARCHITECTURE.md).
 */

import type { LogGap } from './log-gap.ts';
import type { ShardMark } from './shard-mark.ts';
import type { UnappliedOffsets } from './unapplied-offsets.ts';

/** Opaque 64-bit identity of one state's content, as 16 lower-case hex digits; replaced by every write. */
export type Token = string;

/** Where a state lives: the view's namespace (C11) and the entity key. Shard: the hash-tag group it is in. */
export interface StateAddress {
  readonly namespace: string;
  readonly key: string;
  readonly shard: number;
}

/** Name of a field besides the head: unique within a state, 1 ≤ length ≤ 16, ASCII letters, digits and `:`. */
export type FieldName = string;

export interface FieldTier {
  readonly fields: readonly FieldName[];
  /** The same object is in many requests, and never changes: what was made of it may be remembered with it. */
  readonly lasting: boolean;
}

export interface ReadRequest {
  readonly address: StateAddress;
  readonly fields: readonly FieldName[];
  /**
   * Further fields, whose values follow those of `fields`. Where nothing of a tier is there, nothing of those behind it is asked for
   * in earnest: these need not be looked for, and may be null; the head and `fields` are the tier in front. So tiers change how
   * much is looked for, never what the caller makes of it. Not together with `watermarks`. @default none
   */
  readonly tiers?: readonly FieldTier[];
  /** Whether the first of `fields` (null: absent) says that nothing of the tiers is there. @default it does not */
  readonly saysNoTiers?: (first: Uint8Array | null) => boolean;
  /** Also return these watermarks of the address's shard, read at the same instant as the state. */
  readonly watermarks?: readonly WatermarkName[];
  /** Also return the mark of the address's shard, read no earlier than the state. */
  readonly marked?: boolean;
}

export interface ReadState {
  /** null: the state does not exist. */
  readonly token: Token | null;
  /** The head, replaced by every write; null iff `token` is null. */
  readonly head: Uint8Array | null;
  /** As asked in `fields` and `tiers`, in order; null where absent. The bytes are valid until the caller yields to the event loop. */
  readonly fields: readonly (Uint8Array | null)[];
  /** As asked in `watermarks`, in order; empty where not asked. */
  readonly watermarks: readonly (Watermark | null)[];
  /** Where asked for with `marked`; null: no watermark was moved yet, or the store loses nothing while it is open. */
  readonly mark?: ShardMark | null;
}

export interface ShardLook {
  /** As in `ReadState`. */
  readonly mark: ShardMark | null;
  /** In the order of the names. */
  readonly watermarks: readonly (Watermark | null)[];
}

export interface CompareAndSet {
  readonly address: StateAddress;
  /** The token read; null: the state must not exist. */
  readonly expected: Token | null;
  /** The new content, or null to delete the whole state (all fields of which must be in `changes` as null). */
  readonly next: { readonly token: Token; readonly head: Uint8Array } | null;
  /** Fields to write, or to delete where null. Fields not named stay as they are. */
  readonly changes: ReadonlyMap<FieldName, Uint8Array | null>;
  /**
   * The state's entry in the due index, changed together with the state: a time (processing time, ms) sets it,
   * left out it stays. A state that ends takes its entry with it.
   */
  readonly dueMs?: number;
}

/** One (view namespace, source, log partition): how far the log has been applied to a shard. */
export interface WatermarkName {
  readonly namespace: string;
  readonly source: string;
  readonly partition: number;
}

export interface Watermark {
  /** Every record with offset < `nextOffset` has been applied to this shard, but for those that are `unapplied`. */
  readonly nextOffset: number;
  /** Random, replaced by every move: two watermarks at the same offset are still told apart. */
  readonly token: Token;
  /** Highest event time applied, ms; −1 when none. Drives the event clock. */
  readonly maxEventTimeMs: number;
  /** Append time of the last record applied, ms; −1 when none. */
  readonly appendedMs: number;
  /**
   * What the consumer took for now when it moved the watermark, ms; 0 when it never did. A clock made again from
   * watermarks must not be behind it: events were dropped as too late by it.
   */
  readonly clockMs: number;
  /** What the log looked like when this was written (`EventLog.identity`), to notice a re-created log. */
  readonly logIdentity: string;
  /**
   * CRC-32 of the value of the last record applied, with `appendedMs` what tells it from another record at its offset.
   * Left out: not known.
   */
  readonly checksum?: number;
  /**
   * Records below `nextOffset` that were gone before they were applied, and that some window may still ask for.
   * At most `GAPS_MAX`. Left out: none.
   */
  readonly gaps?: readonly LogGap[];
  /** Absent: not known. */
  readonly unapplied?: UnappliedOffsets;
}

export interface MoveWatermark {
  readonly shard: number;
  readonly name: WatermarkName;
  /** Token of the watermark read, or null: it must not exist. */
  readonly expected: Token | null;
  /** The store's incarnation seen when `expected` was read. */
  readonly incarnation: string;
  readonly next: Watermark;
}

/** A short text under a name that the processes of a deployment agree on, such as where a view's state lies. */
export interface StoreRecord {
  /** Random, replaced by every write. */
  readonly token: Token;
  /** At most 16 KiB of UTF-8. */
  readonly text: string;
}

export interface RecordWrite {
  /** 1 to 64 ASCII letters, digits, `:`, `_`, `-` and `.`. */
  readonly name: string;
  /** Token of the record read, or null: it must not exist. */
  readonly expected: Token | null;
  readonly next: StoreRecord;
}

export interface DroppedStates {
  readonly dropped: number;
  /** To go on with; null: every state that was there when the first call was made is gone. */
  readonly cursor: string | null;
}

export interface DueEntry {
  readonly address: StateAddress;
  /** When it was due, ms of processing time. */
  readonly dueMs: number;
  /** What `leaseDue` set it to. */
  readonly leasedUntilMs: number;
}

export interface TileStore {
  /**
   * Changes whenever the store may have lost writes it had confirmed: restart, failover, restore. (On Redis:
   * run id and replication id.)
   */
  incarnation(shard: number): Promise<string>;

  /** States, each read atomically (head, fields and watermarks of one request are of one instant). */
  read(requests: readonly ReadRequest[]): Promise<ReadState[]>;

  /**
   * Writes each state iff its token is still `expected`; each is atomic, they are independent. `true`: written.
   * If the promise rejects, each one may or may not have been written.
   */
  compareAndSet(writes: readonly CompareAndSet[]): Promise<boolean[]>;

  readWatermarks(shard: number, names: readonly WatermarkName[]): Promise<(Watermark | null)[]>;

  /** Watermarks and the shard's mark, of one instant: what later reads are compared with. */
  look(shard: number, names: readonly WatermarkName[]): Promise<ShardLook>;

  /** Moves each iff its token is `expected` and the incarnation is unchanged. `true`: moved. */
  moveWatermarks(moves: readonly MoveWatermark[]): Promise<boolean[]>;

  /**
   * Takes up to `limit` entries of the shard with dueMs ≤ nowMs, earliest first, and sets each to
   * `leaseUntilMs`, so that another compactor gets it only if this one dies. Writing the state sets it anew.
   */
  leaseDue(args: { shard: number; nowMs: number; leaseUntilMs: number; limit: number }): Promise<DueEntry[]>;

  /**
   * Moves entries that are still where `leaseDue` set them to `untilMs`: for states that whoever took them cannot
   * compact. Never removed: another process may know what they are.
   */
  postponeDue(entries: readonly DueEntry[], untilMs: number): Promise<void>;

  /** Entries with dueMs ≤ nowMs: the compaction backlog. */
  countDue(shard: number, nowMs: number): Promise<number>;

  /** The earliest time in the shard's due index, leases included, ms; null: it has no entry. */
  earliestDueMs(shard: number): Promise<number | null>;

  /** Records, in order, of one instant; null where there is none. They are part of shard 0. */
  readRecords(names: readonly string[]): Promise<(StoreRecord | null)[]>;

  /** Writes the record iff its token is `expected`. `true`: written. */
  compareAndSetRecord(write: RecordWrite): Promise<boolean>;

  /** Removes all watermarks of a namespace from the shard: nothing of it counts as applied any more. */
  dropWatermarks(shard: number, namespace: string): Promise<void>;

  /**
   * Removes some states of a namespace, each with its due entry, unless the namespace has a watermark in the shard:
   * then null, as it is in use (again), at this very instant. A state that nobody can count on may go at any moment:
   * whoever makes the watermark anew applies the log from its start.
   * @param args.cursor null to begin, then what the last call gave
   */
  dropStates(args: {
    shard: number;
    namespace: string;
    cursor: string | null;
  }): Promise<DroppedStates | null>;

  close(): Promise<void>;
}
