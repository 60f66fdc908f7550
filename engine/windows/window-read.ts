/**
 * Reading windows of one feature view for one entity key: which fields of the state are needed, and the values.
 *
 * A sliding window of size W and offset o at T holds events with T − o − W < time ≤ T − o, in whole ms
 * lo = T − o − W + 1 ≤ time < hi = T − o + 1. Windows with the same offset share their new edge, so they are
 * nested: each is the next smaller one and the stretch of time between their old edges. One accumulator runs
 * from the newest stretch to the oldest and is finished at every old edge; each tile is merged once. Wide partials are
 * merged for each window anew, from the few blocks between its edges. A series is a
 * sliding window for each of its elements, a calendar window one whose size follows from T. Windows of last events are
 * not windows of time: they are evaluated over rows.
 */
import type { FeatureValue, FinishedWindow } from '../aggregators/partial-aggregate.ts';
import type { ExtremeTimeState } from '../aggregators/partials/extreme-time.ts';
import type { GroupedState } from '../aggregators/partials/grouped.ts';
import type { CountState } from '../aggregators/partials/row-count.ts';
import { toFeatureValue } from '../aggregators/stored-value.ts';
import { ByteReader } from '../bytes.ts';
import type { CompiledFeature, CompiledView } from '../definitions/compiled.ts';
import type { Window } from '../definitions/types.ts';
import type { EventId } from '../event-id.ts';
import type { FieldName, FieldTier, ReadRequest } from '../store/tile-store.ts';
import { EdgeBlocks } from '../tiles/edge-blocks.ts';
import { EdgePaths } from '../tiles/edge-paths.ts';
import { DEPTH_MAX, IDS_FIELD, NEWEST_FIELD, ROOT_FIELD } from '../tiles/grid.ts';
import { tailStorages } from '../tiles/head.ts';
import { rootStandsAlone } from '../tiles/node.ts';
import { PartialSet } from '../tiles/partial-set.ts';
import { RecentIds } from '../tiles/recent-ids.ts';
import type { RowBlock } from '../tiles/row-block.ts';
import { type FieldBytes, StateReader } from '../tiles/state-reader.ts';
import { turnMs } from '../tiles/wide-blocks.ts';
import type { TieLimit, WindowSource } from '../tiles/window-source.ts';
import { CalendarPeriods } from './calendar-period.ts';
import { seriesLength } from './window-reach.ts';

/** Status of a value that was computed; C9 has further ones that the serving tier gives. */
export type ComputedStatus = 'present' | 'empty' | 'coarse' | 'stale';

export interface WindowValue {
  readonly feature: CompiledFeature;
  readonly value: FeatureValue;
  readonly status: ComputedStatus;
  /** Whether the value leaves something out for its size: see the operation's `accuracy`. */
  readonly truncated: boolean;
  /** Bounds in force: fromMs < time ≤ toMs; fromMs is null where there is no old edge. Of a series: those of all together. */
  readonly fromMs: number | null;
  readonly toMs: number;
  /** Of a `stale` value: how old its newest row is at the as-of time, ms. */
  readonly ageMs?: number;
  /** Of a series: its windows, oldest first. */
  readonly elements?: readonly WindowValue[];
}

/** The event a question is about (C10), projected to the view's rows: exactly one row. */
export interface AskedEvent {
  readonly row: RowBlock;
  readonly id: EventId;
  /** Identity for the dedupe; null where the source has no event id. */
  readonly dedupeId: EventId | null;
}

/** A feature, or one window of a series. */
interface Target {
  readonly feature: CompiledFeature;
  /** Place in the series; −1: it is none. */
  readonly element: number;
}

/** What is asked of the rows of one key. */
export interface WindowQuestion {
  readonly atMs: number;
  readonly tie: TieLimit | null;
  /** The event asked about, where it is not recorded. */
  readonly extra: RowBlock | null;
  /** Time of the event asked about where nothing tells whether it was recorded. */
  readonly unknownMs: number | null;
}

interface SizedWindows {
  /** Infinity: lifetime. */
  readonly sizeMs: number;
  readonly targets: readonly Target[];
  /** Whether some target needs wide partials. */
  readonly wide: boolean;
}

