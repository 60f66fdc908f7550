/**
 * What a chunk of records says of copies: which records of it cannot be used, and which copies of earlier ones make that
 * good. A copy is a dead letter replayed after a fix; `originOffset` says of which record. See "Dead letters" in
 * ARCHITECTURE.md.
 *
 * A copy counts for a shard of a view iff the watermark there, or the chunk, says that the original was not applied. Where
 * nobody remembers, it is applied, and the state tells by the event's row whether it has it.
 */
import type { CompiledView } from '../engine/definitions/compiled.ts';
import type { UnappliedOffsets } from '../engine/store/unapplied-offsets.ts';
import type { LogRecord } from './log/event-log.ts';

/** How far one shard of one view has come. */
export interface OriginCursor {
  readonly view: CompiledView;
  readonly shard: number;
  readonly nextOffset: number;
  readonly unapplied: UnappliedOffsets;
}

type Place = Pick<LogRecord, 'offset' | 'originOffset'>;

export class ChunkOrigins {
  readonly #cursors: readonly OriginCursor[];
  /** Records that no view can use, and those that one cannot. */
  readonly #unusable = new Set<number>();
  readonly #unusableBy = new Map<CompiledView, Set<number>>();
  /** View → record → offset of its last copy in the chunk that the view could use. */
  readonly #settled = new Map<CompiledView, Map<number, number>>();

  constructor(cursors: readonly OriginCursor[]) {
    this.#cursors = cursors;
  }

  /** The record is a dead letter, of one view or (null) of all. A copy that cannot be used leaves its original as it was. */
  cannotUse({ offset, originOffset }: Place, view: CompiledView | null): void {
    if (originOffset !== null) return;
    if (view === null) this.#unusable.add(offset);
    else addTo(this.#unusableBy, view, offset);
  }

  /**
   * Whether the record is one to be applied: it is no copy, or its original was not applied.
   * @param where null: to any view
   */
  isWanted(record: Place, where: { readonly view: CompiledView; readonly shard?: number } | null): boolean {
    const { offset, originOffset } = record;
    if (originOffset === null) return true;
    return this.#cursors.some((cursor) => {
      if (where !== null && where.view !== cursor.view) return false;
      if (where?.shard !== undefined && where.shard !== cursor.shard) return false;
      if (cursor.nextOffset > offset || this.#isSettled(originOffset, cursor)) return false;
      return originOffset < cursor.nextOffset
        ? cursor.unapplied.isApplied(originOffset) !== true
        : this.#isUnusable(originOffset, cursor.view);
    });
  }

  /** The view could use the copy: no other one counts after it. */
  settle({ offset, originOffset }: Place, view: CompiledView): void {
    if (originOffset === null) return;
    const settled = this.#settled.get(view) ?? new Map<number, number>();
    this.#settled.set(view, settled.set(originOffset, offset));
  }

  /** What was not applied once the chunk is. */
  unappliedAfter(cursor: OriginCursor): UnappliedOffsets {
    const { view, nextOffset, unapplied } = cursor;
    const own = this.#unusableBy.get(view);
    const added: (readonly [number, number])[] = [];
    for (const offsets of own === undefined ? [this.#unusable] : [this.#unusable, own]) {
      for (const offset of offsets) if (offset >= nextOffset) added.push([offset, offset + 1]);
    }
    const settled = [...(this.#settled.get(view)?.keys() ?? [])];
    const removed = new Set(settled.filter((origin) => this.#isSettled(origin, cursor)));
    return unapplied.changed({ added, removed });
  }

  /** By a copy that is applied to this shard: one that its watermark has passed already is not. */
  #isSettled(originOffset: number, { view, nextOffset }: OriginCursor): boolean {
    return (this.#settled.get(view)?.get(originOffset) ?? -1) >= nextOffset;
  }

  #isUnusable(offset: number, view: CompiledView): boolean {
    return this.#unusable.has(offset) || (this.#unusableBy.get(view)?.has(offset) ?? false);
  }
}

function addTo(sets: Map<CompiledView, Set<number>>, view: CompiledView, offset: number): void {
  const offsets = sets.get(view);
  if (offsets === undefined) sets.set(view, new Set([offset]));
  else offsets.add(offset);
}
