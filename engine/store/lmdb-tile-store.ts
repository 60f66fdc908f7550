/**
 * The tile store of embedded mode, on lmdb: one environment, several shards if asked for.
 *
 * Reads are synchronous point lookups in one snapshot, so one call is of one instant. Writes go through lmdb's
 * batched transactions: concurrent calls share a commit, the checks run on this thread inside the transaction,
 * the commit and the flush on lmdb's. A promise resolves when its writes are visible. They are flushed right
 * after, in order (`overlappingSync`): a power failure, or a kill, may lose the newest transactions, which is the suffix
 * the watermark protocol allows, and never damages older ones.
 *
 * Databases: `states` (see lmdb-keys.ts; the head's value is token 8 bytes · head), `watermarks`, `due` (ordered
 * by due time, values empty), `due-of-state` (state → due time u64), `records` (name → token 8 bytes · text), `meta`
 * (format, and the clock that the store is filled by).
 */

import { setTimeout as delay } from 'node:timers/promises';
import type { ClockKind } from '../clock.ts';
import { ByteArena } from './byte-arena.ts';
import { type DirectoryLock, lockDirectory } from './directory-lock.ts';
import {
  type BytesDatabase,
  causeOf,
  type Environment,
  hasRoomToOpen,
  isOutOfSpace,
  openDatabase,
  openEnvironment,
  shareEnvironment,
  usedBytes,
  valueView,
} from './lmdb-environment.ts';
import {
  decodeDueKey,
  decodeStateKey,
  dueKey,
  dueKeyBound,
  endOfState,
  isHeadKey,
  namespaceRange,
  readU64,
  StateKeyWriter,
  watermarkKey,
  writeU64,
} from './lmdb-keys.ts';
import { randomTokens } from './random-tokens.ts';
import {
  checkFieldName,
  checkNamespace,
  checkRecordName,
  checkRecordWrite,
  checkShard,
  checkTimeMs,
  checkToken,
} from './state-address.ts';
import { StoreClosedError, StoreFormatError, StoreFullError, StoreUnavailableError } from './store-errors.ts';
import type {
  CompareAndSet,
  DroppedStates,
  DueEntry,
  MoveWatermark,
  ReadRequest,
  ReadState,
  RecordWrite,
  ShardLook,
  StoreRecord,
  TileStore,
  Token,
  Watermark,
  WatermarkName,
} from './tile-store.ts';
import { readHex, TOKEN_BYTES, writeHex } from './token-bytes.ts';
import { decodeWatermark, encodeWatermark } from './watermark-bytes.ts';

export interface LmdbTileStoreOptions {
  /** The directory, created if missing. It belongs to one process at a time. */
  readonly path: string;
  /**
   * Size limit of the pages in use; the file also holds free pages and may be larger. A write that would grow
   * the store beyond it fails with `StoreFullError`; deleting and shrinking stay possible. @default none: the disk
   */
  readonly maxBytes?: number;
  /**
   * The clock that it is filled by; written down by whoever opens it first.
   * @default what is written down, else wall
   */
  readonly clock?: ClockKind;
  /** Makes the incarnation. @default 8 random bytes as hex */
  readonly random?: () => string;
}

const FLUSH_TIMEOUT_MS = 5_000;

const FORMAT = '2';
const FORMAT_KEY = new TextEncoder().encode('format');
const CLOCK_KEY = new TextEncoder().encode('clock');
const DEFAULT_CLOCK: ClockKind = 'wall';
const NO_BYTES = new Uint8Array(0);
/** lmdb gives a value of half a page or more pages of its own; smaller ones share pages that are at least half full. */
const PAGE_BYTES = 4096;
const ENTRY_OVERHEAD_BYTES = 128;
const MAX_READ_LIMIT = 2 ** 31 - 1;
/** Keys that one call removes, and a whole state more: they hold the thread. */
const DROPPED_KEYS_MIN = 1_000;

