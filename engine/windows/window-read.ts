/**
 * Reading windows of one feature view for one entity key: which fields of the state are needed, and the values.
 *
 * A sliding window of size W and offset o at T holds events with T − o − W < time ≤ T − o, in whole ms
 * lo = T − o − W + 1 ≤ time < hi = T − o + 1. Windows with the same offset share their new edge, so they are
 * nested: each is the next smaller one and the stretch of time between their old edges. One accumulator runs
 * from the newest stretch to the oldest and is finished at every old edge; each tile is merged once.
 */
import type { FeatureValue, FinishedWindow } from '../aggregators/partial-aggregate.ts';
import { ByteReader } from '../bytes.ts';
import type { CompiledFeature, CompiledView } from '../definitions/compiled.ts';
import type { EventId } from '../event-id.ts';
import type { FieldName } from '../store/tile-store.ts';
import { EdgePaths } from '../tiles/edge-paths.ts';
import { IDS_FIELD, ROOT_FIELD } from '../tiles/grid.ts';
import { tailStorages } from '../tiles/head.ts';
import { PartialSet } from '../tiles/partial-set.ts';
import { RecentIds } from '../tiles/recent-ids.ts';
import type { RowBlock } from '../tiles/row-block.ts';
import { type FieldBytes, StateReader, type TieLimit } from '../tiles/state-reader.ts';

/** Status of a value that was computed; C9 has further ones that the serving tier gives. */
export type ComputedStatus = 'present' | 'empty' | 'coarse';

export interface WindowValue {
  readonly feature: CompiledFeature;
  readonly value: FeatureValue;
  readonly status: ComputedStatus;
  /** Bounds in force: fromMs < time ≤ toMs; fromMs is null for a lifetime window. */
  readonly fromMs: number | null;
  readonly toMs: number;
}

/** The event a question is about (C10), projected to the view's rows: exactly one row. */
export interface AskedEvent {
  readonly row: RowBlock;
  readonly id: EventId;
  /** Identity for the dedupe; null where the source has no event id. */
  readonly dedupeId: EventId | null;
}

/** Windows with one offset, by size ascending; lifetime windows last as size Infinity. */
interface OffsetGroup {
  readonly offsetMs: number;
  readonly sizes: readonly { readonly sizeMs: number; readonly features: readonly CompiledFeature[] }[];
}

export class WindowRead {
  readonly #view: CompiledView;
  readonly #groups: readonly OffsetGroup[];
  readonly #paths: EdgePaths;
  readonly #accumulator: PartialSet;
  readonly #tailStorages: ReturnType<typeof tailStorages>;

  constructor(view: CompiledView, features: readonly CompiledFeature[]) {
    this.#view = view;
    this.#groups = groupByOffset(features);
    this.#paths = new EdgePaths(this.#groups.flatMap(edgeDistances));
    this.#accumulator = new PartialSet(view.partials);
    this.#tailStorages = tailStorages(view.storages);
  }

  /**
   * Fields that hold every row and tile the windows at `atMs` can need, the root first. The number depends on
   * the windows only, never on the events.
   * @param asked time of the event asked about, if any: its own path and the recent ids are then read too
   */
  fields(atMs: number, askedTimeMs: number | null): FieldName[] {
    const fields: FieldName[] = [ROOT_FIELD];
    this.#paths.append(atMs, askedTimeMs, fields);
    if (askedTimeMs !== null) fields.push(IDS_FIELD);
    return fields;
  }

