/**
 * What the state of one key will take, given how often the key has an event: for `millrace validate`.
 *
 * Events are taken to come evenly, and to have made-up values of the columns' types: texts of `TEXT_CHARS` characters,
 * one of `TEXT_VALUES`; event ids that ascend with gaps where they are integers, and lie anywhere where they are
 * texts or the source has none. Rows, tiles, blocks and ids are encoded as they would be, so that their sizes are
 * measured and not guessed; the tree is laid out over the grid node by node, but each kind of full node only once.
 * What comes in bursts has a deeper tree and takes somewhat more; values that repeat or are null take less, and of
 * wide partials those over columns with more different values than are made up take more.
 */
import { ByteWriter } from '../bytes.ts';
import type { CompiledView, StoredColumn } from '../definitions/compiled.ts';
import { type EventId, integerEventId } from '../event-id.ts';
import { hash53 } from '../hash64.ts';
import { FIELD_OVERHEAD_BYTES } from './field-size.ts';
import { DEPTH_MAX, spanMs } from './grid.ts';
import { emptyHead, encodeHead, tailStorages } from './head.ts';
import { keptRows } from './newest-rows.ts';
import { emptyRoot, encodeRoot } from './node.ts';
import { PartialSet } from './partial-set.ts';
import { RecentIds } from './recent-ids.ts';
import {
  allocateRows,
  encodeRows,
  type RowBlock,
  rowsWeightBytes,
  setValue,
  sliceRows,
} from './row-block.ts';
import { DEFAULT_PACING, retentionMs } from './state-update.ts';
import { DEFAULT_TILE_SHAPE, mustSpill, type TileShape } from './tile-shape.ts';
import { BLOCK_LEVEL_MAX, blockAbove, blockLevels } from './wide-blocks.ts';

export const DAY_MS = 86_400_000;

/** Length that texts are taken to have. */
export const TEXT_CHARS = 16;

/** Distinct values that texts are taken to have. */
export const TEXT_VALUES = 100;

/** Numbers are taken to be below this. */
const NUMBER_VALUES = 10_000;

/** Gap between the ids of two events of a key, on average: as with some ten thousand keys that are as busy. */
const ID_GAP = 10_000;

/** Rows that are made up: a tile or block over more is taken to be as large as one over these. */
const SAMPLE_ROWS = 2_000;
/** A leaf is about as large. */
const LEAF_ROWS = 50;

/** Bytes of a child in an inner node besides its rows or tile. */
const CHILD_BYTES = 5;
/** Partition and offset, which a row of the tail has besides. */
const POSITION_BYTES = 5;
/** Kind of a node and number of its children. */
const NODE_BYTES = 2;

/** How many places on the grid are tried: what lies across the edges of large blocks varies with it. */
const PLACES = 8;
/** A time on the edge of all blocks, later than any retention is long. */
const PLACES_FROM_MS = 2 ** 44;
const PLACES_SPAN_MS = 2 ** BLOCK_LEVEL_MAX;
/** Its multiples spread evenly, at every scale. */
const GOLDEN = (Math.sqrt(5) - 1) / 2;

/** What of a view can be asked for otherwise than it is, for comparison. */
export type EstimatedView = Pick<
  CompiledView,
  | 'source'
  | 'columns'
  | 'storages'
  | 'narrow'
  | 'wide'
  | 'newestRows'
  | 'longestWindowMs'
  | 'largestOffsetMs'
  | 'lifetimeOffsetMs'
  | 'asOfRetentionMs'
  | 'resolutionMs'
  | 'hasLifetime'
  | 'hasEventIds'
  | 'dedupeHorizonMs'
  | 'latenessMs'
>;

export interface StateEstimate {
  /** Events that a key's state stands for. */
  readonly events: number;
  /** Of these, kept as rows: all but those merged for `resolution`. */
  readonly rows: number;
  /** Of a row within a leaf, bytes. */
  readonly rowBytes: number;
  /** Tiles that are kept, the prefix among them. */
  readonly tiles: number;
  /** Of a tile over many rows, bytes. */
  readonly tileBytes: number;
  /** Blocks of wide partials, copies among them; 0 where the view has none. */
  readonly blocks: number;
  /** Of a block on average, bytes; 0 where there is none. */
  readonly blockBytes: number;
  /** Bytes of the state without a bound, as `maxStateBytes` counts them. */
  readonly bytes: number;
}

