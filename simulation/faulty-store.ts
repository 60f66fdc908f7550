/**
 * The tile store as one simulated process sees it: every state, watermark and due entry is a step of its own,
 * replies get lost, and writes land after their caller has given up.
 * Some of the `MUTATIONS` are planted here.
 */
import type { MemoryTileStore } from '../engine/store/memory-tile-store.ts';
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
  Watermark,
  WatermarkName,
} from '../engine/store/tile-store.ts';
import { UnappliedOffsets } from '../engine/store/unapplied-offsets.ts';
import type { SeededRandom } from '../engine/testing/random.ts';
import { ROOT_FIELD } from '../engine/tiles/grid.ts';
import type { FaultCounts } from './faults.ts';
import type { Mutation } from './mutations.ts';
import { PARTITIONS_MAX } from './run-state.ts';
import type { Actor, Scheduler } from './scheduler.ts';

/** A call failed and nobody knows whether it took effect. */
export class LostReplyError extends Error {
  override readonly name = 'LostReplyError';
}

/** How far apart the mutation `stale_watermark` reads a watermark and the state it is used for. */
const STALE_STEPS = 8;

export class FaultyStore implements TileStore {
  readonly #store: MemoryTileStore;
  readonly #scheduler: Scheduler;
  readonly #actor: Actor;
  readonly #random: SeededRandom;
  readonly #mutation: Mutation | null;
  readonly #faults: FaultCounts;
  /** Probability that a write's reply is lost. */
  readonly #lossRate: () => number;

  constructor(args: {
    store: MemoryTileStore;
    scheduler: Scheduler;
    actor: Actor;
    random: SeededRandom;
    mutation: Mutation | null;
    faults: FaultCounts;
    lossRate: () => number;
  }) {
    this.#store = args.store;
    this.#scheduler = args.scheduler;
    this.#actor = args.actor;
    this.#random = args.random;
    this.#mutation = args.mutation;
    this.#faults = args.faults;
    this.#lossRate = args.lossRate;
  }

