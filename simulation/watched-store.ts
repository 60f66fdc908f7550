/**
 * The simulated store with somebody looking on: every state written and every watermark moved is reported before
 * the writer, or anybody else, goes on. What a fault or a planted mistake writes past the protocol is seen too.
 */
import { MemoryTileStore, type MemoryTileStoreOptions } from '../engine/store/memory-tile-store.ts';
import type {
  CompareAndSet,
  MoveWatermark,
  StateAddress,
  WatermarkName,
} from '../engine/store/tile-store.ts';

export interface StoreWatcher {
  stateWritten(address: StateAddress): Promise<void>;
  watermarkMoved(shard: number, name: WatermarkName): Promise<void>;
}

export class WatchedStore extends MemoryTileStore {
  readonly #watcher: () => StoreWatcher | null;
  /** Writes of states and moves of watermarks so far. */
  changes = 0;

  /** @param watcher null: nobody looks */
  constructor(options: MemoryTileStoreOptions, watcher: () => StoreWatcher | null) {
    super(options);
    this.#watcher = watcher;
  }

  override async compareAndSet(writes: readonly CompareAndSet[]): Promise<boolean[]> {
    const won = await super.compareAndSet(writes);
    this.changes += won.filter(Boolean).length;
    const watcher = this.#watcher();
    if (watcher !== null) {
      for (const [i, { address }] of writes.entries()) if (won[i]) await watcher.stateWritten(address);
    }
    return won;
  }

  override async moveWatermarks(moves: readonly MoveWatermark[]): Promise<boolean[]> {
    const moved = await super.moveWatermarks(moves);
    this.changes += moved.filter(Boolean).length;
    const watcher = this.#watcher();
    if (watcher !== null) {
      for (const [i, { shard, name }] of moves.entries()) {
        if (moved[i]) await watcher.watermarkMoved(shard, name);
      }
    }
    return moved;
  }
}
