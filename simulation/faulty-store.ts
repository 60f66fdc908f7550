/**
 * The tile store as one simulated process sees it: every state, watermark and due entry is a step of its own,
 * replies get lost, and writes land after their caller has given up.
 *
 * A `Mutation` replaces one part of the protocol by the mistake it is there to prevent; the simulation must
 * then fail. They are listed in `MUTATIONS`.
 */
import type { MemoryTileStore } from '../engine/store/memory-tile-store.ts';
import type {
  CompareAndSet,
  DueEntry,
  MoveWatermark,
  ReadRequest,
  ReadState,
  TileStore,
  Watermark,
  WatermarkName,
} from '../engine/store/tile-store.ts';
import type { SeededRandom } from '../engine/testing/random.ts';
import { ROOT_FIELD } from '../engine/tiles/grid.ts';
import { tailOffset, tailPartition } from '../engine/tiles/head.ts';
import { PROTOCOL, type ProtocolRules } from '../engine/tiles/state-protocol.ts';
import type { Actor, Scheduler } from './scheduler.ts';

export const MUTATIONS = {
  highest_offset: 'a record counts as applied when a higher offset of its partition was; folds take any row',
  counter_token: 'the token is a counter instead of random bits',
  no_dedupe: 'events with an id that was seen are applied again',
  torn_fold: 'a fold writes the tree in one step and the head in another',
  no_incarnation_check: 'a watermark moves although the store fell back since it was read',
  stale_watermark: 'a fold uses a watermark that was not read at the same instant as the state',
  watermark_by_offset: 'a watermark moves when its offset is the one read, whatever its token',
  watermark_from_absent:
    'a watermark moves past records although it is absent: after a wipe, or before its first write',
  no_floor: 'a record is skipped only while its row is in the tail',
  early_forgotten:
    'a row that leaves the tail above the watermark leaves nothing behind that says it was applied',
  ids_forgotten: 'ids are forgotten when rows are folded',
  letters_not_awaited: 'the watermark moves before dead letters are written',
} as const;

export type Mutation = keyof typeof MUTATIONS;

/** A call failed and nobody knows whether it took effect. */
export class LostReplyError extends Error {
  override readonly name = 'LostReplyError';
}

/** How far apart the mutation `stale_watermark` reads a watermark and the state it is used for. */
const STALE_STEPS = 8;

export function mutatedRules(mutation: Mutation | null): ProtocolRules {
  if (mutation === 'no_dedupe') return { ...PROTOCOL, dedupe: false };
  if (mutation === 'no_floor') {
    const isApplied: ProtocolRules['isApplied'] = (head, partition, offset) =>
      PROTOCOL.isApplied({ ...head, floors: new Map() }, partition, offset);
    return { ...PROTOCOL, isApplied };
  }
  if (mutation === 'early_forgotten') return { ...PROTOCOL, remembersEarly: false };
  if (mutation !== 'highest_offset') return PROTOCOL;
  return {
    ...PROTOCOL,
    isApplied(head, partition, offset) {
      let highest = (head.floors.get(partition) ?? 0) - 1;
      for (let i = 0; i < head.tail.length; i++) {
        if (tailPartition(head.tail, i) === partition) highest = Math.max(highest, tailOffset(head.tail, i));
      }
      return offset <= highest;
    },
    foldBelow(_watermark, tail, partition) {
      let highest = -1;
      for (let i = 0; i < tail.length; i++) {
        if (tailPartition(tail, i) === partition) highest = Math.max(highest, tailOffset(tail, i));
      }
      return highest + 1;
    },
  };
}

export class FaultyStore implements TileStore {
  readonly #store: MemoryTileStore;
  readonly #scheduler: Scheduler;
  readonly #actor: Actor;
  readonly #random: SeededRandom;
  readonly #mutation: Mutation | null;
  readonly #faults: Map<string, number>;
  /** Probability that a write's reply is lost. */
  readonly #lossRate: () => number;

  constructor(args: {
    store: MemoryTileStore;
    scheduler: Scheduler;
    actor: Actor;
    random: SeededRandom;
    mutation: Mutation | null;
    faults: Map<string, number>;
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
      this.#count('reply lost after the write');
      await write();
    } else if (fate === 1) {
      this.#count('write landed later');
      this.#scheduler.spawn('ghost', async () => {
        await write();
      });
    } else {
      this.#count('write never arrived');
    }
    throw new LostReplyError('simulated');
  }

  #count(fault: string): void {
    this.#faults.set(fault, (this.#faults.get(fault) ?? 0) + 1);
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
    for (const write of writes) {
      const torn = this.#mutation === 'torn_fold' && write.next !== null && write.changes.has(ROOT_FIELD);
      results.push(torn ? await this.#tornWrite(write) : await this.#write(() => this.#one(write)));
    }
    return results;
  }

  async #one(write: CompareAndSet): Promise<boolean> {
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

  async moveWatermarks(moves: readonly MoveWatermark[]): Promise<boolean[]> {
    const results: boolean[] = [];
    for (const move of moves) results.push(await this.#write(() => this.#move(move)));
    return results;
  }

  async #move(move: MoveWatermark): Promise<boolean> {
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

  async dropDue(entries: readonly DueEntry[]): Promise<void> {
    for (const entry of entries) await this.#write(() => this.#store.dropDue([entry]));
  }

  async countDue(shard: number, nowMs: number): Promise<number> {
    await this.#gate();
    return this.#store.countDue(shard, nowMs);
  }

  async close(): Promise<void> {}
}