  #gate(): Promise<void> {
    return this.#scheduler.gate(this.#actor);
  }

  /** Runs a write as one step; its reply may be lost, before it was made (and it may still come) or after. */
  async #write<T>(write: () => Promise<T>): Promise<T> {
    await this.#gate();
    if (!this.#random.chance(this.#lossRate())) return write();
    const fate = this.#random.below(3);
    if (fate === 0) {
      this.#faults.add('reply lost after the write');
      await write();
    } else if (fate === 1) {
      this.#faults.add('write landed later');
      this.#scheduler.spawn('ghost', async () => {
        await write();
      });
    } else {
      this.#faults.add('write never arrived');
    }
    throw new LostReplyError('simulated');
  }

  async incarnation(shard: number): Promise<string> {
    await this.#gate();
    return this.#store.incarnation(shard);
  }

  async read(requests: readonly ReadRequest[]): Promise<ReadState[]> {
    const states: ReadState[] = [];
    for (const request of requests) {
      await this.#gate();
      if (this.#mutation === 'stale_watermark' && request.watermarks !== undefined) {
        const early = await this.#store.readWatermarks(request.address.shard, request.watermarks);
        // Some steps apart: a store that falls back just between the two is rare otherwise.
        for (let steps = 0; steps < STALE_STEPS; steps++) await this.#gate();
        const [state] = await this.#store.read([request]);
        states.push({ ...state!, watermarks: early });
      } else {
        states.push((await this.#store.read([request]))[0]!);
      }
    }
    return states;
  }

  async compareAndSet(writes: readonly CompareAndSet[]): Promise<boolean[]> {
    const results: boolean[] = [];
    if (this.#mutation === 'states_not_awaited') {
      for (const write of writes) {
        this.#scheduler.spawn('write behind', async () => {
          await this.#one(write);
        });
      }
      return writes.map(() => true);
    }
    for (const write of writes) {
      const torn = this.#mutation === 'torn_fold' && write.next !== null && write.changes.has(ROOT_FIELD);
      results.push(torn ? await this.#tornWrite(write) : await this.#write(() => this.#one(write)));
    }
    return results;
  }

  async #one(write: CompareAndSet): Promise<boolean> {
    if (this.#mutation === 'no_cas') {
      const [present] = await this.#store.read([{ address: write.address, fields: [] }]);
      return (await this.#store.compareAndSet([{ ...write, expected: present!.token }]))[0]!;
    }
    const forgetful =
      this.#mutation === 'ids_forgotten' && write.changes.has(ROOT_FIELD) && write.next !== null;
    const changes = forgetful ? new Map([...write.changes, ['I', null] as const]) : write.changes;
    return (await this.#store.compareAndSet([{ ...write, changes }]))[0]!;
  }

  async #tornWrite(write: CompareAndSet): Promise<boolean> {
    await this.#gate();
    const [before] = await this.#store.read([{ address: write.address, fields: [] }]);
    if (before!.head === null) return this.#one(write);
    const between = { token: this.#random.hex64(), head: before!.head };
    const [won] = await this.#store.compareAndSet([{ ...write, next: between }]);
    if (!won) return false;
    await this.#gate();
    return this.#one({ ...write, expected: between.token, changes: new Map() });
  }

  async readWatermarks(shard: number, names: readonly WatermarkName[]): Promise<(Watermark | null)[]> {
    await this.#gate();
    const watermarks = await this.#store.readWatermarks(shard, names);
    for (const watermark of watermarks) {
      if (watermark !== null) this.#offsets.set(watermark.token, watermark.nextOffset);
    }
    return watermarks;
  }

  async look(shard: number, names: readonly WatermarkName[]): Promise<ShardLook> {
    await this.#gate();
    return this.#store.look(shard, names);
  }

  async moveWatermarks(moves: readonly MoveWatermark[]): Promise<boolean[]> {
    const results: boolean[] = [];
    for (const move of moves) results.push(await this.#write(() => this.#move(move)));
    return results;
  }

  async #move(asked: MoveWatermark): Promise<boolean> {
    const move = { ...asked, next: this.#said(asked.next) };
    if (this.#mutation === 'watermark_from_absent') {
      const [present] = await this.#store.readWatermarks(move.shard, [move.name]);
      if (present === null) return (await this.#store.moveWatermarks([{ ...move, expected: null }]))[0]!;
    }
    if (this.#mutation === 'no_incarnation_check') {
      const incarnation = await this.#store.incarnation(move.shard);
      return (await this.#store.moveWatermarks([{ ...move, incarnation }]))[0]!;
    }
    if (this.#mutation === 'watermark_by_offset') {
      const [present] = await this.#store.readWatermarks(move.shard, [move.name]);
      const offset = present?.nextOffset ?? 0;
      const expected = offset === this.#offsetBefore(move) ? (present?.token ?? null) : move.expected;
      return (await this.#store.moveWatermarks([{ ...move, expected }]))[0]!;
    }
    return (await this.#store.moveWatermarks([move]))[0]!;
  }

  /** What the watermark says of what it passed. */
  #said(next: Watermark): Watermark {
    if (this.#mutation === 'gap_forgotten') return { ...next, gaps: [] };
    if (this.#mutation === 'unapplied_forgotten') return { ...next, unapplied: UnappliedOffsets.NONE };
    return next;
  }

  /** The offset a watermark had when its token was given out. */
  readonly #offsets = new Map<string, number>();

  #offsetBefore(move: MoveWatermark): number {
    this.#offsets.set(move.next.token, move.next.nextOffset);
    return move.expected === null ? 0 : (this.#offsets.get(move.expected) ?? -1);
  }

  async leaseDue(args: {
    shard: number;
    nowMs: number;
    leaseUntilMs: number;
    limit: number;
  }): Promise<DueEntry[]> {
    return this.#write(() => this.#store.leaseDue(args));
  }

  async postponeDue(entries: readonly DueEntry[], untilMs: number): Promise<void> {
    for (const entry of entries) await this.#write(() => this.#store.postponeDue([entry], untilMs));
  }

  async countDue(shard: number, nowMs: number): Promise<number> {
    await this.#gate();
    return this.#store.countDue(shard, nowMs);
  }

  async earliestDueMs(shard: number): Promise<number | null> {
    await this.#gate();
    return this.#store.earliestDueMs(shard);
  }

  async readRecords(names: readonly string[]): Promise<(StoreRecord | null)[]> {
    await this.#gate();
    return this.#store.readRecords(names);
  }

  async compareAndSetRecord(write: RecordWrite): Promise<boolean> {
    return this.#write(async () => {
      if (this.#mutation !== 'record_no_cas') return this.#store.compareAndSetRecord(write);
      const [present] = await this.#store.readRecords([write.name]);
      return this.#store.compareAndSetRecord({ ...write, expected: present?.token ?? null });
    });
  }

  async dropWatermarks(shard: number, namespace: string): Promise<void> {
    return this.#write(async () => {
      if (this.#mutation === 'states_before_watermarks') await this.#dropBelow(shard, namespace);
      await this.#store.dropWatermarks(shard, namespace);
    });
  }

  /** States only; the watermarks some steps later. */
  async #dropBelow(shard: number, namespace: string): Promise<void> {
    const names = Array.from({ length: PARTITIONS_MAX }, (_, partition) => {
      return { namespace, source: 'swipes', partition };
    });
    const marks = await this.#store.readWatermarks(shard, names);
    await this.#store.dropWatermarks(shard, namespace);
    await this.#store.dropStates({ shard, namespace });
    const incarnation = await this.#store.incarnation(shard);
    for (const [i, next] of marks.entries()) {
      if (next === null) continue;
      await this.#store.moveWatermarks([{ shard, name: names[i]!, expected: null, incarnation, next }]);
    }
    for (let steps = 0; steps < STALE_STEPS; steps++) await this.#gate();
  }

  async dropStates(args: Parameters<TileStore['dropStates']>[0]): Promise<DroppedStates | null> {
    return this.#write(() => this.#store.dropStates(args));
  }

  async close(): Promise<void> {}
}
