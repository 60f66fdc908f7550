/**
 * What the state of one key will take, given how often the key has an event: for `millrace validate`.
 *
 * Events are taken to come evenly, and to have made-up values of the columns' types; rows, tiles and ids are encoded as
 * they would be, so that their sizes are measured and not guessed. What comes in bursts has a deeper tree and takes
 * somewhat more; values that repeat or are null take less.
 */
import { ByteWriter } from '../bytes.ts';
import type { CompiledView, StoredColumn } from '../definitions/compiled.ts';
import { FIELD_OVERHEAD_BYTES } from './field-size.ts';
import { DEPTH_MAX, spanMs } from './grid.ts';
import { keptRows } from './newest-rows.ts';
import { PartialSet } from './partial-set.ts';
import { RecentIds } from './recent-ids.ts';
import { allocateRows, encodeRows, type RowBlock, rowsWeightBytes, sliceRows } from './row-block.ts';
import { retentionMs } from './state-update.ts';
import type { TileShape } from './tile-shape.ts';

export const DAY_MS = 86_400_000;

/** Length that texts are taken to have. */
export const TEXT_CHARS = 16;

/** Distinct values that texts are taken to have. */
const TEXT_VALUES = 100;

/** Rows that are made up: a tile over more is taken to be as large as one over these. */
const SAMPLE_ROWS = 2_000;
/** A leaf is about as large. */
const LEAF_ROWS = 100;

/** Bytes of a child in an inner node besides its rows or tile. */
const CHILD_BYTES = 5;

/** What of a view can be asked for otherwise than it is, for comparison. */
export type EstimatedView = Pick<
  CompiledView,
  | 'columns'
  | 'storages'
  | 'partials'
  | 'newestRows'
  | 'longestWindowMs'
  | 'largestOffsetMs'
  | 'lifetimeOffsetMs'
  | 'asOfRetentionMs'
  | 'resolutionMs'
  | 'hasLifetime'
  | 'dedupeHorizonMs'
>;

export interface StateEstimate {
  /** Events that a key's state stands for. */
  readonly events: number;
  /** Of these, kept as rows: all but those merged for `resolution`. */
  readonly rows: number;
  /** Of a row within a leaf, bytes. */
  readonly rowBytes: number;
  /** Tiles that are kept. */
  readonly tiles: number;
  /** Of a tile over many rows, bytes. */
  readonly tileBytes: number;
  /** Bytes of the state without a bound, as `maxStateBytes` counts them. */
  readonly bytes: number;
}

/**
 * @param eventsPerDay how many events a key has on a day, > 0
 * @throws RangeError where it is not a positive number
 */
export function estimateState(view: EstimatedView, shape: TileShape, eventsPerDay: number): StateEstimate {
  if (!(eventsPerDay > 0 && eventsPerDay < Number.POSITIVE_INFINITY))
    throw new RangeError(`${eventsPerDay} is no number of events per day`);
  return new Estimator(view, shape, eventsPerDay / DAY_MS).state();
}

/** A stretch of time within the tree. */
interface Part {
  rows: number;
  tiles: number;
  bytes: number;
}

const writer = new ByteWriter(4096);

class Estimator {
  readonly #view: EstimatedView;
  readonly #shape: TileShape;
  readonly #perMs: number;
  readonly #sample: RowBlock;
  readonly #rowBytes: number;
  readonly #rowWeight: number;
  readonly #tileBytes = new Map<number, number>();

