/**
 * The tile store in memory: an honest second implementation for tests and for the simulator, which makes it
 * fail the way a real store does. Deterministic: incarnations come from the given `random`.
 *
 * Each shard keeps a history of its mutations. One mutation is what a remote store does in one atomic step: one
 * applied compare-and-set, one moved watermark, one due entry leased or put off, one written record.
 */
import { createHash } from 'node:crypto';
import { ByteWriter } from '../bytes.ts';
import { fieldsOf } from './read-fields.ts';
import type { ShardMark } from './shard-mark.ts';
import {
  checkAddress,
  checkFieldName,
  checkNamespace,
  checkRecordName,
  checkRecordWrite,
  checkShard,
  checkTimeMs,
  checkToken,
  checkWatermarkName,
} from './state-address.ts';
import { StoreClosedError } from './store-errors.ts';
import type {
  CompareAndSet,
  DroppedStates,
  DueEntry,
  FieldName,
  MoveWatermark,
  ReadRequest,
  ReadState,
  RecordWrite,
  ShardLook,
  StateAddress,
  StoreRecord,
  TileStore,
  Token,
  Watermark,
  WatermarkName,
} from './tile-store.ts';
import { encodeWatermark } from './watermark-bytes.ts';

export interface MemoryTileStoreOptions {
  /** Makes incarnations; no two answers may be equal. */
  readonly random: () => string;
  /** At least this many mutations per shard can be rolled back, at most twice as many. @default 10000 */
  readonly historyLimit?: number;
}

interface State {
  readonly token: Token;
  readonly head: Uint8Array;
  readonly fields: ReadonlyMap<FieldName, Uint8Array>;
}

interface Due {
  readonly address: StateAddress;
  readonly dueMs: number;
}

/** Values are never changed once stored, so that the history need only keep references. */
interface Shard {
  incarnation: string;
  readonly states: Map<string, State>;
  readonly watermarks: Map<string, Watermark>;
  readonly due: Map<string, Due>;
  readonly records: Map<string, StoreRecord>;
  mark: ShardMark | null;
  /** What the history of the mark is of. */
  markIncarnation: string;
  /** Oldest first; running one takes its mutation back, in reverse order only. */
  history: (() => void)[];
}

export class MemoryTileStore implements TileStore {
  readonly #random: () => string;
  readonly #historyLimit: number;
  readonly #shards = new Map<number, Shard>();
  #closed = false;

  constructor(options: MemoryTileStoreOptions) {
    this.#random = options.random;
    this.#historyLimit = options.historyLimit ?? 10_000;
  }

  /** Mutations of the shard that can be rolled back. */
  historyLength(shard: number): number {
    return this.#shard(shard).history.length;
  }

  /**
   * Takes back the newest mutations of one shard, as a restart that lost the end of its log does; the incarnation
   * changes. Returns how many were taken back: fewer than asked where the history does not reach that far.
   */
  rollback(mutations: number, { shard = 0 }: { shard?: number } = {}): number {
    const target = this.#shard(shard);
    const count = Math.min(mutations, target.history.length);
    for (let i = 0; i < count; i++) target.history.pop()!();
    target.incarnation = this.#random();
    return count;
  }

  /** Everything gone, also the history, and the incarnation unchanged: what FLUSHALL does to Redis. */
  wipe(): void {
    for (const shard of this.#shards.values()) {
      shard.states.clear();
      shard.watermarks.clear();
      shard.due.clear();
      shard.records.clear();
      shard.mark = null;
      shard.history = [];
    }
  }

  /** Hash of the whole content, tokens included; independent of the order of writes. 16 hex digits. */
  stateHash(): string {
    const writer = new ByteWriter(4096);
    const shards = [...this.#shards].filter(
      ([, shard]) => shard.states.size + shard.watermarks.size + shard.due.size + shard.records.size,
    );
    for (const [number, shard] of shards.sort(([a], [b]) => a - b)) {
      writer.varint(number);
      writer.varint(shard.states.size);
      for (const [key, state] of sorted(shard.states)) {
        writer.text(key);
        writer.text(state.token);
        writer.blob(state.head);
        writer.varint(state.fields.size);
        for (const [field, bytes] of sorted(state.fields)) {
          writer.text(field);
          writer.blob(bytes);
        }
      }
      writer.varint(shard.watermarks.size);
      for (const [key, watermark] of sorted(shard.watermarks)) {
        writer.text(key);
        writer.blob(encodeWatermark(watermark));
      }
      writer.varint(shard.due.size);
      for (const [key, entry] of sorted(shard.due)) {
        writer.text(key);
        writer.varint(entry.dueMs);
      }
      writer.varint(shard.records.size);
      for (const [name, record] of sorted(shard.records)) {
        writer.text(name);
        writer.text(record.token);
        writer.text(record.text);
      }
    }
    return createHash('sha256').update(writer.finish()).digest('hex').slice(0, 16);
  }

