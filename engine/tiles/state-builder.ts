/**
 * The state of one key from all of its events at hand, without a store: what a backfill writes. The same plans as those of
 * ingest and compaction, over fields in memory; at the end every row is in a tile.
 *
 * A record of the log says by its offset whether it was applied. Here all are, below the offsets from which the log is applied
 * afterwards: these are the state's floors, so that it does not count them again from a log that is read from before.
 */
import { ByteReader, ByteWriter } from '../bytes.ts';
import type { FieldName } from '../store/tile-store.ts';
import { decodeHead, encodeHead, tailStorages } from './head.ts';
import { type IngestCounts, PROTOCOL, type ProtocolRules, type StateView } from './state-protocol.ts';
import {
  COMPACTION_FIELDS,
  type CompactionPacing,
  DEFAULT_PACING,
  type IncomingRow,
  planCompaction,
  planIngest,
} from './state-update.ts';
import { DEFAULT_TILE_SHAPE, type TileShape } from './tile-shape.ts';

/** An event of the key: as to ingest, but for where it stands in a log. */
export type BuiltRow = Omit<IncomingRow, 'partition' | 'offset' | 'originOffset'> & {
  /** Whether it is a copy of a record that may be among the rows under the same id. @default false */
  readonly isCopy?: boolean;
};

export interface BuiltState {
  readonly head: Uint8Array;
  readonly fields: ReadonlyMap<FieldName, Uint8Array>;
  /** When compaction is to look at it, processing time, ms. */
  readonly dueMs: number;
}

/** Every row has the same place, and may be folded. */
const PLACE = { partition: 0, offset: 0 } as const;
const RULES: ProtocolRules = {
  ...PROTOCOL,
  isApplied: () => false,
  foldBelow: () => PLACE.offset + 1,
  remembersEarly: false,
};
const APPLIED = new Map<number, null>();

const writer = new ByteWriter(1024);

export class StateBuilder {
  readonly #view: StateView;
  /** For folding: no row is too young. */
  readonly #folding: StateView;
  readonly #shape: TileShape;
  readonly #pacing: CompactionPacing;
  #head: Uint8Array | null = null;
  readonly #fields = new Map<FieldName, Uint8Array>();

  constructor(
    view: StateView,
    options: { readonly shape?: TileShape; readonly pacing?: CompactionPacing } = {},
  ) {
    this.#view = view;
    this.#folding = { ...view, latenessMs: Number.NEGATIVE_INFINITY };
    this.#shape = options.shape ?? DEFAULT_TILE_SHAPE;
    this.#pacing = options.pacing ?? DEFAULT_PACING;
  }

  /**
   * Applies events, in the order of their arrival.
   * @param nowMs as ingest's clock has it: what no window reaches from there is too late
   */
  add(rows: readonly BuiltRow[], nowMs: number): IngestCounts {
    const incoming = rows.map(({ isCopy, ...row }) => ({
      ...row,
      ...PLACE,
      originOffset: isCopy ? PLACE.offset : null,
    }));
    const { shape, pacing, view } = { shape: this.#shape, pacing: this.#pacing, view: this.#view };
    return this.#apply((state) => planIngest({ view, shape, rules: RULES, pacing, state, incoming, nowMs }))
      .counts;
  }

  /**
   * Folds what is left into tiles.
   * @param floors by partition of the log: every record of the key below is among the rows
   * @returns null: nothing counts. The builder is empty again.
   */
  finish(nowMs: number, floors: ReadonlyMap<number, number> = new Map()): BuiltState | null {
    const { shape, pacing, view } = { shape: this.#shape, pacing: this.#pacing, view: this.#folding };
    let dueMs: number | null = null;
    while (this.#head !== null) {
      // Not live: the log that is applied afterwards may bring repeats, which are told from the rows.
      const plan = this.#apply((state) =>
        planCompaction({ view, shape, rules: RULES, pacing, state, nowMs, live: false }),
      );
      if (plan.kind !== 'write') throw new Error('compaction always writes');
      dueMs = plan.dueMs;
      // Past its bound it gives up rows in several turns.
      if (dueMs === null || dueMs > nowMs) break;
    }
    const head = this.#head;
    const fields = new Map(this.#fields);
    this.#head = null;
    this.#fields.clear();
    if (head === null) return null;
    return { head: this.#withFloors(head, floors), fields, dueMs: dueMs! };
  }

  #apply<P extends ReturnType<typeof planIngest>>(
    plan: (state: Parameters<typeof planIngest>[0]['state']) => P,
  ): Exclude<P, { kind: 'read' }> {
    let asked: readonly FieldName[] = [...new Set([...COMPACTION_FIELDS, ...this.#fields.keys()])];
    for (;;) {
      const fields = new Map(asked.map((name) => [name, this.#fields.get(name) ?? null]));
      const token = this.#head === null ? null : '';
      const made = plan({ token, head: this.#head, fields, watermarks: APPLIED });
      if (made.kind === 'read') {
        asked = [...new Set([...asked, ...made.fields])];
        continue;
      }
      if (made.kind === 'write') {
        this.#head = made.head;
        for (const [name, bytes] of made.changes) {
          if (bytes === null) this.#fields.delete(name);
          else this.#fields.set(name, bytes);
        }
      }
      return made as Exclude<P, { kind: 'read' }>;
    }
  }

  #withFloors(bytes: Uint8Array, floors: ReadonlyMap<number, number>): Uint8Array {
    const storages = tailStorages(this.#view.storages);
    const head = decodeHead(new ByteReader(bytes), storages);
    if (head.tail.length > 0) throw new Error('every row is in a tile');
    head.floors = new Map(floors);
    writer.clear();
    encodeHead(head, storages, writer);
    return writer.finish();
  }
}
