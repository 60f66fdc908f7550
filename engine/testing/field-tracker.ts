/** A tile store that remembers the fields of every state, which no store interface lists: for tests. */
import type {
  CompareAndSet,
  DueEntry,
  FieldName,
  MoveWatermark,
  ReadRequest,
  ReadState,
  StateAddress,
  TileStore,
  Watermark,
  WatermarkName,
} from '../store/tile-store.ts';

export class FieldTracker implements TileStore {
  readonly #store: TileStore;
  readonly #states = new Map<string, Map<FieldName, Uint8Array>>();

  constructor(store: TileStore) {
    this.#store = store;
  }

  /** The fields of each state of a view. */
  *statesOf(namespace: string): Iterable<ReadonlyMap<FieldName, Uint8Array>> {
    for (const [id, fields] of this.#states) if (id.startsWith(namespace)) yield fields;
  }

  /** The fields of one state; none where it does not exist. */
  fieldsOf({ namespace, key }: StateAddress): ReadonlyMap<FieldName, Uint8Array> {
    return this.#states.get(namespace + key) ?? new Map();
  }

  async compareAndSet(writes: readonly CompareAndSet[]): Promise<boolean[]> {
    const won = await this.#store.compareAndSet(writes);
    writes.forEach(({ address, next, changes }, i) => {
      if (!won[i]) return;
      const id = address.namespace + address.key;
      const fields = this.#states.get(id) ?? new Map<FieldName, Uint8Array>();
      for (const [field, bytes] of changes) {
        if (bytes === null) fields.delete(field);
        else fields.set(field, bytes);
      }
      if (next !== null) this.#states.set(id, fields);
      else if (fields.size === 0) this.#states.delete(id);
      else throw new Error(`a state was ended and left the fields ${[...fields.keys()].join(', ')}`);
    });
    return won;
  }

  incarnation(shard: number): Promise<string> {
    return this.#store.incarnation(shard);
  }

  read(requests: readonly ReadRequest[]): Promise<ReadState[]> {
    return this.#store.read(requests);
  }

  readWatermarks(shard: number, names: readonly WatermarkName[]): Promise<(Watermark | null)[]> {
    return this.#store.readWatermarks(shard, names);
  }

  moveWatermarks(moves: readonly MoveWatermark[]): Promise<boolean[]> {
    return this.#store.moveWatermarks(moves);
  }

  leaseDue(args: { shard: number; nowMs: number; leaseUntilMs: number; limit: number }): Promise<DueEntry[]> {
    return this.#store.leaseDue(args);
  }

  dropDue(entries: readonly DueEntry[]): Promise<void> {
    return this.#store.dropDue(entries);
  }

  countDue(shard: number, nowMs: number): Promise<number> {
    return this.#store.countDue(shard, nowMs);
  }

  close(): Promise<void> {
    return this.#store.close();
  }
}