const textEncoder = new TextEncoder();
const textDecoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** A write with everything encoded and checked: inside the transaction nothing of ours can fail half-way. */
interface PreparedWrite {
  readonly stateKey: Uint8Array;
  readonly shard: number;
  /** null: as it is. */
  readonly dueMs: number | null;
  readonly expected: Token | null;
  /** token · head; null deletes the state. */
  readonly base: Uint8Array | null;
  readonly changes: readonly { readonly key: Uint8Array; readonly value: Uint8Array | null }[];
}

export class LmdbTileStore implements TileStore {
  readonly #environment: Environment;
  /** null: another thread of the process has it. */
  readonly #lock: DirectoryLock | null;
  readonly path: string;
  readonly #states: BytesDatabase;
  readonly #watermarks: BytesDatabase;
  readonly #due: BytesDatabase;
  readonly #dueOfState: BytesDatabase;
  readonly #records: BytesDatabase;
  readonly #random: () => string;
  readonly #incarnation: string;
  readonly #maxBytes: number;
  readonly #keys = new StateKeyWriter();
  readonly #arena = new ByteArena();
  /** Upper bound of the bytes in use; made exact again only when it reaches the limit. */
  #usedBytesMax = 0;
  #inFlightBytes = 0;
  #closing: Promise<void> | undefined;

  /**
   * Throws `DirectoryLockedError` where another process has it open, `StoreFullError` where its disk has no room for
   * what opening writes, `StoreFormatError` where another version or another clock has filled it.
   */
  static async open(options: LmdbTileStoreOptions): Promise<LmdbTileStore> {
    const { path } = options;
    const lock = await lockDirectory(path);
    let environment: Environment | undefined;
    try {
      if (!(await hasRoomToOpen(path))) throw diskFull();
      environment = await openEnvironment({ path, overlappingSync: true });
      claimStore(openDatabase(environment, 'meta'), { path, clock: options.clock ?? null });
      return new LmdbTileStore(options, environment, lock);
    } catch (error) {
      await environment?.close();
      await lock.release();
      throw (await isOutOfSpace(error, path)) ? diskFull(error) : error;
    }
  }

  /**
   * In another thread than the one that has opened it, for reads and `compareAndSet`; to be closed before that one is.
   * Without its limit of size, and without its incarnation: watermarks cannot be moved.
   */
  static share(path: string): LmdbTileStore {
    return new LmdbTileStore({ path }, shareEnvironment({ path, overlappingSync: true }), null);
  }

  private constructor(options: LmdbTileStoreOptions, environment: Environment, lock: DirectoryLock | null) {
    this.#environment = environment;
    this.#lock = lock;
    this.path = options.path;
    this.#random = options.random ?? randomTokens();
    this.#incarnation = this.#random();
    this.#maxBytes = options.maxBytes ?? Number.POSITIVE_INFINITY;
    this.#states = openDatabase(this.#environment, 'states');
    this.#watermarks = openDatabase(this.#environment, 'watermarks');
    this.#due = openDatabase(this.#environment, 'due');
    this.#dueOfState = openDatabase(this.#environment, 'due-of-state');
    this.#records = openDatabase(this.#environment, 'records');
    this.#usedBytesMax = this.#usedBytes();
  }

  async incarnation(shard: number): Promise<string> {
    checkShard(shard);
    return this.#incarnation;
  }

