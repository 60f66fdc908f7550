/** A tile store that passes every call on: for tests, which override what they watch or change. */
import type {
  CompareAndSet,
  DueEntry,
  MoveWatermark,
  ReadRequest,
  ReadState,
  TileStore,
  Watermark,
  WatermarkName,
} from '../tile-store.ts';

export class ForwardingStore implements TileStore {
  protected readonly to: TileStore;

  constructor(to: TileStore) {
    this.to = to;
  }

  incarnation(shard: number): Promise<string> {
    return this.to.incarnation(shard);
  }

  read(requests: readonly ReadRequest[]): Promise<ReadState[]> {
    return this.to.read(requests);
  }

  compareAndSet(writes: readonly CompareAndSet[]): Promise<boolean[]> {
    return this.to.compareAndSet(writes);
  }

  readWatermarks(shard: number, names: readonly WatermarkName[]): Promise<(Watermark | null)[]> {
    return this.to.readWatermarks(shard, names);
  }

  moveWatermarks(moves: readonly MoveWatermark[]): Promise<boolean[]> {
    return this.to.moveWatermarks(moves);
  }

  leaseDue(args: { shard: number; nowMs: number; leaseUntilMs: number; limit: number }): Promise<DueEntry[]> {
    return this.to.leaseDue(args);
  }

  dropDue(entries: readonly DueEntry[]): Promise<void> {
    return this.to.dropDue(entries);
  }

  countDue(shard: number, nowMs: number): Promise<number> {
    return this.to.countDue(shard, nowMs);
  }

  close(): Promise<void> {
    return this.to.close();
  }
}
