/**
 * The events of one key in memory, appended in the total order of C3, for values as of one moment after another: what
 * windows are evaluated over offline. Between the edges of a window lie tiles of 32 rows, of 8 such tiles, and so on, so
 * that a window of n rows costs O(log n), however dense the key.
 *
 * Tiles are counted in rows and not in time, as nothing is inserted later. One is made when it is needed for the second
 * time: where a key is asked about once, it would only be more work.
 *
 * Rows that no window reaches any more are dropped, so that memory follows the longest window and not the history. What
 * is left of them is the prefix, for lifetime windows, and the newest ones, for windows of last events.
 */
import { compareEventIds, type EventId } from '../event-id.ts';
import { addNewestRows, type NewestRows, noNewestRows, rowsThatMeet } from './newest-rows.ts';
import { PartialSet } from './partial-set.ts';
import {
  allocateRows,
  copyRow,
  mergeRows,
  pickRows,
  type RowBlock,
  setValue,
  sliceRows,
} from './row-block.ts';
import type { TileView } from './tile-view.ts';
import type { NewestRowsAnswer, NewestRowsQuestion, TieLimit, WindowSource } from './window-source.ts';

/** Rows of a tile of each level. Rows are dropped in whole tiles of the last one, so that those behind them stay whole. */
export const TILE_ROWS: readonly number[] = [32, 256, 2_048, 16_384];
const CAPACITY_MIN = 64;

/** Never needed; needed once, and not made; its bytes. */
type Tile = undefined | null | Uint8Array;

/** Tiles of the narrow or of the wide partials of a view, by level. */
class RowTiles {
  readonly #sizes: readonly number[];
  readonly #scratch: readonly PartialSet[];
  readonly #levels: readonly Tile[][];
  #used = false;

  constructor(partials: TileView['partials'], sizes: readonly number[]) {
    this.#sizes = sizes;
    this.#scratch = sizes.map(() => new PartialSet(partials));
    this.#levels = sizes.map(() => []);
  }

  clear(): void {
    if (!this.#used) return;
    for (const level of this.#levels) level.length = 0;
    this.#used = false;
  }

  /** Forgets the tiles of the oldest rows. @param count a multiple of the largest tile */
  drop(count: number): void {
    this.#levels.forEach((level, l) => {
      level.splice(0, count / this.#sizes[l]!);
    });
  }

  /** Adds the rows from ≤ i < to, newest first. */
  add(rows: RowBlock, from: number, to: number, into: PartialSet): void {
    const first = this.#sizes[0]!;
    let end = to;
    while (end > from) {
      const level = this.#largestTile(from, end);
      const start = level < 0 ? Math.max(from, end - 1 - ((end - 1) % first)) : end - this.#sizes[level]!;
      if (level < 0) into.addRows(rows, start, end);
      else this.#addTile(rows, level, start, into);
      end = start;
    }
  }

  #addTile(rows: RowBlock, level: number, start: number, into: PartialSet): void {
    this.#used = true;
    const index = start / this.#sizes[level]!;
    const tiles = this.#levels[level]!;
    let tile = tiles[index];
    if (tile === undefined) {
      tiles[index] = null;
      this.#addParts(rows, level, start, into);
      return;
    }
    if (tile === null) {
      const parts = this.#scratch[level]!;
      parts.clear();
      this.#addParts(rows, level, start, parts);
      tile = parts.encode();
      tiles[index] = tile;
    }
    into.absorb(tile);
  }

  /** Adds a tile's rows by the tiles of the level below, newest first. */
  #addParts(rows: RowBlock, level: number, start: number, into: PartialSet): void {
    const end = start + this.#sizes[level]!;
    if (level === 0) {
      into.addRows(rows, start, end);
      return;
    }
    const size = this.#sizes[level - 1]!;
    for (let part = end - size; part >= start; part -= size) this.#addTile(rows, level - 1, part, into);
  }

  /** Level of the largest tile that ends at `end` and begins no earlier than `from`; −1: there is none. */
  #largestTile(from: number, end: number): number {
    let level = 0;
    for (const size of this.#sizes) {
      if (end % size !== 0 || end - size < from) break;
      level++;
    }
    return level - 1;
  }
}