  async read(requests: readonly ReadRequest[]): Promise<ReadState[]> {
    this.#assertOpen();
    const transaction = this.#environment.useReadTransaction();
    try {
      const options = { transaction };
      const arena = this.#arena;
      return requests.map(({ address, fields, tiers = [], saysNoTiers, watermarks = [], marked = false }) => {
        const base = this.#states.getBinaryFast(this.#keys.state(address), options);
        // lmdb overwrites what a get returned in the next get: everything is copied at once.
        const copy = base === undefined ? null : arena.copy(valueView(base));
        const values: (Uint8Array | null)[] = [];
        let isLookedFor = copy !== null;
        for (let t = -1; t < tiers.length; t++) {
          let found = t < 0 && isLookedFor;
          for (const field of t < 0 ? fields : tiers[t]!.fields) {
            if (!isLookedFor) checkFieldName(field);
            const value = isLookedFor
              ? this.#states.getBinaryFast(this.#keys.field(field), options)
              : undefined;
            values.push(value === undefined ? null : arena.copy(valueView(value)));
            found ||= value !== undefined;
          }
          isLookedFor = found && !(t < 0 && saysNoTiers?.(values[0] ?? null));
        }
        return {
          token: copy === null ? null : readHex(copy, 0),
          head: copy === null ? null : copy.subarray(TOKEN_BYTES),
          fields: values,
          watermarks: watermarks.map((name) => {
            const value = this.#watermarks.getBinaryFast(watermarkKey(address.shard, name), options);
            return value === undefined ? null : decodeWatermark(valueView(value));
          }),
          ...(marked ? { mark: null } : {}),
        };
      });
    } finally {
      transaction.done();
    }
  }

  async compareAndSet(writes: readonly CompareAndSet[]): Promise<boolean[]> {
    const prepared = writes.map((write) => this.#prepare(write, this.#arena));
    const bytes = this.#bytesMax(prepared);
    const mayGrow = this.#hasRoom(bytes);
    const reservedBytes = mayGrow ? bytes : 0;
    this.#usedBytesMax += reservedBytes;
    this.#inFlightBytes += reservedBytes;
    try {
      return await this.#transact(() => {
        if (!mayGrow) this.#refuseGrowth(prepared);
        return prepared.map((write) => this.#apply(write));
      });
    } finally {
      this.#inFlightBytes -= reservedBytes;
    }
  }

  /** Without a mark: an environment that is open loses nothing that was read. */
  async look(shard: number, names: readonly WatermarkName[]): Promise<ShardLook> {
    return { mark: null, watermarks: await this.readWatermarks(shard, names) };
  }

  async readWatermarks(shard: number, names: readonly WatermarkName[]): Promise<(Watermark | null)[]> {
    this.#assertOpen();
    checkShard(shard);
    const transaction = this.#environment.useReadTransaction();
    try {
      return names.map((name) => {
        const value = this.#watermarks.getBinaryFast(watermarkKey(shard, name), { transaction });
        return value === undefined ? null : decodeWatermark(valueView(value));
      });
    } finally {
      transaction.done();
    }
  }

  async moveWatermarks(moves: readonly MoveWatermark[]): Promise<boolean[]> {
    const prepared = moves.map(({ shard, name, expected, incarnation, next }) => {
      checkShard(shard);
      if (expected !== null) checkToken(expected);
      checkToken(next.token);
      return { key: watermarkKey(shard, name), expected, incarnation, value: encodeWatermark(next) };
    });
    return this.#transact(() =>
      prepared.map(({ key, expected, incarnation, value }) => {
        if (incarnation !== this.#incarnation) return false;
        const present = this.#watermarks.getBinaryFast(key);
        if ((present === undefined ? null : readHex(present, 0)) !== expected) return false;
        this.#watermarks.put(key, value);
        return true;
      }),
    );
  }

