/**
 * The tile store: the only state Millrace keeps besides the log.
 *
 * It speaks of states, watermarks and due entries; it knows nothing of rows, aggregates or windows. Every
 * method is one round trip per store node; arrays are there so that a remote store can pipeline.
 *
 * What it leaves out on purpose: merging (done by the caller, guarded by compare-and-set), scans (compaction
 * works from the due index), time (arguments), and durability acknowledgements (a store may lose its newest
 * writes as long as it loses a *suffix per shard*: states, watermarks and due entries of one shard roll back
 * together to one earlier moment; the watermark protocol repairs the rest, see ARCHITECTURE.md).
 */

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

export interface ReadRequest {
  readonly address: StateAddress;
  readonly fields: readonly FieldName[];
  /** Also return these watermarks of the address's shard, read at the same instant as the state. */
  readonly watermarks?: readonly WatermarkName[];
}

export interface ReadState {
  /** null: the state does not exist. */
  readonly token: Token | null;
  /** The head, replaced by every write; null iff `token` is null. */
  readonly head: Uint8Array | null;
  /** As asked, in order; null where absent. The bytes are valid until the caller yields to the event loop. */
  readonly fields: readonly (Uint8Array | null)[];
  /** As asked in `watermarks`, in order; empty where not asked. */
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
  /** Every record with offset < `nextOffset` has been applied to this shard. */
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

  /** Moves each iff its token is `expected` and the incarnation is unchanged. `true`: moved. */
  moveWatermarks(moves: readonly MoveWatermark[]): Promise<boolean[]>;

  /**
   * Takes up to `limit` entries of the shard with dueMs ≤ nowMs, earliest first, and sets each to
   * `leaseUntilMs`, so that another compactor gets it only if this one dies. Writing the state sets it anew.
   */
  leaseDue(args: { shard: number; nowMs: number; leaseUntilMs: number; limit: number }): Promise<DueEntry[]>;

  /**
   * Removes entries that are still where `leaseDue` set them: for states of views that are no longer defined,
   * which nobody will write again.
   */
  dropDue(entries: readonly DueEntry[]): Promise<void>;

  /** Entries with dueMs ≤ nowMs: the compaction backlog. */
  countDue(shard: number, nowMs: number): Promise<number>;

  close(): Promise<void>;
}