/**
 * @param eventsPerDay how many events a key has on a day, > 0
 * @throws RangeError where it is not a positive number
 */
export function estimateState(view: EstimatedView, shape: TileShape, eventsPerDay: number): StateEstimate {
  return stateEstimator(view, shape, eventsPerDay)();
}

/**
 * As `estimateState`, for several questions about one view and rate: what its rows, tiles and blocks take is measured once,
 * which is nearly all of the work, however far back its windows reach and whatever its resolution.
 */
export function stateEstimator(
  view: EstimatedView,
  shape: TileShape,
  eventsPerDay: number,
): (changed?: Partial<Pick<EstimatedView, 'longestWindowMs' | 'resolutionMs'>>) => StateEstimate {
  if (!(eventsPerDay > 0 && eventsPerDay < Number.POSITIVE_INFINITY))
    throw new RangeError(`${eventsPerDay} is no number of events per day`);
  const perMs = eventsPerDay / DAY_MS;
  const sizes = new MeasuredSizes(view, 1 / perMs);
  return (changed = {}) => new Estimator({ ...view, ...changed }, shape, perMs, sizes).state();
}

/** What a stretch of time takes within the tree, or all of it. */
interface Part {
  rows: number;
  tiles: number;
  blocks: number;
  /** Of the blocks alone, without what a field takes. */
  blockBytes: number;
  /** Content and all fields below it. */
  bytes: number;
}

/** The tree as it lies on the grid. */
interface Place {
  readonly fromMs: number;
  readonly toMs: number;
  /** Nodes that end at or before this are coarsened; 0: none are. */
  readonly coarseBeforeMs: number;
  /** A stretch with as many events as there ever were at a time. */
  readonly peakMs: number;
}

/** Expected values of eight normal deviates from the greatest to the least (H. L. Harter, Biometrika 48, 1961, table 1). */
const NORMAL_ORDER = [1.424, 0.852, 0.473, 0.153, -0.153, -0.473, -0.852, -1.424];

interface PlannedChild {
  readonly bucket: number;
  readonly endMs: number;
  /** Before any were expired or merged: what has decided where they are kept. */
  readonly weight: number;
  /** That are there now, as rows or in a tile. */
  readonly events: number;
  spilled: boolean;
}

/** Of children that weigh the same, which goes first is as good as random: they lie in as many blocks as random ones. */
const SPILL_ORDER = [0, 3, 6, 2, 4, 7, 1, 5];

const writer = new ByteWriter(4096);
const scratch = new ByteWriter(4096);

/** What rows, tiles and blocks take that come so far apart, each encoded once. */
class MeasuredSizes {
  readonly sample: RowBlock;
  readonly rowWeight: number;
  readonly #view: Pick<EstimatedView, 'storages' | 'narrow' | 'wide'>;
  readonly #rowsBytes = new Map<number, number>();
  readonly #narrow: GrowingPartials;
  readonly #wide: GrowingPartials;

  constructor(view: EstimatedView, everyMs: number) {
    this.#view = view;
    this.sample = sampleRows(view, everyMs);
    const leaf = sliceRows(this.sample, 0, LEAF_ROWS);
    this.rowWeight = rowsWeightBytes(leaf, view.storages) / LEAF_ROWS;
    this.#narrow = new GrowingPartials(view.narrow, this.sample);
    this.#wide = new GrowingPartials(view.wide, this.sample);
  }

  /** Bytes of so many rows, which need not be a whole number, one after the other. */
  rows(count: number): number {
    if (count > SAMPLE_ROWS) return (count / SAMPLE_ROWS) * this.rows(SAMPLE_ROWS);
    const below = Math.floor(count);
    return this.#wholeRows(below) + (count - below) * (this.#wholeRows(below + 1) - this.#wholeRows(below));
  }

