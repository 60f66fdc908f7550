/** Where the events lie that a value is made of, told from what was written: see `Phase`. */
import { ByteReader } from '../../bytes.ts';
import type { CompiledView } from '../../definitions/compiled.ts';
import type { EventId } from '../../event-id.ts';
import { ForwardingStore } from '../../store/testing/forwarding-store.ts';
import type { CompareAndSet, TileStore } from '../../store/tile-store.ts';
import { decodeHead, tailStorages } from '../../tiles/head.ts';
import type { OracleEvent } from '../oracle.ts';
import type { Phase } from './cells.ts';

interface KeyHistory {
  /** Whether nobody but the compactor has written the state since it did. */
  compactedLast: boolean;
  /** The newest time in the tree at the last compaction; null: it was never compacted. */
  compactedToMs: number | null;
  /** Applied since then, at or before that time. */
  readonly late: Set<OracleEvent>;
}

const rowName = (timeMs: number, { hi, lo }: EventId): string => `${timeMs} ${hi} ${lo}`;

export class StatePhases {
  readonly #views: ReadonlyMap<string, CompiledView>;
  readonly #keys = new Map<string, KeyHistory>();

  constructor(views: readonly CompiledView[]) {
    this.#views = new Map(views.map((view) => [view.namespace, view]));
  }

  /** The store for those who ingest. */
  ofIngest(store: TileStore): TileStore {
    return new Watched(store, ({ address }) => {
      this.#historyOf(address.namespace, address.key).compactedLast = false;
    });
  }

  /** The store for the compactor. */
  ofCompaction(
    store: TileStore,
    eventsOf: (view: CompiledView, key: string) => Iterable<OracleEvent>,
  ): TileStore {
    return new Watched(store, ({ address: { namespace, key }, next }) => {
      const history = this.#historyOf(namespace, key);
      const view = this.#views.get(namespace)!;
      const tail = next === null ? new Set<string>() : tailOf(view, next.head);
      history.compactedLast = true;
      history.compactedToMs = null;
      for (const { timeMs, id } of eventsOf(view, key)) {
        if (tail.has(rowName(timeMs, id))) continue;
        history.compactedToMs = Math.max(history.compactedToMs ?? 0, timeMs);
      }
      history.late.clear();
    });
  }

  /** An event that was applied for the first time. */
  applied(view: CompiledView, key: string, event: OracleEvent): void {
    const { compactedToMs, late } = this.#historyOf(view.namespace, key);
    if (compactedToMs !== null && event.timeMs <= compactedToMs) late.add(event);
  }

  /** Of a value made of these events; null where there are none. */
  phaseOf(
    view: CompiledView,
    key: string,
    tail: ReadonlySet<string>,
    counted: readonly OracleEvent[],
  ): Phase | null {
    if (counted.length === 0) return null;
    const { late, compactedLast } = this.#historyOf(view.namespace, key);
    if (late.size > 0 && counted.some((event) => late.has(event))) return 'late';
    const inTail = counted.filter(({ timeMs, id }) => tail.has(rowName(timeMs, id))).length;
    if (inTail === counted.length) return 'tail';
    if (inTail > 0) return 'mixed';
    return compactedLast ? 'compacted' : 'tiles';
  }

  #historyOf(namespace: string, key: string): KeyHistory {
    const id = namespace + key;
    let history = this.#keys.get(id);
    if (history === undefined) {
      history = { compactedLast: false, compactedToMs: null, late: new Set() };
      this.#keys.set(id, history);
    }
    return history;
  }
}

/** The rows in the head, by time and id. */
export function tailOf(view: CompiledView, head: Uint8Array | null): Set<string> {
  if (head === null) return new Set();
  const { tail } = decodeHead(new ByteReader(head), tailStorages(view.storages));
  const names = new Set<string>();
  for (let i = 0; i < tail.length; i++) {
    names.add(rowName(tail.times[i]!, { hi: tail.idHi[i]!, lo: tail.idLo[i]! }));
  }
  return names;
}

/** Tells of every write that won. */
class Watched extends ForwardingStore {
  readonly #won: (write: CompareAndSet) => void;

  constructor(to: TileStore, won: (write: CompareAndSet) => void) {
    super(to);
    this.#won = won;
  }

  override async compareAndSet(writes: readonly CompareAndSet[]): Promise<boolean[]> {
    const won = await super.compareAndSet(writes);
    writes.forEach((write, i) => {
      if (won[i]) this.#won(write);
    });
    return won;
  }
}