  /** @param bytes the fields of `fields(atMs, …)`; @param head the state's head, null where it does not exist */
  evaluate(args: {
    head: Uint8Array | null;
    bytes: FieldBytes;
    atMs: number;
    asked: AskedEvent | null;
    /** Where the question names an event that does not count for this key: ties stop at it all the same (C6). */
    tie?: TieLimit | null;
  }): WindowValue[] {
    const { atMs, asked } = args;
    const reader = new StateReader(this.#view.storages, this.#tailStorages, args.head, args.bytes);
    const askedTimeMs = asked === null ? null : asked.row.times[0]!;
    const tie: TieLimit | null =
      asked !== null && askedTimeMs === atMs ? { timeMs: atMs, last: asked.id } : (args.tie ?? null);
    const extra = asked !== null && !this.#recorded(reader, asked, args.bytes) ? asked.row : null;
    const values: WindowValue[] = [];
    for (const group of this.#groups) this.#evaluateGroup(group, reader, atMs, tie, extra, values);
    return values;
  }

  #recorded(reader: StateReader, asked: AskedEvent, bytes: FieldBytes): boolean {
    if (asked.dedupeId === null) return false;
    const timeMs = asked.row.times[0]!;
    const ids = bytes.get(IDS_FIELD) ?? null;
    if (ids !== null) {
      const recent = RecentIds.decode(new ByteReader(ids));
      if (recent.has(asked.dedupeId, timeMs, this.#view.dedupeHorizonMs)) return true;
    }
    return reader.contains(timeMs, asked.id);
  }

  #evaluateGroup(
    group: OffsetGroup,
    reader: StateReader,
    atMs: number,
    tie: TieLimit | null,
    extra: RowBlock | null,
    values: WindowValue[],
  ): void {
    const accumulator = this.#accumulator;
    accumulator.clear();
    reader.resetCounts();
    const toMs = atMs - group.offsetMs;
    const { lowMs } = reader.rootHeader;
    let hi = toMs + 1;
    for (const { sizeMs, features } of group.sizes) {
      const lifetime = sizeMs === Number.POSITIVE_INFINITY;
      const lo = lifetime ? 0 : Math.max(0, toMs - sizeMs + 1);
      reader.addRange(lo, hi, tie, accumulator);
      if (lifetime) reader.addPrefix(accumulator);
      const fromIncludedMs = Math.min(lo, reader.widenedToMs ?? lo);
      if (extra !== null && fromIncludedMs <= extra.times[0]! && extra.times[0]! < hi) {
        accumulator.addRows(extra, 0, 1);
        reader.rowCount += 1;
      }
      let fromMs = lifetime ? null : toMs - sizeMs;
      // Rows before lowMs are gone; a window that would need them says how far back it really reaches.
      const cut = !lifetime && lo < lowMs;
      if (fromMs !== null && cut) fromMs = lowMs - 1;
      if (fromMs !== null && reader.widenedToMs !== null) fromMs = Math.min(fromMs, reader.widenedToMs - 1);
      // A tile that straddled a smaller window's edge is exact again once a larger window holds all of it.
      const coarse = cut || (fromMs !== null && reader.widenedToMs !== null && reader.widenedToMs < lo);
      const status = coarse ? 'coarse' : reader.rowCount === 0 ? 'empty' : 'present';
      for (const feature of features) {
        const value = this.#finish(feature, reader.rowCount, { atMs, fromMs, toMs });
        values.push({ feature, value, status, fromMs, toMs });
      }
      hi = Math.min(hi, fromIncludedMs);
    }
  }

  #finish(feature: CompiledFeature, rowCount: number, window: FinishedWindow): FeatureValue {
    if (rowCount === 0) return feature.empty;
    const states = feature.partials.map((index) => this.#accumulator.states[index]);
    const { operation, type, params } = feature;
    const value = operation.finalize(states, type ?? 'integer', params, window);
    // A default stands for nothing there, not for more than could be kept.
    return value === null && operation.truncated?.(states) !== true ? feature.empty : value;
  }
}

/** How far before the as-of time the edges of a group lie: the new edge, and the first ms of each window. */
function edgeDistances({ offsetMs, sizes }: OffsetGroup): number[] {
  const finite = sizes.filter(({ sizeMs }) => sizeMs !== Number.POSITIVE_INFINITY);
  return [offsetMs, ...finite.map(({ sizeMs }) => offsetMs + sizeMs - 1)];
}

function groupByOffset(features: readonly CompiledFeature[]): OffsetGroup[] {
  const groups = new Map<number, Map<number, CompiledFeature[]>>();
  for (const feature of features) {
    const { window } = feature;
    const sizeMs = window.kind === 'lifetime' ? Number.POSITIVE_INFINITY : window.sizeMs;
    const sizes = groups.get(window.offsetMs) ?? new Map<number, CompiledFeature[]>();
    groups.set(window.offsetMs, sizes);
    const sameSize = sizes.get(sizeMs) ?? [];
    sizes.set(sizeMs, sameSize);
    sameSize.push(feature);
  }
  return [...groups].map(([offsetMs, sizes]) => ({
    offsetMs,
    sizes: [...sizes].sort(([a], [b]) => a - b).map(([sizeMs, sameSize]) => ({ sizeMs, features: sameSize })),
  }));
}