export class KeyHistory implements WindowSource {
  readonly #view: TileView;
  readonly #reachMs: number;
  readonly #droppedAtOnce: number;
  /** With room behind the last one. */
  #rows: RowBlock;
  #length = 0;
  readonly #narrow: RowTiles;
  readonly #wide: RowTiles;
  /** What is left of rows that were dropped; null: none were. */
  #dropped: { readonly narrow: PartialSet; readonly wide: PartialSet; rowCount: number } | null = null;
  #newestDropped: readonly NewestRows[];

  rowCount = 0;
  readonly widenedToMs = null;
  readonly lowMs = 0;
  readonly sequencesFromMs = 0;

  /**
   * @param reachMs rows with time ≤ T − reachMs may be dropped once no as-of time before T will be asked for: none of
   *   them lies in a window with an old edge, and all of them in every lifetime window
   * @param tileRows ascending, each a multiple of the one before
   */
  constructor(view: TileView, reachMs: number, tileRows = TILE_ROWS) {
    this.#view = view;
    this.#reachMs = reachMs;
    this.#droppedAtOnce = tileRows.at(-1)!;
    this.#rows = allocateRows(CAPACITY_MIN, view.storages);
    this.#narrow = new RowTiles(view.narrow, tileRows);
    this.#wide = new RowTiles(view.wide, tileRows);
    this.#newestDropped = noNewestRows(view.newestRows, view.storages);
  }

  /** Rows in memory. */
  get length(): number {
    return this.#length;
  }