  #wholeRows(count: number): number {
    return remembered(this.#rowsBytes, Math.min(count, SAMPLE_ROWS), (n) => {
      writer.clear();
      encodeRows(sliceRows(this.sample, 0, n), this.#view.storages, writer);
      return writer.length;
    });
  }

  /** Bytes of a tile. */
  narrow(events: number): number {
    return this.#narrow.bytes(sampled(events));
  }

  /** Bytes of a block. */
  wide(events: number): number {
    return this.#wide.bytes(sampled(events));
  }
}

/** What partials over the first rows of a sample take: as rows are added, so that each is added once. */
class GrowingPartials {
  readonly #set: PartialSet;
  readonly #sample: RowBlock;
  readonly #bytes = new Map<number, number>();
  #rows = 0;

  constructor(partials: EstimatedView['narrow'], sample: RowBlock) {
    this.#set = new PartialSet(partials);
    this.#sample = sample;
  }

  /** @param rows of those that `sampled` gives */
  bytes(rows: number): number {
    while (this.#rows < rows) {
      const next = nextSampled(this.#rows);
      this.#set.addRows(this.#sample, this.#rows, next);
      this.#rows = next;
      this.#bytes.set(next, this.#set.encode().length);
    }
    return this.#bytes.get(rows)!;
  }
}

class Estimator {
  readonly #view: EstimatedView;
  readonly #shape: TileShape;
  readonly #perMs: number;
  readonly #sizes: MeasuredSizes;
  /** By depth, of nodes over their whole interval: [exact, coarse]. */
  readonly #whole: [Map<number, Part>, Map<number, Part>] = [new Map(), new Map()];

  constructor(view: EstimatedView, shape: TileShape, perMs: number, sizes: MeasuredSizes) {
    this.#view = view;
    this.#shape = shape;
    this.#perMs = perMs;
    this.#sizes = sizes;
  }

