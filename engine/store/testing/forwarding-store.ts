/** A tile store that passes every call on: for tests, which override what they watch or change. */
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

  look(shard: number, names: readonly WatermarkName[]): Promise<ShardLook> {
    return this.to.look(shard, names);
  }

  moveWatermarks(moves: readonly MoveWatermark[]): Promise<boolean[]> {
    return this.to.moveWatermarks(moves);
  }

  leaseDue(args: { shard: number; nowMs: number; leaseUntilMs: number; limit: number }): Promise<DueEntry[]> {
    return this.to.leaseDue(args);
  }

  postponeDue(entries: readonly DueEntry[], untilMs: number): Promise<void> {
    return this.to.postponeDue(entries, untilMs);
  }

  countDue(shard: number, nowMs: number): Promise<number> {
    return this.to.countDue(shard, nowMs);
  }

  earliestDueMs(shard: number): Promise<number | null> {
    return this.to.earliestDueMs(shard);
  }

  readRecords(names: readonly string[]): Promise<(StoreRecord | null)[]> {
    return this.to.readRecords(names);
  }

  compareAndSetRecord(write: RecordWrite): Promise<boolean> {
    return this.to.compareAndSetRecord(write);
  }

  dropWatermarks(shard: number, namespace: string): Promise<void> {
    return this.to.dropWatermarks(shard, namespace);
  }

  dropStates(args: Parameters<TileStore['dropStates']>[0]): Promise<DroppedStates | null> {
    return this.to.dropStates(args);
  }

  close(): Promise<void> {
    return this.to.close();
  }
}