  constructor(view: EstimatedView, shape: TileShape, perMs: number) {
    this.#view = view;
    this.#shape = shape;
    this.#perMs = perMs;
    this.#sample = sampleRows(view.columns, 1 / perMs);
    const leaf = sliceRows(this.#sample, 0, LEAF_ROWS);
    writer.clear();
    encodeRows(leaf, view.storages, writer);
    this.#rowBytes = writer.finish().length / LEAF_ROWS;
    this.#rowWeight = rowsWeightBytes(leaf, view.storages) / LEAF_ROWS;
  }

  state(): StateEstimate {
    const view = this.#view;
    const keptMs = retentionMs(view);
    // Expiry and coarsening go in strides, of which half is outstanding on average.
    const outstandingMs = keptMs / 32;
    const exactMs = Math.min(
      keptMs,
      view.resolutionMs === null
        ? Number.POSITIVE_INFINITY
        : Math.max(view.asOfRetentionMs + view.largestOffsetMs, 2 * view.dedupeHorizonMs),
    );
    const rows = this.#part(exactMs + outstandingMs, null);
    const coarse = this.#part(keptMs - exactMs, view.resolutionMs);
    const prefixBytes = view.hasLifetime ? this.#tile(SAMPLE_ROWS) : 0;
    const tailRows = Math.min(this.#shape.tailRowsMax / 2, rows.rows);
    const events = this.#perMs * (keptMs + outstandingMs);
    return {
      events,
      rows: rows.rows + coarse.rows,
      rowBytes: this.#rowBytes,
      tiles: rows.tiles + coarse.tiles + (view.hasLifetime ? 1 : 0),
      tileBytes: this.#tile(SAMPLE_ROWS),
      bytes:
        // Root and head.
        2 * FIELD_OVERHEAD_BYTES +
        rows.bytes +
        coarse.bytes +
        prefixBytes +
        this.#newestBytes(view.hasLifetime ? Number.POSITIVE_INFINITY : events) +
        this.#idsBytes() +
        tailRows * (this.#rowBytes + CHILD_BYTES),
    };
  }

  #idsBytes(): number {
    const ids = RecentIds.empty();
    for (let i = 0; i < LEAF_ROWS; i++) {
      ids.add({ hi: this.#sample.idHi[i]!, lo: this.#sample.idLo[i]! }, this.#sample.times[i]!);
    }
    writer.clear();
    ids.encode(writer);
    const perId = writer.finish().length / LEAF_ROWS;
    return FIELD_OVERHEAD_BYTES + perId * (1 + this.#perMs * this.#view.dedupeHorizonMs);
  }

  #newestBytes(events: number): number {
    const { newestRows } = this.#view;
    if (newestRows.length === 0) return 0;
    const rows = newestRows.reduce((sum, spec) => sum + Math.min(events, keptRows(spec)), 0);
    return FIELD_OVERHEAD_BYTES + rows * this.#rowBytes;
  }

  /** A stretch of this length, below the root. @param resolutionMs null: every row is kept */
  #part(lengthMs: number, resolutionMs: number | null): Part {
    if (lengthMs <= 0) return { rows: 0, tiles: 0, bytes: 0 };
    return this.#node(0, lengthMs, resolutionMs);
  }

  /** A node over events of this length of time; its bytes are its own content and all fields below it. */
  #node(depth: number, lengthMs: number, resolutionMs: number | null): Part {
    const rows = this.#perMs * lengthMs;
    const { leafBytesMax } = this.#shape;
    if (depth === DEPTH_MAX || rows * this.#rowWeight <= leafBytesMax) {
      return { rows, tiles: 0, bytes: rows * this.#rowBytes };
    }
    const span = spanMs(depth + 1);
    const childMs = Math.min(span, lengthMs);
    const childRows = this.#perMs * childMs;
    const children = lengthMs / childMs;
    const tileBytes = this.#tile(childRows) + CHILD_BYTES;
    if (resolutionMs !== null && span <= resolutionMs) {
      // A child with so few rows that they take less than their tile stays as it is.
      if (childRows * this.#rowBytes <= tileBytes)
        return { rows, tiles: 0, bytes: rows * this.#rowBytes + Math.min(children, rows) * CHILD_BYTES };
      return { rows: 0, tiles: children, bytes: children * tileBytes };
    }
    const inline = Math.min(children, Math.floor(leafBytesMax / (childRows * this.#rowWeight)));
    const nodes = children - inline;
    const child = this.#node(depth + 1, childMs, resolutionMs);
    return {
      rows: inline * childRows + nodes * child.rows,
      tiles: nodes * (1 + child.tiles),
      bytes:
        inline * (childRows * this.#rowBytes + CHILD_BYTES) +
        nodes * (tileBytes + FIELD_OVERHEAD_BYTES + child.bytes),
    };
  }

  #tile(rows: number): number {
    const n = Math.max(1, Math.min(SAMPLE_ROWS, Math.round(rows)));
    let bytes = this.#tileBytes.get(n);
    if (bytes === undefined) {
      const set = new PartialSet(this.#view.partials);
      set.addRows(this.#sample, 0, n);
      bytes = set.encode().length;
      this.#tileBytes.set(n, bytes);
    }
    return bytes;
  }
}

/** Made-up rows, the same for the same columns. */
function sampleRows(columns: readonly StoredColumn[], everyMs: number): RowBlock {
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
  // As late as today, so that times take as many bytes as they will; as far back as there is room for.
  const startMs = Math.max(0, 1.8e12 - everyMs * SAMPLE_ROWS);
  for (let i = 0; i < SAMPLE_ROWS; i++) {
    rows.times[i] = Math.floor(startMs + i * everyMs);
    rows.idHi[i] = random() * 2 ** 32;
    rows.idLo[i] = random() * 2 ** 32;
    columns.forEach((column, c) => {
      rows.columns[c]![i] = sampleValue(column, rows.times[i]!, random);
    });
  }
  return rows;
}

function sampleValue(
  { type, need, storage }: StoredColumn,
  timeMs: number,
  random: () => number,
): string | number {
  // Only told apart: a 53-bit hash.
  if (need === 'hash') return Math.floor(random() * 2 ** 32) * 2 ** 21;
  if (storage === 'text') {
    return String(Math.floor(random() * TEXT_VALUES)).padEnd(TEXT_CHARS, 'x');
  }
  if (type === 'boolean') return random() < 0.5 ? 0 : 1;
  if (type === 'timestamp') return Math.max(0, timeMs - Math.floor(random() * DAY_MS));
  if (type === 'double') return Math.floor(random() * 10_000) / 100;
  return Math.floor(random() * 10_000);
}