  async leaseDue(args: {
    shard: number;
    nowMs: number;
    leaseUntilMs: number;
    limit: number;
  }): Promise<DueEntry[]> {
    checkTimeMs('lease end', args.leaseUntilMs);
    const range = { ...dueUpTo(args.shard, args.nowMs), limit: Math.min(args.limit, MAX_READ_LIMIT) };
    if (args.limit <= 0) return [];
    return this.#transact(() =>
      [...this.#due.getKeys(range)].map((key) => {
        const { dueMs, state } = decodeDueKey(key);
        this.#setDue(args.shard, state, args.leaseUntilMs);
        return { address: decodeStateKey(state), dueMs, leasedUntilMs: args.leaseUntilMs };
      }),
    );
  }

  async postponeDue(entries: readonly DueEntry[], untilMs: number): Promise<void> {
    checkTimeMs('due time', untilMs);
    const prepared = entries.map(({ address, leasedUntilMs }) => ({
      stateKey: this.#keys.state(address).slice(),
      shard: address.shard,
      leasedUntilMs,
    }));
    await this.#transact(() => {
      for (const { stateKey, shard, leasedUntilMs } of prepared) {
        if (this.#dueOf(stateKey) === leasedUntilMs) this.#setDue(shard, stateKey, untilMs);
      }
    });
  }

  async countDue(shard: number, nowMs: number): Promise<number> {
    this.#assertOpen();
    return this.#due.getKeysCount(dueUpTo(shard, nowMs));
  }

  async earliestDueMs(shard: number): Promise<number | null> {
    this.#assertOpen();
    const [first] = [...this.#due.getKeys({ ...dueUpTo(shard, Number.MAX_SAFE_INTEGER), limit: 1 })];
    return first === undefined ? null : decodeDueKey(first).dueMs;
  }

  async readRecords(names: readonly string[]): Promise<(StoreRecord | null)[]> {
    this.#assertOpen();
    for (const name of names) checkRecordName(name);
    const transaction = this.#environment.useReadTransaction();
    try {
      return names.map((name) => {
        const value = this.#records.getBinaryFast(textEncoder.encode(name), { transaction });
        if (value === undefined) return null;
        const bytes = valueView(value);
        return { token: readHex(bytes, 0), text: textDecoder.decode(bytes.subarray(TOKEN_BYTES)) };
      });
    } finally {
      transaction.done();
    }
  }

  async compareAndSetRecord(write: RecordWrite): Promise<boolean> {
    checkRecordWrite(write);
    const { expected, next } = write;
    const key = textEncoder.encode(write.name);
    const text = textEncoder.encode(next.text);
    const value = new Uint8Array(TOKEN_BYTES + text.length);
    writeHex(value, 0, next.token);
    value.set(text, TOKEN_BYTES);
    return this.#transact(() => {
      const present = this.#records.getBinaryFast(key);
      if ((present === undefined ? null : readHex(present, 0)) !== expected) return false;
      this.#records.put(key, value);
      return true;
    });
  }

  async dropWatermarks(shard: number, namespace: string): Promise<void> {
    checkShard(shard);
    checkNamespace(namespace);
    const range = namespaceRange(shard, namespace);
    await this.#transact(() => {
      for (const key of [...this.#watermarks.getKeys(range)]) this.#watermarks.remove(key);
    });
  }

  async dropStates(args: {
    shard: number;
    namespace: string;
    cursor: string | null;
  }): Promise<DroppedStates | null> {
    const { shard, namespace } = args;
    checkShard(shard);
    checkNamespace(namespace);
    const range = namespaceRange(shard, namespace);
    return this.#transact(() => {
      for (const _ of this.#watermarks.getKeys(range)) return null;
      const keys: Uint8Array[] = [];
      let cursor: string | null = null;
      for (const key of this.#states.getKeys(range)) {
        // Whole states only: fields without a head would become part of the state that is made next.
        if (keys.length >= DROPPED_KEYS_MIN && isHeadKey(key)) {
          // What is left begins where the range does.
          cursor = '';
          break;
        }
        keys.push(key);
      }
      let dropped = 0;
      for (const key of keys) {
        this.#states.remove(key);
        if (!isHeadKey(key)) continue;
        this.#setDue(shard, key, null);
        dropped++;
      }
      return { dropped, cursor };
    });
  }

  /** What another thread has written by now is read from here on. */
  renewSnapshot(): void {
    this.#environment.resetReadTxn();
  }

  /**
   * Resolves when everything that this thread has written, and all that was written before it, is on disk and survives a power
   * failure. What another thread has written since may be readable and not be there yet.
   * @throws StoreUnavailableError where that does not become known within 5 s, as after a transaction that failed on a full disk
   */
  async flush(): Promise<void> {
    this.#assertOpen();
    // lmdb-js never settles the promise of a transaction that failed.
    const waiting = new AbortController();
    const late = delay(FLUSH_TIMEOUT_MS, undefined, { signal: waiting.signal }).then(() => {
      throw new StoreUnavailableError(`the tile store was not flushed within ${FLUSH_TIMEOUT_MS / 1000} s`);
    });
    try {
      await Promise.race([this.#environment.flushed, late]);
    } finally {
      late.catch(() => {});
      waiting.abort();
    }
  }

  /** Finishes what is in flight, flushes and gives the directory free. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    await this.#environment.close();
    await this.#lock?.release();
  }

  #assertOpen(): void {
    if (this.#closing !== undefined) throw new StoreClosedError('the tile store is closed');
  }

  async #transact<T>(work: () => T): Promise<T> {
    this.#assertOpen();
    try {
      return await this.#environment.transaction(work);
    } catch (error) {
      const cause = await causeOf(error);
      if (!(await isOutOfSpace(cause, this.path))) throw cause;
      throw diskFull(cause);
    }
  }

  #prepare(write: CompareAndSet, arena: ByteArena): PreparedWrite {
    const { address, expected, next, changes, dueMs = null } = write;
    if (dueMs !== null) checkTimeMs('due time', dueMs);
    if (expected !== null) checkToken(expected);
    const stateKey = arena.copy(this.#keys.state(address));
    let base: Uint8Array | null = null;
    if (next !== null) {
      checkToken(next.token);
      base = arena.allocate(TOKEN_BYTES + next.head.length);
      writeHex(base, 0, next.token);
      base.set(next.head, TOKEN_BYTES);
    }
    const prepared: { key: Uint8Array; value: Uint8Array | null }[] = [];
    for (const [field, value] of changes) prepared.push({ key: arena.copy(this.#keys.field(field)), value });
    return { stateKey, shard: address.shard, expected, base, changes: prepared, dueMs };
  }

  #apply({ stateKey, shard, expected, base, changes, dueMs }: PreparedWrite): boolean {
    const present = this.#states.getBinaryFast(stateKey);
    if ((present === undefined ? null : readHex(present, 0)) !== expected) return false;
    if (base === null) {
      const keys = [...this.#states.getKeys({ start: stateKey, end: endOfState(stateKey) })];
      for (const key of keys) this.#states.remove(key);
      this.#setDue(shard, stateKey, null);
      return true;
    }
    this.#states.put(stateKey, base);
    for (const { key, value } of changes) {
      if (value === null) this.#states.remove(key);
      else this.#states.put(key, value);
    }
    if (dueMs !== null) this.#setDue(shard, stateKey, dueMs);
    return true;
  }

  #usedBytes(): number {
    return usedBytes([this.#states, this.#watermarks, this.#due, this.#dueOfState, this.#records]);
  }

  /** What the writes add at most, whatever they replace; 0 where there is no limit. */
  #bytesMax(writes: readonly PreparedWrite[]): number {
    if (this.#maxBytes === Number.POSITIVE_INFINITY) return 0;
    let bytes = 0;
    for (const { base, changes } of writes) {
      if (base !== null) bytes += pageBytesMax(base.length);
      for (const { value } of changes) if (value !== null) bytes += pageBytesMax(value.length);
    }
    return bytes;
  }

  /** Pages are counted only when the estimate is used up. */
  #hasRoom(bytes: number): boolean {
    this.#assertOpen();
    if (this.#usedBytesMax + bytes <= this.#maxBytes) return true;
    this.#usedBytesMax = this.#usedBytes() + this.#inFlightBytes;
    return this.#usedBytesMax + bytes <= this.#maxBytes;
  }

  /** Near the limit: refuses a call that adds more bytes than it replaces, before anything of it is written. */
  #refuseGrowth(writes: readonly PreparedWrite[]): void {
    let grownBytes = 0;
    for (const { stateKey, base, changes } of writes) {
      if (base === null) continue;
      grownBytes += base.length - (this.#states.getBinaryFast(stateKey)?.length ?? 0);
      for (const { key, value } of changes) {
        grownBytes += (value?.length ?? 0) - (this.#states.getBinaryFast(key)?.length ?? 0);
      }
    }
    if (grownBytes <= 0) return;
    throw new StoreFullError(
      `the tile store has reached its limit of ${this.#maxBytes} bytes: raise maxBytes, ` +
        'let compaction expire idle keys, or shorten windows and retention',
    );
  }

  #dueOf(stateKey: Uint8Array): number | null {
    const value = this.#dueOfState.getBinaryFast(stateKey);
    return value === undefined ? null : readU64(valueView(value), 0);
  }

  #setDue(shard: number, stateKey: Uint8Array, dueMs: number | null): void {
    const present = this.#dueOf(stateKey);
    if (present === dueMs) return;
    if (present !== null) this.#due.remove(dueKey(shard, present, stateKey));
    if (dueMs === null) {
      this.#dueOfState.remove(stateKey);
      return;
    }
    this.#due.put(dueKey(shard, dueMs, stateKey), NO_BYTES);
    const value = new Uint8Array(8);
    writeU64(value, 0, dueMs);
    this.#dueOfState.put(stateKey, value);
  }
}