  state(): StateEstimate {
    const { hasLifetime, wide } = this.#view;
    const { keptMs, places } = this.#places();
    const tree = noPart();
    for (const place of places) addPart(tree, this.#node(0, 0, place), 1 / places.length);
    const events = this.#perMs * keptMs;
    const prefixBytes = hasLifetime ? this.#sizes.narrow(SAMPLE_ROWS) + this.#sizes.wide(SAMPLE_ROWS) : 0;
    return {
      events,
      rows: tree.rows,
      rowBytes: this.#sizes.rows(LEAF_ROWS) / LEAF_ROWS,
      tiles: tree.tiles + (hasLifetime ? 1 : 0),
      tileBytes: this.#sizes.narrow(SAMPLE_ROWS),
      blocks: wide.length === 0 ? 0 : tree.blocks,
      blockBytes: tree.blocks === 0 ? 0 : tree.blockBytes / tree.blocks,
      bytes:
        this.#headBytes() +
        this.#rootBytes() +
        tree.bytes +
        prefixBytes +
        this.#newestBytes(hasLifetime ? Number.POSITIVE_INFINITY : events) +
        this.#idsBytes(),
    };
  }

  /** How far back the tree goes, and where it may lie. */
  #places(): { keptMs: number; places: Place[] } {
    const { resolutionMs, asOfRetentionMs, largestOffsetMs, dedupeHorizonMs } = this.#view;
    const retainedMs = retentionMs(this.#view);
    // Of expiry and coarsening, which go in strides or when there are new events, half is outstanding on average.
    const { foldAfterMs } = DEFAULT_PACING;
    const strideMs = Math.max(foldAfterMs, retainedMs / 16);
    const outstandingMs = Math.min(strideMs, foldAfterMs + 1 / this.#perMs) / 2;
    const keptMs = retainedMs + outstandingMs;
    const exactMs = Math.max(asOfRetentionMs + largestOffsetMs, 2 * dedupeHorizonMs) + outstandingMs;
    const events = this.#perMs * keptMs;
    // What once has split stays so: of some hundred times, the one with the most events (a Poisson distribution).
    const peakMs = keptMs * (1 + 2 / Math.sqrt(Math.max(4, events)));
    const places = Array.from({ length: PLACES }, (_, i) => {
      const toMs = PLACES_FROM_MS + Math.floor((((i + 1) * GOLDEN) % 1) * PLACES_SPAN_MS);
      const fromMs = Math.max(0, toMs - keptMs);
      return {
        fromMs,
        toMs,
        peakMs,
        coarseBeforeMs: resolutionMs === null ? 0 : Math.max(0, toMs - exactMs),
      };
    });
    return { keptMs, places };
  }

  /** With the tail: rows leave it when lateness has passed, a while after the first of them came, or past a number. */
  #headBytes(): number {
    const { storages, latenessMs } = this.#view;
    const tail = tailStorages(storages);
    const rows = this.#perMs * (latenessMs + DEFAULT_PACING.foldAfterMs / 2);
    const tailRows = Math.min(this.#shape.tailRowsMax / 2, rows);
    writer.clear();
    encodeHead({ ...emptyHead(tail), dueMs: PLACES_FROM_MS, floors: new Map([[0, 1e6]]) }, tail, writer);
    return FIELD_OVERHEAD_BYTES + writer.length + this.#sizes.rows(tailRows) + tailRows * POSITION_BYTES;
  }

  /** But for its node and the prefix. */
  #rootBytes(): number {
    const root = emptyRoot(this.#view.storages);
    writer.clear();
    encodeRoot({ ...root, lowMs: PLACES_FROM_MS, fieldBytes: 1e6 }, this.#view.storages, writer, scratch);
    return FIELD_OVERHEAD_BYTES + writer.length;
  }

  #idsBytes(): number {
    const { dedupeHorizonMs, hasEventIds } = this.#view;
    const { recentIdsMax = DEFAULT_TILE_SHAPE.recentIdsMax } = this.#shape;
    const kept = 1 + this.#perMs * dedupeHorizonMs;
    const count = hasEventIds ? Math.min(kept, recentIdsMax) : kept;
    const n = Math.max(1, Math.min(SAMPLE_ROWS, Math.round(count)));
    const ids = RecentIds.empty();
    for (let i = 0; i < n; i++) {
      ids.add(
        { hi: this.#sizes.sample.idHi[i]!, lo: this.#sizes.sample.idLo[i]! },
        this.#sizes.sample.times[i]!,
      );
    }
    writer.clear();
    ids.encode(writer);
    return FIELD_OVERHEAD_BYTES + writer.length * Math.max(1, count / n);
  }

  #newestBytes(events: number): number {
    const { newestRows } = this.#view;
    if (newestRows.length === 0) return 0;
    return newestRows.reduce(
      (sum, spec) => sum + this.#sizes.rows(Math.min(events, keptRows(spec))),
      FIELD_OVERHEAD_BYTES,
    );
  }

  /** A node that starts at a time of the grid; of its interval what the tree holds counts. */
  #node(depth: number, startMs: number, place: Place): Part {
    const { fromMs, toMs, coarseBeforeMs } = place;
    const endMs = depth === 0 ? Number.POSITIVE_INFINITY : startMs + spanMs(depth);
    const coarse = endMs <= coarseBeforeMs;
    const isWhole = fromMs <= startMs && endMs <= toMs && (coarse || startMs >= coarseBeforeMs);
    const known = isWhole ? this.#whole[coarse ? 1 : 0].get(depth) : undefined;
    if (known !== undefined) return known;
    const part = this.#newNode(depth, startMs, Math.min(endMs, toMs), place);
    if (isWhole) this.#whole[coarse ? 1 : 0].set(depth, part);
    return part;
  }

  #newNode(depth: number, startMs: number, endMs: number, place: Place): Part {
    const rows = this.#perMs * (endMs - Math.max(startMs, place.fromMs));
    // A node that has once been too large for a leaf has children, however few rows are left of it.
    const peakFromMs = Math.max(startMs, endMs - place.peakMs);
    const weight = this.#sizes.rowWeight * this.#perMs * (endMs - peakFromMs);
    if (depth === DEPTH_MAX || weight <= this.#shape.leafBytesMax) {
      return { ...noPart(), rows, bytes: NODE_BYTES + this.#sizes.rows(rows) };
    }
    const children = this.#children(depth + 1, peakFromMs, endMs, place);
    const part = { ...noPart(), bytes: NODE_BYTES };
    for (const child of children) addPart(part, this.#child(depth + 1, child, place));
    this.#addBlocks(part, depth + 1, children);
    return part;
  }

  /** What is there of a node's children, and which of them have gone to a field of their own. */
  #children(depth: number, fromMs: number, toMs: number, place: Place): PlannedChild[] {
    const span = spanMs(depth);
    const children: PlannedChild[] = [];
    let total = 0;
    for (let bucket = Math.floor(fromMs / span); bucket * span < toMs; bucket++) {
      const startMs = bucket * span;
      const endMs = Math.min(startMs + span, toMs);
      const weight = this.#sizes.rowWeight * this.#perMs * (endMs - startMs);
      const events = this.#perMs * Math.max(0, endMs - Math.max(startMs, place.fromMs));
      children.push({ bucket, endMs: startMs + span, weight, events, spilled: false });
      total += weight;
    }
    const order = (bucket: number): number => SPILL_ORDER[bucket % SPILL_ORDER.length]!;
    const heaviestFirst = [...children].sort(
      (a, b) => b.weight - a.weight || order(a.bucket) - order(b.bucket) || a.bucket - b.bucket,
    );
    heaviestFirst.forEach((child, rank) => {
      // Numbers of events scatter by their square root, and it is the heaviest that go.
      const scatter =
        NORMAL_ORDER[rank % NORMAL_ORDER.length]! * Math.sqrt(child.weight * this.#sizes.rowWeight);
      const weight = Math.max(0, child.weight + scatter);
      if (!mustSpill(this.#shape, total, weight)) return;
      child.spilled = true;
      total -= weight;
    });
    return children.filter(({ events }) => events > 0);
  }

  /** Of a child: what its parent's node has of it, and the fields below. */
  #child(depth: number, child: PlannedChild, place: Place): Part {
    const { events } = child;
    // Where there is less than one event to a child, some have none.
    const present = 1 - Math.exp(-events);
    if (this.#isCollapsed(depth, child, place)) {
      child.spilled = true;
      const part = { ...noPart(), tiles: 1, bytes: CHILD_BYTES + this.#sizes.narrow(events) };
      if (this.#view.wide.length > 0) addBlock(part, this.#sizes.wide(events));
      return part;
    }
    if (!child.spilled) {
      return {
        ...noPart(),
        rows: events,
        bytes: present * (CHILD_BYTES + this.#sizes.rows(events / present)),
      };
    }
    const part = {
      ...noPart(),
      tiles: 1,
      bytes: CHILD_BYTES + this.#sizes.narrow(events) + FIELD_OVERHEAD_BYTES,
    };
    addPart(part, this.#node(depth, child.bucket * spanMs(depth), place));
    return part;
  }

  /** A child with so few rows that they take less than what would stand for them stays as it is. */
  #isCollapsed(depth: number, { events, endMs, spilled }: PlannedChild, place: Place): boolean {
    if (endMs > place.coarseBeforeMs || spanMs(depth) > this.#view.resolutionMs!) return false;
    return (
      spilled || this.#sizes.narrow(events) + 2 * this.#sizes.wide(events) < events * this.#sizes.rowWeight
    );
  }

  /** The blocks over the children of one node that are not rows in it. */
  #addBlocks(part: Part, depth: number, children: readonly PlannedChild[]): void {
    if (this.#view.wide.length === 0) return;
    const { first, last } = blockLevels(depth);
    for (let level = first; level <= last; level++) {
      const events = new Map<number, number>();
      for (const child of children) {
        if (!child.spilled) continue;
        const index = blockAbove(first, child.bucket, level);
        events.set(index, (events.get(index) ?? 0) + child.events);
      }
      for (const inBlock of events.values()) addBlock(part, this.#sizes.wide(inBlock));
    }
  }
}

function noPart(): Part {
  return { rows: 0, tiles: 0, blocks: 0, blockBytes: 0, bytes: 0 };
}

function addPart(to: Part, part: Part, share = 1): void {
  to.rows += share * part.rows;
  to.tiles += share * part.tiles;
  to.blocks += share * part.blocks;
  to.blockBytes += share * part.blockBytes;
  to.bytes += share * part.bytes;
}

function addBlock(to: Part, bytes: number): void {
  to.blocks++;
  to.blockBytes += bytes;
  to.bytes += FIELD_OVERHEAD_BYTES + bytes;
}

/** For how many rows partials are made: one in sixteen away at most, so that there are not too many of them. */
function sampled(events: number): number {
  const rows = Math.max(1, Math.min(SAMPLE_ROWS, Math.round(events)));
  const step = 2 ** Math.max(0, Math.floor(Math.log2(rows)) - 3);
  return Math.min(SAMPLE_ROWS, Math.round(rows / step) * step);
}

/** The least that `sampled` gives above a number. */
function nextSampled(rows: number): number {
  let next = rows + 1;
  while (sampled(next) <= rows || sampled(next) !== next) next++;
  return next;
}

function remembered(known: Map<number, number>, n: number, make: (n: number) => number): number {
  let bytes = known.get(n);
  if (bytes === undefined) {
    bytes = make(n);
    known.set(n, bytes);
  }
  return bytes;
}

/** Made-up rows, the same for the same columns. */
function sampleRows({ source, columns }: EstimatedView, everyMs: number): RowBlock {
  const rows = allocateRows(
    SAMPLE_ROWS,
    columns.map(({ storage }) => storage),
  );
  let seed = 1;
  // xorshift: what is made up must not compress better than real values.
  const random = (): number => {
    seed ^= seed << 13;
    seed ^= seed >>> 17;
    seed ^= seed << 5;
    return (seed >>> 0) / 2 ** 32;
  };
  const nextId = sampleIds(source, random);
  // As late as today, so that times take as many bytes as they will; as far back as there is room for.
  const startMs = Math.max(0, 1.8e12 - everyMs * SAMPLE_ROWS);
  for (let i = 0; i < SAMPLE_ROWS; i++) {
    rows.times[i] = Math.floor(startMs + i * everyMs);
    const { hi, lo } = nextId();
    rows.idHi[i] = hi;
    rows.idLo[i] = lo;
    /** Of the column before: its hash, where that is kept as well, is of the same value. */
    let before: { readonly name: string; readonly value: string | number } | null = null;
    columns.forEach((column, c) => {
      const value: string | number =
        before?.name === column.name ? before.value : sampleValue(column, rows.times[i]!, random);
      before = { name: column.name, value };
      setValue(rows, c, i, column.need === 'hash' ? hash53(String(value)) : value);
    });
  }
  return rows;
}

/** Whether event ids are taken to ascend with their events: integers. */
export function hasAscendingIds({ eventId, columns }: EstimatedView['source']): boolean {
  const type = eventId === null ? null : columns[eventId]!.type;
  return type === 'integer' || type === 'long';
}

/** Ids of the source's type: integers ascend with gaps, as other keys have events as well; others may lie anywhere. */
function sampleIds(source: EstimatedView['source'], random: () => number): () => EventId {
  if (!hasAscendingIds(source)) {
    return () => ({ hi: Math.floor(random() * 2 ** 32), lo: Math.floor(random() * 2 ** 32) });
  }
  let id = 1e9;
  return () => {
    id += 1 + Math.floor(random() * 2 * ID_GAP);
    return integerEventId(id);
  };
}

function sampleValue({ type }: StoredColumn, timeMs: number, random: () => number): string | number {
  if (type === 'string') return String(Math.floor(random() * TEXT_VALUES)).padEnd(TEXT_CHARS, 'x');
  if (type === 'boolean') return random() < 0.5 ? 0 : 1;
  if (type === 'timestamp') return Math.max(0, timeMs - Math.floor(random() * DAY_MS));
  const number = Math.floor(random() * NUMBER_VALUES);
  return type === 'double' ? number / 100 : number;
}