  async incarnation(shard: number): Promise<string> {
    return this.#shard(shard).incarnation;
  }

  async read(requests: readonly ReadRequest[]): Promise<ReadState[]> {
    return requests.map((request) => {
      const { address, watermarks = [], marked = false } = request;
      checkAddress(address);
      for (const field of fieldsOf(request)) checkFieldName(field);
      for (const name of watermarks) checkWatermarkName(name);
      const shard = this.#shard(address.shard);
      const state = shard.states.get(stateId(address));
      return {
        token: state?.token ?? null,
        head: state?.head ?? null,
        fields: inTiers(request, state?.fields),
        watermarks: watermarks.map((name) => shard.watermarks.get(watermarkId(name)) ?? null),
        ...(marked ? { mark: shard.mark } : {}),
      };
    });
  }

  async compareAndSet(writes: readonly CompareAndSet[]): Promise<boolean[]> {
    for (const { address, expected, next, changes, dueMs } of writes) {
      checkAddress(address);
      if (dueMs !== undefined) checkTimeMs('due time', dueMs);
      if (expected !== null) checkToken(expected);
      if (next !== null) checkToken(next.token);
      for (const field of changes.keys()) checkFieldName(field);
    }
    return writes.map(({ address, expected, next, changes, dueMs }) => {
      const shard = this.#shard(address.shard);
      const id = stateId(address);
      const present = shard.states.get(id);
      if ((present?.token ?? null) !== expected) return false;
      if (next === null) {
        if (present !== undefined) this.#change(shard, id, undefined, undefined);
        return true;
      }
      // `new Uint8Array` copies; `slice` of a Buffer would not.
      const fields = new Map(present?.fields);
      for (const [field, bytes] of changes) {
        if (bytes === null) fields.delete(field);
        else fields.set(field, new Uint8Array(bytes));
      }
      const due = dueMs === undefined ? shard.due.get(id) : { address: { ...address }, dueMs };
      this.#change(shard, id, { token: next.token, head: new Uint8Array(next.head), fields }, due);
      return true;
    });
  }

  async readWatermarks(shard: number, names: readonly WatermarkName[]): Promise<(Watermark | null)[]> {
    for (const name of names) checkWatermarkName(name);
    const { watermarks } = this.#shard(shard);
    return names.map((name) => watermarks.get(watermarkId(name)) ?? null);
  }