function diskFull(cause?: unknown): StoreFullError {
  return new StoreFullError('the disk of the tile store is full: free space on it, then try again', {
    cause,
  });
}

function pageBytesMax(valueBytes: number): number {
  return valueBytes < PAGE_BYTES / 2 ? 2 * (valueBytes + ENTRY_OVERHEAD_BYTES) : valueBytes + 2 * PAGE_BYTES;
}

/**
 * Writes down in which format and by which clock the store is filled, iff nobody has yet.
 * @param clock null: as written down
 * @throws StoreFormatError where what is written down is something else
 */
function claimStore(
  meta: BytesDatabase,
  { path, clock }: { readonly path: string; readonly clock: ClockKind | null },
): void {
  const format = metaText(meta, FORMAT_KEY);
  if (format === null) {
    // The format last: a store without one is empty, whatever else a start that was killed has left.
    meta.putSync(CLOCK_KEY, textEncoder.encode(clock ?? DEFAULT_CLOCK));
    meta.putSync(FORMAT_KEY, textEncoder.encode(FORMAT));
    return;
  }
  if (format !== FORMAT) {
    throw new StoreFormatError(
      `the tile store in ${path} has format ${format}; this version reads format ${FORMAT}: ` +
        'use the version that wrote it, or another directory',
    );
  }
  const recorded = metaText(meta, CLOCK_KEY);
  if (clock !== null && recorded !== clock) {
    throw new StoreFormatError(
      `the tile store in ${path} is filled by the ${recorded} clock; start with --clock ${recorded}, ` +
        'or use another directory',
    );
  }
}

function metaText(meta: BytesDatabase, key: Uint8Array): string | null {
  const value = meta.getBinaryFast(key);
  return value === undefined ? null : textDecoder.decode(valueView(value));
}

/** Entries of the shard with due time ≤ nowMs. */
function dueUpTo(shard: number, nowMs: number): { start: Uint8Array; end: Uint8Array } {
  checkShard(shard);
  const end = Math.max(0, Math.min(Math.floor(nowMs) + 1, Number.MAX_SAFE_INTEGER));
  return { start: dueKeyBound(shard, 0), end: dueKeyBound(shard, end) };
}