  /** On to another key. */
  clear(): void {
    this.#length = 0;
    this.#narrow.clear();
    this.#wide.clear();
    if (this.#dropped === null) return;
    this.#dropped = null;
    this.#newestDropped = noNewestRows(this.#view.newestRows, this.#view.storages);
  }

  /**
   * Appends a row behind all others.
   * @param values as `CompiledView.project` gives them
   */
  append(timeMs: number, id: EventId, values: readonly (number | bigint | string | null)[]): void {
    const i = this.#length++;
    if (i === this.#rows.length) this.#grow();
    const rows = this.#rows;
    rows.times[i] = timeMs;
    rows.idHi[i] = id.hi;
    rows.idLo[i] = id.lo;
    for (let c = 0; c < values.length; c++) setValue(rows, c, i, values[c]!);
  }

  /** Drops rows that no as-of time ≥ `atMs` needs, where they are many. */
  moveTo(atMs: number): void {
    const atOnce = this.#droppedAtOnce;
    if (this.#length < 2 * atOnce) return;
    const free = this.#firstFrom(atMs - this.#reachMs + 1);
    if (free >= atOnce && free >= this.#length / 2) this.#drop(free - (free % atOnce));
  }

  #drop(count: number): void {
    const { narrow, wide, newestRows, storages } = this.#view;
    this.#dropped ??= { narrow: new PartialSet(narrow), wide: new PartialSet(wide), rowCount: 0 };
    // No partial of a view with lifetime windows is an ordered one; without them nobody asks for the prefix.
    if (this.#view.hasLifetime) {
      this.#narrow.add(this.#rows, 0, count, this.#dropped.narrow);
      this.#wide.add(this.#rows, 0, count, this.#dropped.wide);
      this.#dropped.rowCount += count;
    }
    if (newestRows.length > 0) {
      const old = sliceRows(this.#rows, 0, count);
      newestRows.forEach((spec, s) => {
        addNewestRows(this.#newestDropped[s]!, old, spec, storages);
      });
    }
    this.#narrow.drop(count);
    this.#wide.drop(count);
    const { times, idHi, idLo, columns } = this.#rows;
    for (const column of [times, idHi, idLo, ...columns]) column.copyWithin(0, count, this.#length);
    this.#length -= count;
  }

  #grow(): void {
    const { length } = this.#rows;
    const grown = allocateRows(2 * length, this.#view.storages);
    for (let i = 0; i < length; i++) copyRow(this.#rows, i, grown, i);
    this.#rows = grown;
  }

  /** Index of the first row with time ≥ `timeMs`. */
  #firstFrom(timeMs: number): number {
    const { times } = this.#rows;
    let low = 0;
    let high = this.#length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (times[middle]! < timeMs) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** Index of the first row behind an event. */
  #firstBehind(timeMs: number, id: EventId): number {
    const { idHi, idLo } = this.#rows;
    let i = this.#firstFrom(timeMs);
    const end = this.#firstFrom(timeMs + 1);
    while (i < end && compareEventIds({ hi: idHi[i]!, lo: idLo[i]! }, id) <= 0) i++;
    return i;
  }

  #add(from: number, to: number, into: PartialSet): void {
    if (from >= to) return;
    this.#narrow.add(this.#rows, from, to, into);
    this.rowCount += to - from;
  }

  resetCounts(): void {
    this.rowCount = 0;
  }

  collapsedAt(): null {
    return null;
  }

  widen(lo: number): number {
    return lo;
  }

  addPrefix(narrow: PartialSet, wide: PartialSet): void {
    if (this.#dropped === null) return;
    narrow.merge(this.#dropped.narrow);
    wide.merge(this.#dropped.wide);
    this.rowCount += this.#dropped.rowCount;
  }

  addRange(lo: number, hi: number, tie: TieLimit | null, into: PartialSet): void {
    if (lo >= hi) return;
    const [from, to] = [this.#firstFrom(lo), this.#firstFrom(hi)];
    if (tie === null || tie.timeMs < lo || tie.timeMs >= hi) {
      this.#add(from, to, into);
      return;
    }
    this.#add(this.#firstFrom(tie.timeMs + 1), to, into);
    this.#add(from, this.#firstBehind(tie.timeMs, tie.last), into);
  }

  addRangeWith(extra: RowBlock, lo: number, hi: number, tie: TieLimit | null, into: PartialSet): void {
    const timeMs = extra.times[0]!;
    const place = this.#firstBehind(timeMs, { hi: extra.idHi[0]!, lo: extra.idLo[0]! });
    this.addRange(timeMs + 1, hi, tie, into);
    if (tie?.timeMs !== timeMs) this.#add(place, this.#firstFrom(timeMs + 1), into);
    into.addRows(extra, 0, 1);
    this.rowCount += 1;
    this.#add(this.#firstFrom(timeMs), place, into);
    this.addRange(lo, timeMs, tie, into);
  }

  addWide(lo: number, hi: number, _blocksToMs: number, into: PartialSet): number {
    if (lo < hi) this.#wide.add(this.#rows, this.#firstFrom(lo), this.#firstFrom(hi), into);
    return lo;
  }

  addWideTie({ timeMs, last }: TieLimit, into: PartialSet): void {
    this.#wide.add(this.#rows, this.#firstFrom(timeMs), this.#firstBehind(timeMs, last), into);
  }

  newestRows({ index, count, fromMs, toMs, tie, extra }: NewestRowsQuestion): NewestRowsAnswer {
    const { newestRows, storages } = this.#view;
    const { condition } = newestRows[index]!;
    const from = fromMs === null ? 0 : this.#firstFrom(fromMs + 1);
    const to = tie?.timeMs === toMs ? this.#firstBehind(toMs, tie.last) : this.#firstFrom(toMs + 1);
    const met = condition < 0 ? null : (this.#rows.columns[condition] as Float64Array);
    const chosen: number[] = [];
    for (let i = to - 1; i >= from && chosen.length < count; i--) {
      if (met === null || met[i] === 1) chosen.push(i);
    }
    let rows = pickRows(this.#rows, chosen.reverse(), storages);
    // Rows that were dropped are older than these, and lie in no window that has an old edge.
    if (fromMs === null && rows.length < count)
      rows = mergeRows(this.#newestDropped[index]!.rows, rows, storages);
    if (extra !== null) rows = mergeRows(rows, rowsThatMeet(extra, condition, storages), storages);
    return { rows: sliceRows(rows, Math.max(0, rows.length - count), rows.length), reachesMs: null };
  }
}