  async look(shard: number, names: readonly WatermarkName[]): Promise<ShardLook> {
    return { mark: this.#shard(shard).mark, watermarks: await this.readWatermarks(shard, names) };
  }

  async moveWatermarks(moves: readonly MoveWatermark[]): Promise<boolean[]> {
    for (const { shard, name, expected, next } of moves) {
      checkShard(shard);
      checkWatermarkName(name);
      if (expected !== null) checkToken(expected);
      checkToken(next.token);
    }
    return moves.map(({ shard: number, name, expected, incarnation, next }) => {
      const shard = this.#shard(number);
      const id = watermarkId(name);
      if (incarnation !== shard.incarnation) return false;
      if ((shard.watermarks.get(id)?.token ?? null) !== expected) return false;
      const before = shard.watermarks.get(id);
      const { mark, markIncarnation } = shard;
      set(shard.watermarks, id, { ...next });
      const goesOn = mark !== null && markIncarnation === incarnation;
      shard.mark = goesOn
        ? { history: mark.history, moves: mark.moves + 1 }
        : { history: next.token, moves: 1 };
      shard.markIncarnation = incarnation;
      this.#remember(shard, () => {
        set(shard.watermarks, id, before);
        shard.mark = mark;
        shard.markIncarnation = markIncarnation;
      });
      return true;
    });
  }

  async leaseDue(args: {
    shard: number;
    nowMs: number;
    leaseUntilMs: number;
    limit: number;
  }): Promise<DueEntry[]> {
    checkTimeMs('lease end', args.leaseUntilMs);
    const shard = this.#shard(args.shard);
    const ready = [...shard.due].filter(([, entry]) => entry.dueMs <= args.nowMs);
    ready.sort(([idA, a], [idB, b]) => a.dueMs - b.dueMs || compareText(idA, idB));
    return ready.slice(0, args.limit).map(([id, { address, dueMs }]) => {
      this.#setDue(shard, id, { address, dueMs: args.leaseUntilMs });
      return { address, dueMs, leasedUntilMs: args.leaseUntilMs };
    });
  }

  async postponeDue(entries: readonly DueEntry[], untilMs: number): Promise<void> {
    checkTimeMs('due time', untilMs);
    for (const { address } of entries) checkAddress(address);
    for (const { address, leasedUntilMs } of entries) {
      const shard = this.#shard(address.shard);
      const id = stateId(address);
      if (shard.due.get(id)?.dueMs === leasedUntilMs) this.#setDue(shard, id, { address, dueMs: untilMs });
    }
  }

  async countDue(shard: number, nowMs: number): Promise<number> {
    let count = 0;
    for (const entry of this.#shard(shard).due.values()) if (entry.dueMs <= nowMs) count++;
    return count;
  }

  async earliestDueMs(shard: number): Promise<number | null> {
    let earliest: number | null = null;
    for (const { dueMs } of this.#shard(shard).due.values()) earliest = Math.min(earliest ?? dueMs, dueMs);
    return earliest;
  }

  async readRecords(names: readonly string[]): Promise<(StoreRecord | null)[]> {
    for (const name of names) checkRecordName(name);
    const { records } = this.#shard(0);
    return names.map((name) => records.get(name) ?? null);
  }

  async compareAndSetRecord(write: RecordWrite): Promise<boolean> {
    checkRecordWrite(write);
    const { name, expected, next } = write;
    const shard = this.#shard(0);
    const before = shard.records.get(name);
    if ((before?.token ?? null) !== expected) return false;
    shard.records.set(name, { ...next });
    this.#remember(shard, () => set(shard.records, name, before));
    return true;
  }

  async dropWatermarks(number: number, namespace: string): Promise<void> {
    checkNamespace(namespace);
    const shard = this.#shard(number);
    const dropped = [...shard.watermarks].filter(([id]) => id.startsWith(namespace));
    for (const [id] of dropped) shard.watermarks.delete(id);
    this.#remember(shard, () => {
      for (const [id, watermark] of dropped) shard.watermarks.set(id, watermark);
    });
  }

  /** All at once. */
  async dropStates(args: { shard: number; namespace: string }): Promise<DroppedStates | null> {
    const { namespace } = args;
    checkNamespace(namespace);
    const shard = this.#shard(args.shard);
    for (const id of shard.watermarks.keys()) if (id.startsWith(namespace)) return null;
    const ids = [...shard.states.keys()].filter((id) => id.startsWith(namespace));
    for (const id of ids) this.#change(shard, id, undefined, undefined);
    return { dropped: ids.length, cursor: null };
  }

  async close(): Promise<void> {
    this.#closed = true;
  }

  #shard(number: number): Shard {
    if (this.#closed) throw new StoreClosedError('the tile store is closed');
    checkShard(number);
    let shard = this.#shards.get(number);
    if (shard === undefined) {
      shard = {
        incarnation: this.#random(),
        states: new Map(),
        watermarks: new Map(),
        due: new Map(),
        records: new Map(),
        mark: null,
        markIncarnation: '',
        history: [],
      };
      this.#shards.set(number, shard);
    }
    return shard;
  }

  #setDue(shard: Shard, id: string, next: Due | undefined): void {
    const before = shard.due.get(id);
    set(shard.due, id, next);
    this.#remember(shard, () => set(shard.due, id, before));
  }

  /** State and due entry in one mutation. */
  #change(shard: Shard, id: string, state: State | undefined, due: Due | undefined): void {
    const stateBefore = shard.states.get(id);
    const dueBefore = shard.due.get(id);
    set(shard.states, id, state);
    set(shard.due, id, due);
    this.#remember(shard, () => {
      set(shard.states, id, stateBefore);
      set(shard.due, id, dueBefore);
    });
  }

  /** One mutation, and how to take it back. */
  #remember(shard: Shard, undo: () => void): void {
    shard.history.push(undo);
    // Dropping half at once keeps the cost per mutation constant.
    if (shard.history.length > 2 * this.#historyLimit) {
      shard.history.splice(0, shard.history.length - this.#historyLimit);
    }
  }
}

function set<V>(map: Map<string, V>, id: string, value: V | undefined): void {
  if (value === undefined) map.delete(id);
  else map.set(id, value);
}

/** Namespaces have a fixed length, so gluing is injective. */
function stateId(address: StateAddress): string {
  return address.namespace + address.key;
}

function watermarkId(name: WatermarkName): string {
  return `${name.namespace}${name.partition}:${name.source}`;
}

/** By UTF-16 unit: does not depend on a locale. */
function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function sorted<V>(map: ReadonlyMap<string, V>): [string, V][] {
  return [...map].sort(([a], [b]) => compareText(a, b));
}

/** No further than the first tier of which nothing is there, so that tests over this store find whatever is left out. */
function inTiers(
  { fields, tiers = [], saysNoTiers }: ReadRequest,
  stored: ReadonlyMap<FieldName, Uint8Array> | undefined,
): (Uint8Array | null)[] {
  let isLookedFor = stored !== undefined;
  return [fields, ...tiers.map((tier) => tier.fields)].flatMap((names, t) => {
    const values = names.map((name) => (isLookedFor ? (stored!.get(name) ?? null) : null));
    isLookedFor &&= t === 0 ? !saysNoTiers?.(values[0] ?? null) : values.some((value) => value !== null);
    return values;
  });
}