/** Windows with one offset, by size ascending; lifetime windows last as size Infinity. */
interface OffsetGroup {
  readonly offsetMs: number;
  readonly sizes: readonly SizedWindows[];
  /** Windows whose size depends on the as-of time. */
  readonly calendars: readonly {
    readonly periods: CalendarPeriods;
    readonly targets: readonly Target[];
    readonly wide: boolean;
  }[];
}

/** Features over the same last events. */
interface LastEvents {
  readonly window: Extract<Window, { kind: 'last_events' }>;
  /** Index into the view's newest rows. */
  readonly rows: number;
  readonly features: readonly CompiledFeature[];
}

/** Down to buckets of 33 s: a tier of the depths below is another one every few seconds at most. */
const LASTING_DEPTH_MAX = 6;

export type FieldLookup = Required<Pick<ReadRequest, 'fields' | 'tiers' | 'saysNoTiers'>>;

export class WindowRead {
  readonly #view: CompiledView;
  readonly #groups: readonly OffsetGroup[];
  readonly #lastEvents: readonly LastEvents[];
  readonly #paths: EdgePaths;
  readonly #blocks: EdgeBlocks;
  /** By depth: of the last lookup. */
  readonly #tiers: {
    readonly paths: readonly FieldName[];
    readonly blocks: readonly FieldName[];
    readonly tier: FieldTier;
  }[] = [];
  /** Of the narrow partials, from one window to the next larger one; of the wide ones, for each window anew. */
  readonly #narrow: PartialSet;
  readonly #wide: PartialSet;
  /** What a group's windows share of the wide ones. */
  readonly #newer: PartialSet;
  readonly #states: readonly unknown[];
  readonly #tailStorages: ReturnType<typeof tailStorages>;

  constructor(view: CompiledView, features: readonly CompiledFeature[]) {
    this.#view = view;
    const ofTime = features.filter(({ window }) => window.kind !== 'last_events');
    this.#groups = groupByOffset(ofTime, view);
    this.#lastEvents = groupLastEvents(features);
    const starts = this.#groups.flatMap(({ calendars }) => calendars.map(({ periods }) => periods));
    this.#paths = new EdgePaths(
      this.#groups.flatMap(edgeDistances),
      starts.map((periods) => (atMs) => periods.startOf(atMs)),
    );
    this.#blocks = new EdgeBlocks(
      this.#groups.map((group) => ({
        newerMs: group.offsetMs,
        older: group.sizes.filter(({ wide }) => wide).map(({ sizeMs }) => group.offsetMs + sizeMs),
        moving: group.calendars
          .filter(({ wide }) => wide)
          .map(
            ({ periods }) =>
              (atMs) =>
                periods.startOf(atMs) - 1,
          ),
      })),
    );
    this.#narrow = new PartialSet(view.narrow);
    this.#wide = new PartialSet(view.wide);
    this.#newer = new PartialSet(view.wide);
    this.#states = [...this.#narrow.states, ...this.#wide.states];
    this.#tailStorages = tailStorages(view.storages);
  }

  /**
   * What holds every row and tile the windows at `atMs` can need. The number of fields depends on the windows only, never on
   * the events. A tier for each depth of the tree: a node that has a field is named by its parent on the same path, and blocks
   * over children are siblings of the path of an edge, in the node on that path that has the children. So where no
   * path has a node at a depth, none has one further down, and no block is there either; nor where the root stands alone.
   * @param asked time of the event asked about, if any: its own path and the recent ids are then read too
   */
  lookup(atMs: number, askedTimeMs: number | null): FieldLookup {
    const fields: FieldName[] = [ROOT_FIELD];
    if (askedTimeMs !== null) fields.push(IDS_FIELD);
    if (this.#readsNewest(askedTimeMs)) fields.push(NEWEST_FIELD);
    const tiers: FieldTier[] = [];
    this.#paths.moveTo(atMs, askedTimeMs);
    this.#blocks.moveTo(atMs);
    for (let depth = 1; depth <= DEPTH_MAX; depth++) tiers.push(this.#tier(depth));
    return { fields, tiers, saysNoTiers: rootStandsAlone };
  }

  #tier(depth: number): FieldTier {
    const paths = this.#paths.at(depth);
    const blocks = this.#blocks.at(depth);
    let last = this.#tiers[depth];
    if (last === undefined || last.paths !== paths || last.blocks !== blocks) {
      const fields = blocks.length === 0 ? paths : [...paths, ...blocks];
      last = { paths, blocks, tier: { fields, lasting: depth <= LASTING_DEPTH_MAX } };
      this.#tiers[depth] = last;
    }
    return last.tier;
  }

  /** Also where it is asked whether an event is recorded: its row may be remembered nowhere else. */
  #readsNewest(askedTimeMs: number | null): boolean {
    return this.#lastEvents.length > 0 || (askedTimeMs !== null && this.#view.newestRows.length > 0);
  }

  /** @param bytes the fields of `lookup(atMs, …)`; @param head the state's head, null where it does not exist */
  evaluate(args: {
    head: Uint8Array | null;
    bytes: FieldBytes;
    atMs: number;
    asked: AskedEvent | null;
    /** Where the question names an event that does not count for this key: ties stop at it all the same (C6). */
    tie?: TieLimit | null;
  }): WindowValue[] {
    const { atMs, asked } = args;
    const reader = new StateReader(this.#view, this.#tailStorages, args.head, args.bytes);
    const askedTimeMs = asked === null ? null : asked.row.times[0]!;
    const tie: TieLimit | null =
      asked !== null && askedTimeMs === atMs ? { timeMs: atMs, last: asked.id } : (args.tie ?? null);
    const unknown = asked !== null && this.#isUnknown(reader, asked, args.bytes);
    const extra = asked !== null && !unknown && !this.#recorded(reader, asked, args.bytes) ? asked.row : null;
    const unknownMs = unknown ? askedTimeMs : null;
    return this.evaluateOver(reader, { atMs, tie, extra, unknownMs });
  }

  /** The values over rows that lie anyhow: those of a state, or of a history offline. */
  evaluateOver(source: WindowSource, question: WindowQuestion): WindowValue[] {
    const values: WindowValue[] = [];
    const series = new Map<CompiledFeature, WindowValue[]>();
    const add = ({ feature, element }: Target, value: WindowValue): void => {
      if (element < 0) {
        values.push(value);
        return;
      }
      const elements = series.get(feature) ?? [];
      series.set(feature, elements);
      elements[element] = value;
    };
    for (const group of this.#groups) this.#evaluateGroup(group, source, question, add);
    for (const [feature, elements] of series) values.push(seriesValue(feature, elements));
    for (const last of this.#lastEvents) this.#evaluateLast(last, source, question, values);
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

  /**
   * Whether nothing tells any more if the event was recorded, or where it belongs: it lies in a tile whose rows were
   * given up. It then does not count a second time.
   */
  #isUnknown(reader: StateReader, asked: AskedEvent, bytes: FieldBytes): boolean {
    const timeMs = asked.row.times[0]!;
    if (reader.collapsedAt(timeMs) === null || this.#recorded(reader, asked, bytes)) return false;
    if (this.#view.ordered) return true;
    const ids = bytes.get(IDS_FIELD) ?? null;
    return asked.dedupeId !== null && ids !== null && timeMs < RecentIds.decode(new ByteReader(ids)).fromMs;
  }

  #evaluateGroup(
    group: OffsetGroup,
    source: WindowSource,
    { atMs, tie: asked, extra, unknownMs }: WindowQuestion,
    add: (target: Target, value: WindowValue) => void,
  ): void {
    const accumulator = this.#narrow;
    const { ordered } = this.#view;
    accumulator.clear();
    source.resetCounts();
    let toMs = atMs - group.offsetMs;
    const sizes = sizesAt(group, toMs);
    const newEdgeMs = toMs;
    let tie = asked;
    const edge = source.collapsedAt(toMs);
    // Of a tile across the new edge nothing can be counted: the windows then end before it.
    const early = edge !== null && edge.endMs > toMs + 1;
    if (early) toMs = edge.startMs - 1;
    // Nor can ties be told apart in one that ends with it: it counts whole.
    const tied = edge !== null && !early && tie !== null && tie.timeMs === toMs;
    if (tied) tie = null;
    const { lowMs } = source;
    let hi = toMs + 1;
    let newer: NewerSide | null = null;
    const cutMs = source.sequencesFromMs;
    let isCut = false;
    const addStretch = (from: number): boolean => {
      // Ordered partials need the asked event in its place.
      const placed = extra !== null && ordered && from <= extra.times[0]! && extra.times[0]! < hi;
      if (placed) source.addRangeWith(extra, from, hi, tie, accumulator);
      else source.addRange(from, hi, tie, accumulator);
      return placed;
    };
    for (const [i, { sizeMs, targets, wide }] of sizes.entries()) {
      const lifetime = sizeMs === Number.POSITIVE_INFINITY;
      const lo = lifetime ? 0 : Math.max(0, newEdgeMs - sizeMs + 1);
      if (lo < cutMs && !isCut) {
        isCut = true;
        addStretch(cutMs);
        hi = Math.min(hi, cutMs);
        const bounds = { atMs, fromMs: hi - 1, toMs };
        for (const target of sizes.slice(i).flatMap((larger) => larger.targets)) {
          if (isSequence(target)) add(target, this.#value(target.feature, source.rowCount, true, bounds));
        }
      }
      const placed = addStretch(source.widen(lo, hi));
      if (wide) {
        newer ??= new NewerSide(this.#newer, { toMs, blocksToMs: early ? toMs + 1 : toMs, tie });
        this.#addWide(source, newer, lo, extra);
      }
      if (lifetime) source.addPrefix(accumulator, this.#wide);
      const fromIncludedMs = Math.min(lo, source.widenedToMs ?? lo);
      if (extra !== null && !placed && fromIncludedMs <= extra.times[0]! && extra.times[0]! < hi) {
        accumulator.addRows(extra, 0, 1);
        source.rowCount += 1;
      }
      let fromMs = lifetime ? null : newEdgeMs - sizeMs;
      // Rows before lowMs are gone; a window that would need them says how far back it really reaches.
      const cut = !lifetime && lo < lowMs;
      if (fromMs !== null && cut) fromMs = lowMs - 1;
      if (fromMs !== null && source.widenedToMs !== null) fromMs = Math.min(fromMs, source.widenedToMs - 1);
      // A tile that straddled a smaller window's edge is exact again once a larger window holds all of it.
      const widened = fromMs !== null && source.widenedToMs !== null && source.widenedToMs < lo;
      const unknown = unknownMs !== null && (fromMs === null || fromMs < unknownMs) && unknownMs <= toMs;
      const coarse = cut || widened || early || tied || unknown;
      // Of a window that lies within the tile across its new edge nothing is left.
      if (fromMs !== null) fromMs = Math.min(fromMs, toMs);
      for (const target of targets) {
        if (isCut && isSequence(target)) continue;
        add(target, this.#value(target.feature, source.rowCount, coarse, { atMs, fromMs, toMs }));
      }
      hi = Math.min(hi, fromIncludedMs);
    }
  }

  /**
   * Wide partials of one window. Its blocks are the siblings of its edges' paths; those of the new edge are shared with
   * the smaller windows of the group, and merged once.
   */
  #addWide(source: WindowSource, newer: NewerSide, lo: number, extra: RowBlock | null): void {
    const { toMs } = newer;
    this.#wide.clear();
    // Before time 0 there is nothing.
    if (lo > toMs) return;
    newer.reach(source, lo);
    this.#wide.merge(this.#newer);
    const { fromMs } = newer;
    const from = Math.min(fromMs, source.addWide(lo, fromMs, fromMs, this.#wide));
    if (extra !== null && from <= extra.times[0]! && extra.times[0]! <= toMs) this.#wide.addRows(extra, 0, 1);
  }

  #evaluateLast(
    { window, rows: index, features }: LastEvents,
    source: WindowSource,
    { atMs, tie, extra, unknownMs }: WindowQuestion,
    values: WindowValue[],
  ): void {
    const fromMs = window.withinMs === null ? null : atMs - window.withinMs;
    const found = source.newestRows({ index, count: window.count, fromMs, toMs: atMs, tie, extra });
    for (const set of [this.#narrow, this.#wide]) {
      set.clear();
      set.addRows(found.rows, 0, found.rows.length);
    }
    const coarse = found.reachesMs !== null || (unknownMs !== null && unknownMs <= atMs);
    const bounds = { atMs, fromMs: found.reachesMs ?? fromMs, toMs: atMs };
    for (const feature of features) values.push(this.#value(feature, found.rows.length, coarse, bounds));
  }

  #value(feature: CompiledFeature, rowCount: number, coarse: boolean, window: FinishedWindow): WindowValue {
    const finished = this.#finish(feature, rowCount, window);
    const value: { -readonly [Field in keyof WindowValue]: WindowValue[Field] } = {
      feature,
      value: finished === null ? feature.empty : finished.value,
      status: coarse ? 'coarse' : finished === null ? 'empty' : 'present',
      truncated: finished?.truncated ?? false,
      fromMs: window.fromMs,
      toMs: window.toMs,
    };
    const { maxAge } = feature;
    if (maxAge === null || finished === null) return value;
    const { timeMs } = this.#states[maxAge.partial] as ExtremeTimeState;
    if (timeMs === null || window.atMs - timeMs <= maxAge.ms) return value;
    value.status = 'stale';
    value.ageMs = window.atMs - timeMs;
    return value;
  }

  /** The value; null where no row counts. */
  #finish(feature: CompiledFeature, rowCount: number, window: FinishedWindow): Finished | null {
    if (rowCount === 0) return null;
    const { operation, params, presence, groups } = feature;
    const type = feature.type ?? 'integer';
    const states = this.#states;
    if (presence !== null && (states[presence] as CountState).rows === 0) return null;
    const own = feature.partials.map((index) => states[index]);
    if (groups === null) {
      const value = operation.finalize(own, type, params, window);
      const truncated = operation.truncated?.(own) ?? false;
      // Null is also what an operation answers that had to leave too much out: no default takes its place.
      return { value: truncated ? value : (value ?? feature.empty), truncated };
    }
    const grouped = own[0] as GroupedState;
    if (grouped.size === 0) return null;
    let { truncated } = grouped;
    const entries = [...grouped.groups].map((group): [string, FeatureValue] => {
      const inner = groups.inner.map((index) => group.states[index]);
      truncated ||= operation.truncated?.(inner) ?? false;
      const key = String(toFeatureValue(group.value, groups.type));
      return [key, operation.finalize(inner, type, params, window) ?? operation.empty];
    });
    return { value: new Map(entries.sort(byKey)), truncated };
  }
}

/** Wide partials from the new edge of a group's windows back to where its path's blocks reach for the window at hand. */
class NewerSide {
  readonly toMs: number;
  /** Everything from here to `toMs` is in. */
  fromMs: number;
  readonly #set: PartialSet;
  readonly #blocksToMs: number;
  readonly #tie: TieLimit | null;

  /**
   * @param of.blocksToMs the edge whose path's blocks are read: `toMs`, or the ms behind it, where the collapsed tile
   * begins that the edge asked for lies in
   */
  constructor(set: PartialSet, of: { toMs: number; blocksToMs: number; tie: TieLimit | null }) {
    const { toMs, blocksToMs, tie } = of;
    this.toMs = toMs;
    this.#blocksToMs = blocksToMs;
    this.fromMs = toMs + 1;
    this.#tie = tie !== null && tie.timeMs === toMs ? tie : null;
    this.#set = set;
    set.clear();
  }

  /** @param lo the old edge of the window at hand */
  reach(source: WindowSource, lo: number): void {
    const turn = turnMs(lo - 1, this.#blocksToMs);
    if (turn >= this.fromMs) return;
    if (this.fromMs > this.toMs) {
      // The newest millisecond is in no block, so that a tie can cut it.
      if (this.#tie !== null) source.addWideTie(this.#tie, this.#set);
      const hi = this.#tie === null ? this.toMs + 1 : this.toMs;
      this.fromMs = source.addWide(turn, hi, this.#blocksToMs, this.#set);
    } else {
      this.fromMs = source.addWide(turn, this.fromMs, this.fromMs, this.#set);
    }
  }
}

/** Whether what lies between two events counts. */
const isSequence = ({ feature }: Target): boolean => feature.operation.sequence === true;

interface Finished {
  readonly value: FeatureValue;
  readonly truncated: boolean;
}

const byKey = ([a]: [string, FeatureValue], [b]: [string, FeatureValue]): number =>
  a < b ? -1 : a > b ? 1 : 0;

/** The values of a series as one; it is empty only if all of its windows are. */
function seriesValue(feature: CompiledFeature, elements: readonly WindowValue[]): WindowValue {
  const any = (status: ComputedStatus): boolean => elements.some((element) => element.status === status);
  return {
    feature,
    value: elements.map(({ value }) => value),
    status: any('coarse') ? 'coarse' : any('present') ? 'present' : 'empty',
    truncated: elements.some(({ truncated }) => truncated),
    fromMs: Math.min(...elements.map(({ fromMs }) => fromMs!)),
    toMs: elements.at(-1)!.toMs,
    elements,
  };
}

/** Sizes of a group for one as-of time, ascending. */
function sizesAt({ sizes, calendars }: OffsetGroup, toMs: number): readonly SizedWindows[] {
  if (calendars.length === 0) return sizes;
  // Both the first millisecond of the period and T count.
  const moving = calendars.map(({ periods, targets, wide }) => ({
    sizeMs: toMs - periods.startOf(toMs) + 1,
    targets,
    wide,
  }));
  return [...sizes, ...moving].sort((a, b) => a.sizeMs - b.sizeMs);
}

/** How far before the as-of time the fixed edges of a group lie: the new edge, and the first ms of each window. */
function edgeDistances({ offsetMs, sizes }: OffsetGroup): number[] {
  const finite = sizes.filter(({ sizeMs }) => sizeMs !== Number.POSITIVE_INFINITY);
  return [offsetMs, ...finite.map(({ sizeMs }) => offsetMs + sizeMs - 1)];
}

function groupByOffset(features: readonly CompiledFeature[], view: CompiledView): OffsetGroup[] {
  const isWide = ({ feature }: Target): boolean =>
    feature.partials.some((index) => index >= view.narrow.length);
  const groups = new Map<number, { sizes: Map<number, Target[]>; calendars: Map<string, CalendarTargets> }>();
  const groupAt = (offsetMs: number) => {
    const group = groups.get(offsetMs) ?? { sizes: new Map(), calendars: new Map() };
    groups.set(offsetMs, group);
    return group;
  };
  const add = (offsetMs: number, sizeMs: number, target: Target): void => {
    const { sizes } = groupAt(offsetMs);
    const sameSize = sizes.get(sizeMs);
    if (sameSize === undefined) sizes.set(sizeMs, [target]);
    else sameSize.push(target);
  };
  for (const feature of features) {
    const { window } = feature;
    const whole = { feature, element: -1 };
    if (window.kind === 'sliding') add(window.offsetMs, window.sizeMs, whole);
    else if (window.kind === 'lifetime') add(window.offsetMs, Number.POSITIVE_INFINITY, whole);
    else if (window.kind === 'series') {
      const length = seriesLength(window);
      for (let i = 0; i < length; i++) {
        add(window.endMs + i * window.stepMs, window.sizeMs, { feature, element: length - 1 - i });
      }
    } else if (window.kind === 'calendar') {
      const { unit, timeZone, weekStart } = window;
      const { calendars } = groupAt(0);
      const name = `${unit} ${timeZone} ${weekStart}`;
      const same = calendars.get(name);
      if (same !== undefined) same.targets.push(whole);
      else calendars.set(name, { periods: new CalendarPeriods(unit, timeZone, weekStart), targets: [whole] });
    }
  }
  return [...groups].map(([offsetMs, { sizes, calendars }]) => ({
    offsetMs,
    sizes: [...sizes]
      .sort(([a], [b]) => a - b)
      .map(([sizeMs, targets]) => ({ sizeMs, targets, wide: targets.some(isWide) })),
    calendars: [...calendars.values()].map((calendar) => ({
      ...calendar,
      wide: calendar.targets.some(isWide),
    })),
  }));
}

interface CalendarTargets {
  readonly periods: CalendarPeriods;
  readonly targets: Target[];
}

function groupLastEvents(features: readonly CompiledFeature[]): LastEvents[] {
  const groups = new Map<
    string,
    { window: LastEvents['window']; rows: number; features: CompiledFeature[] }
  >();
  for (const feature of features) {
    const { window, newestRows } = feature;
    if (window.kind !== 'last_events') continue;
    const name = `${newestRows} ${window.count} ${window.withinMs}`;
    const same = groups.get(name);
    if (same !== undefined) same.features.push(feature);
    else groups.set(name, { window, rows: newestRows, features: [feature] });
  }
  return [...groups.values()];
}
