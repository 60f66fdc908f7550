/**
 * The least a tile store can be: maps in this process, changed in place. For measuring what is above a store;
 * `MemoryTileStore` copies all fields of a state with every write, so as to be able to roll back.
 */
import { fieldsOf } from '../../engine/store/read-fields.ts';
import type {
  CompareAndSet,
  DueEntry,
  FieldName,
  MoveWatermark,
  ReadRequest,
  ReadState,
  ShardLook,
  StateAddress,
  TileStore,
  Token,
  Watermark,
  WatermarkName,
} from '../../engine/store/tile-store.ts';

interface State {
  readonly address: StateAddress;
  readonly fields: Map<FieldName, Uint8Array>;
  token: Token;
  head: Uint8Array;
  dueMs: number | null;
}

const idOf = ({ namespace, key }: StateAddress): string => namespace + key;
const nameOf = ({ namespace, source, partition }: WatermarkName): string =>
  `${namespace} ${partition} ${source}`;

export class DirectStore implements TileStore {
  readonly #states = new Map<string, State>();
  readonly #watermarks = new Map<string, Watermark>();

  async incarnation(): Promise<string> {
    return 'one';
  }

  async read(requests: readonly ReadRequest[]): Promise<ReadState[]> {
    return requests.map((request) => {
      const { address, watermarks = [] } = request;
      const state = this.#states.get(idOf(address));
      return {
        token: state?.token ?? null,
        head: state?.head ?? null,
        fields: fieldsOf(request).map((field) => state?.fields.get(field) ?? null),
        watermarks: watermarks.map((name) => this.#watermarks.get(nameOf(name)) ?? null),
      };
    });
  }

  async compareAndSet(writes: readonly CompareAndSet[]): Promise<boolean[]> {
    return writes.map(({ address, expected, next, changes, dueMs }) => {
      const id = idOf(address);
      let state = this.#states.get(id);
      if ((state?.token ?? null) !== expected) return false;
      if (next === null) {
        this.#states.delete(id);
        return true;
      }
      if (state === undefined) {
        state = { address, fields: new Map(), ...next, dueMs: null };
        this.#states.set(id, state);
      }
      state.token = next.token;
      state.head = next.head;
      if (dueMs !== undefined) state.dueMs = dueMs;
      for (const [field, bytes] of changes) {
        if (bytes === null) state.fields.delete(field);
        else state.fields.set(field, bytes);
      }
      return true;
    });
  }

  async readWatermarks(_shard: number, names: readonly WatermarkName[]): Promise<(Watermark | null)[]> {
    return names.map((name) => this.#watermarks.get(nameOf(name)) ?? null);
  }

  async look(shard: number, names: readonly WatermarkName[]): Promise<ShardLook> {
    return { mark: null, watermarks: await this.readWatermarks(shard, names) };
  }

  async moveWatermarks(moves: readonly MoveWatermark[]): Promise<boolean[]> {
    return moves.map(({ name, expected, next }) => {
      if ((this.#watermarks.get(nameOf(name))?.token ?? null) !== expected) return false;
      this.#watermarks.set(nameOf(name), next);
      return true;
    });
  }

  async leaseDue(args: { nowMs: number; leaseUntilMs: number; limit: number }): Promise<DueEntry[]> {
    const { nowMs, leaseUntilMs, limit } = args;
    const due = [...this.#states.values()].filter(({ dueMs }) => dueMs !== null && dueMs <= nowMs);
    return due.slice(0, limit).map((state) => {
      const dueMs = state.dueMs!;
      state.dueMs = leaseUntilMs;
      return { address: state.address, dueMs, leasedUntilMs: leaseUntilMs };
    });
  }

  async postponeDue(): Promise<void> {}

  async countDue(_shard: number, nowMs: number): Promise<number> {
    return [...this.#states.values()].filter(({ dueMs }) => dueMs !== null && dueMs <= nowMs).length;
  }

  earliestDueMs(): Promise<never> {
    return notMeasured();
  }

  async readRecords(names: readonly string[]): Promise<null[]> {
    return names.map(() => null);
  }

  compareAndSetRecord(): Promise<never> {
    return notMeasured();
  }

  dropWatermarks(): Promise<never> {
    return notMeasured();
  }

  dropStates(): Promise<never> {
    return notMeasured();
  }

  async close(): Promise<void> {}
}

async function notMeasured(): Promise<never> {
  throw new Error('no view is rebuilt here');
}
