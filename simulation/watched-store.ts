/**
 * The simulated store with somebody looking on: every state written and every watermark moved is reported before
 * the writer, or anybody else, goes on; so is every record written, and what is removed. What a fault or a planted mistake writes past the protocol is seen too.
 */
import { MemoryTileStore, type MemoryTileStoreOptions } from '../engine/store/memory-tile-store.ts';
import type {
  CompareAndSet,
  DroppedStates,
  MoveWatermark,
  RecordWrite,
  StateAddress,
  WatermarkName,
} from '../engine/store/tile-store.ts';
import type { Namespaces, Switch } from './namespaces.ts';

export interface StoreWatcher {
  stateWritten(address: StateAddress): Promise<void>;
  watermarkMoved(shard: number, name: WatermarkName): Promise<void>;
  /** States of the namespace are gone from the shard. */
  statesDropped(shard: number, namespace: string): Promise<void>;
  switched(to: Switch): Promise<void>;
}

export class WatchedStore extends MemoryTileStore {
  readonly #watcher: () => StoreWatcher | null;
  readonly #namespaces: () => Namespaces;
  /** Writes of states and moves of watermarks so far. */
  changes = 0;

  /** @param watcher null: nobody looks at values */
  constructor(
    options: MemoryTileStoreOptions,
    watcher: () => StoreWatcher | null,
    namespaces: () => Namespaces,
  ) {
    super(options);
    this.#watcher = watcher;
    this.#namespaces = namespaces;
  }

  override async compareAndSet(writes: readonly CompareAndSet[]): Promise<boolean[]> {
    const won = await super.compareAndSet(writes);
    this.changes += won.filter(Boolean).length;
    const watcher = this.#watcher();
    for (const [i, { address }] of writes.entries()) {
      if (!won[i]) continue;
      this.#namespaces().stateWritten(address.shard, address.namespace);
      await watcher?.stateWritten(address);
    }
    return won;
  }

  override async moveWatermarks(moves: readonly MoveWatermark[]): Promise<boolean[]> {
    const moved = await super.moveWatermarks(moves);
    this.changes += moved.filter(Boolean).length;
    const watcher = this.#watcher();
    for (const [i, { shard, name }] of moves.entries()) {
      if (!moved[i]) continue;
      this.#namespaces().stateWritten(shard, name.namespace);
      await watcher?.watermarkMoved(shard, name);
    }
    return moved;
  }

  override async compareAndSetRecord(write: RecordWrite): Promise<boolean> {
    const [before] = await this.readRecords([write.name]);
    const isWritten = await super.compareAndSetRecord(write);
    if (!isWritten) return false;
    const switched = await this.#namespaces().recordWritten(write, before!);
    if (switched !== null) await this.#watcher()?.switched(switched);
    return true;
  }

  override async dropWatermarks(shard: number, namespace: string): Promise<void> {
    await super.dropWatermarks(shard, namespace);
    await this.#namespaces().watermarksDropped(namespace);
  }

  override async dropStates(args: { shard: number; namespace: string }): Promise<DroppedStates | null> {
    const step = await super.dropStates(args);
    if (step === null) return null;
    this.#namespaces().statesDropped(args.shard, args.namespace);
    await this.#watcher()?.statesDropped(args.shard, args.namespace);
    return step;
  }

  override rollback(mutations: number, at: { shard?: number } = {}): number {
    this.#namespaces().fellBack(at.shard ?? 0);
    return super.rollback(mutations, at);
  }

  override wipe(): void {
    this.#namespaces().wiped();
    super.wipe();
  }
}
