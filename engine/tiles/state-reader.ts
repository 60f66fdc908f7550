/**
 * Adds the rows of a stretch of event time to partial aggregates, from the fields of one state as they were
 * read: whole tiles where a node lies inside the stretch, rows at its edges.
 *
 * A stretch is lo ≤ time < hi. Nodes are parsed once per state and only as far as they are needed.
 *
 * Stretches come newest first, and within one everything is added newest first too, as ordered partials need it: the
 * rows of the tail, which are behind every row of the tree where a view has such partials, then the tree from its
 * last child to its first. Others take what is added in any order.
 */
import { ByteReader, CorruptBytesError } from '../bytes.ts';
import type { EventId } from '../event-id.ts';
import type { FieldName } from '../store/tile-store.ts';
import { bucketOf, NEWEST_FIELD, nodeField, ROOT_FIELD, spanMs } from './grid.ts';
import { decodeHead, emptyHead, type Head } from './head.ts';
import { decodeNewestRows, type NewestRows, rowsThatMeet } from './newest-rows.ts';
import { decodeRootHeader, emptyRootHeader, type Root } from './node.ts';
import type { PartialSet } from './partial-set.ts';
import {
  type ColumnStorage,
  compareRows,
  containsRow,
  decodeRows,
  emptyRows,
  firstBehind,
  lowerBound,
  mergeRows,
  type RowBlock,
  sliceRows,
} from './row-block.ts';
import type { TileView } from './tile-view.ts';
import { type BlockPlace, isBlockBetween, placeOfField } from './wide-blocks.ts';
import type { NewestRowsAnswer, NewestRowsQuestion, TieLimit, WindowSource } from './window-source.ts';

const LEAF = 0;
const INNER = 1;
const INLINE = 0;
const NODE = 1;
const COLLAPSED = 2;

interface ParsedInner {
  readonly rows: null;
  readonly bytes: Uint8Array;
  readonly buckets: number[];
  readonly kinds: number[];
  readonly rowCounts: number[];
  readonly starts: number[];
  readonly ends: number[];
  /** Inline rows, decoded when first met. */
  readonly inline: (RowBlock | undefined)[];
}

type ParsedNode = { readonly rows: RowBlock } | ParsedInner;

/** The fields that were read, by name: null where absent, undefined where it was not asked for. */
export interface FieldBytes {
  get(field: FieldName): Uint8Array | null | undefined;
  forEachPresent(visit: (bytes: Uint8Array, field: FieldName) => void): void;
}

interface PresentBlock extends BlockPlace {
  readonly bytes: Uint8Array;
}

/** Ids of one millisecond: after < id ≤ last, each where it is not null. */
interface IdRange {
  readonly after: EventId | null;
  readonly last: EventId | null;
}

interface WideRange {
  readonly lo: number;
  readonly hi: number;
  /** The newer of the two edges between which blocks are taken: ≤ hi. */
  readonly blocksToMs: number;
  readonly ids: IdRange | null;
}

export class StateReader implements WindowSource {
  readonly #view: Pick<TileView, 'storages' | 'newestRows'>;
  readonly #storages: readonly ColumnStorage[];
  readonly #fields: FieldBytes;
  readonly #parsed = new Map<FieldName, ParsedNode>();
  readonly #rootNode: ParsedNode | null;
  #parsedNewest: readonly NewestRows[] | null = null;
  #presentBlocks: readonly PresentBlock[] | null = null;
  readonly head: Head;
  readonly rootHeader: Omit<Root, 'node'>;

  /** Rows added since the last reset, nulls included. */
  rowCount = 0;
  /** Older end of the oldest collapsed tile that straddled `lo` and was counted whole; null: none did. */
  widenedToMs: number | null = null;

  constructor(
    view: Pick<TileView, 'storages' | 'newestRows'>,
    tail: readonly ColumnStorage[],
    head: Uint8Array | null,
    fields: FieldBytes,
  ) {
    this.#view = view;
    this.#storages = view.storages;
    this.#fields = fields;
    this.head = head === null ? emptyHead(tail) : decodeHead(new ByteReader(head), tail);
    const root = fields.get(ROOT_FIELD) ?? null;
    if (root === null) {
      this.rootHeader = emptyRootHeader();
      this.#rootNode = null;
    } else {
      const reader = new ByteReader(root);
      this.rootHeader = decodeRootHeader(reader);
      this.#rootNode = this.#parse(root, reader);
    }
  }

  get lowMs(): number {
    return this.rootHeader.lowMs;
  }

  resetCounts(): void {
    this.rowCount = 0;
    this.widenedToMs = null;
  }

  /** Whether the event is among the rows; its path of fields must have been read. */
  contains(timeMs: number, id: EventId): boolean {
    if (containsRow(this.head.tail, timeMs, id)) return true;
    if (this.#newest.some(({ rows }) => containsRow(rows, timeMs, id))) return true;
    let node = this.#rootNode;
    for (let depth = 0; node !== null; depth++) {
      if (node.rows !== null) return containsRow(node.rows, timeMs, id);
      const at = node.buckets.indexOf(bucketOf(depth + 1, timeMs));
      if (at < 0) return false;
      if (node.kinds[at] === INLINE) return containsRow(this.#inlineRows(node, at), timeMs, id);
      if (node.kinds[at] !== NODE) return false;
      node = this.#child(depth + 1, node.buckets[at]!);
    }
    return false;
  }

  /**
   * The newest `count` rows with fromMs < time ≤ toMs that meet the condition of the view's `index`-th newest rows, the
   * extra row among them if it does; ties as in `addRange`. Where older ones should count that were given up, those with time > `reachesMs`; else it is null.
   */
  newestRows({ index, count, fromMs, toMs, tie, extra }: NewestRowsQuestion): NewestRowsAnswer {
    const storages = this.#storages;
    const { condition } = this.#view.newestRows[index]!;
    const remembered = this.#newest[index] ?? { rows: emptyRows(storages), dropped: false };
    const { tail } = this.head;
    const own = { ...tail, columns: tail.columns.slice(0, storages.length) };
    let rows = mergeRows(remembered.rows, rowsThatMeet(own, condition, storages), storages);
    if (extra !== null) rows = mergeRows(rows, rowsThatMeet(extra, condition, storages), storages);
    let to = lowerBound(rows, toMs + 1);
    if (tie !== null && tie.timeMs === toMs) to = firstBehind(rows, toMs, tie.last);
    const edge = fromMs === null ? 0 : lowerBound(rows, fromMs + 1);
    // Where rows were given up, nothing older than those remembered can be told to be among the newest.
    const known = remembered.dropped ? firstAt(rows, remembered.rows) : 0;
    // A remembered row before the window will do as well: what was given up is older still.
    if (!remembered.dropped || to - count >= known || edge > known) {
      return { rows: sliceRows(rows, Math.min(to, Math.max(edge, to - count)), to), reachesMs: null };
    }
    // Of the millisecond of the oldest row remembered some may have been given up.
    const reachesMs = Math.min(toMs, remembered.rows.times[0] ?? toMs);
    return { rows: sliceRows(rows, Math.min(to, lowerBound(rows, reachesMs + 1)), to), reachesMs };
  }

  get #blocks(): readonly PresentBlock[] {
    if (this.#presentBlocks === null) {
      const blocks: PresentBlock[] = [];
      this.#fields.forEachPresent((bytes, field) => {
        const place = placeOfField(field);
        if (place !== null) blocks.push({ ...place, bytes });
      });
      this.#presentBlocks = blocks;
    }
    return this.#presentBlocks;
  }

  get #newest(): readonly NewestRows[] {
    if (this.#parsedNewest === null) {
      const bytes = this.#fields.get(NEWEST_FIELD) ?? null;
      this.#parsedNewest =
        bytes === null ? [] : decodeNewestRows(new ByteReader(bytes), this.#view.newestRows, this.#storages);
    }
    return this.#parsedNewest;
  }

  /**
   * The stretch startMs ≤ time < endMs of the collapsed tile that a time lies in, whose rows cannot be told apart any
   * more; null where it lies in none. The path of the time must have been read.
   */
  collapsedAt(timeMs: number): { readonly startMs: number; readonly endMs: number } | null {
    let node = this.#rootNode;
    for (let depth = 1; node !== null && node.rows === null; depth++) {
      const bucket = bucketOf(depth, timeMs);
      const at = node.buckets.indexOf(bucket);
      if (at < 0 || node.kinds[at] === INLINE) return null;
      const span = spanMs(depth);
      if (node.kinds[at] === COLLAPSED) return { startMs: bucket * span, endMs: (bucket + 1) * span };
      node = this.#child(depth, bucket);
    }
    return null;
  }

  /** Adds the prefix: everything older than the root's lowMs. `wide`: where its wide partials go. */
  addPrefix(narrow: PartialSet, wide: PartialSet): void {
    if (this.rootHeader.prefix === null) return;
    const reader = new ByteReader(this.rootHeader.prefix);
    narrow.absorbFrom(reader);
    wide.absorbFrom(reader);
    this.rowCount += this.rootHeader.prefixRowCount;
  }

  /**
   * What lies between two events is known from here on only, 0: everywhere. A late row that came into a tile without rows
   * has no place there; where the tile lies in another that was not read, its end is that one's.
   */
  get sequencesFromMs(): number {
    const { lowMs, unorderedBeforeMs: timeMs } = this.rootHeader;
    if (timeMs <= lowMs) return 0;
    let node = this.#rootNode;
    for (let depth = 1; node !== null && node.rows === null; depth++) {
      const bucket = bucketOf(depth, timeMs);
      const at = node.buckets.indexOf(bucket);
      const span = spanMs(depth);
      if (at < 0 || node.kinds[at] === INLINE || bucket * span === timeMs) return timeMs;
      const isRead = this.#fields.get(nodeField(depth, bucket)) !== undefined;
      if (node.kinds[at] === COLLAPSED || !isRead) return (bucket + 1) * span;
      node = this.#child(depth, bucket);
    }
    return timeMs;
  }

  /**
   * Where a stretch has to begin so that the tile across its older end, whose rows are gone, counts whole; one across both
   * ends was counted before. See `widenedToMs`. The path of `lo` must have been read.
   */
  widen(lo: number, hi: number): number {
    const tile = 0 < lo && lo < hi ? this.collapsedAt(lo) : null;
    if (tile === null || tile.startMs === lo || tile.endMs > hi) return lo;
    this.widenedToMs = Math.min(tile.startMs, this.widenedToMs ?? tile.startMs);
    return tile.startMs;
  }

  /**
   * Adds rows with lo ≤ time < hi, those at the tie's time only up to its id. Stretches have to come newest first; their
   * ends must lie within no tile whose rows are gone or were not read, and the tie not within a collapsed one.
   */
  addRange(lo: number, hi: number, tie: TieLimit | null, into: PartialSet): void {
    if (lo >= hi) return;
    if (tie === null || tie.timeMs < lo || tie.timeMs >= hi) {
      this.#addBlock(this.head.tail, lo, hi, null, into);
      if (this.#rootNode !== null) this.#addNode(this.#rootNode, 0, lo, hi, null, into);
      return;
    }
    // Three stretches: after the millisecond of the tie, that millisecond, before it.
    this.addRange(tie.timeMs + 1, hi, null, into);
    this.#addMillisecond(tie.timeMs, { after: null, last: tie.last }, into);
    this.addRange(lo, tie.timeMs, null, into);
  }

  /**
   * As `addRange`, with one more row, lo ≤ its time < hi, in its place of the total order. The path of its time must
   * have been read.
   * @param tie if it is at the row's time, its id is the row's
   */
  addRangeWith(extra: RowBlock, lo: number, hi: number, tie: TieLimit | null, into: PartialSet): void {
    const timeMs = extra.times[0]!;
    const id = { hi: extra.idHi[0]!, lo: extra.idLo[0]! };
    this.addRange(timeMs + 1, hi, tie, into);
    if (tie?.timeMs !== timeMs) this.#addMillisecond(timeMs, { after: id, last: null }, into);
    into.addRows(extra, 0, 1);
    this.rowCount += 1;
    this.#addMillisecond(timeMs, { after: null, last: id }, into);
    this.addRange(lo, timeMs, tie, into);
  }

  /**
   * Adds to wide partials what `addRange` adds to narrow ones for lo ≤ time < hi: rows, and the blocks between the two
   * edges, which must have been read (`forEachBlockBetween(lo − 1, blocksToMs)`).
   * @param blocksToMs the newer edge for the blocks: `hi`, or the ms before it, whose rows are then added one by one
   * @returns where a collapsed tile straddled `lo`: its start, from which everything was added; else `lo`
   */
  addWide(lo: number, hi: number, blocksToMs: number, into: PartialSet): number {
    if (lo >= hi) return lo;
    this.#addRowsOf(this.head.tail, lo, hi, null, into);
    // Of the dozens that may lie between the edges a few are there.
    for (const block of this.#blocks) if (isBlockBetween(block, lo - 1, blocksToMs)) into.absorb(block.bytes);
    if (this.#rootNode === null) return lo;
    const from = this.#addOutsideBlocks(this.#rootNode, 0, { lo, hi, blocksToMs, ids: null }, into);
    this.#addRowsOf(this.head.tail, from, lo, null, into);
    return from;
  }

  /** Adds to wide partials the rows of one millisecond with id ≤ `last`. */
  addWideTie({ timeMs, last }: TieLimit, into: PartialSet): void {
    const ids = { after: null, last };
    this.#addRowsOf(this.head.tail, timeMs, timeMs + 1, ids, into);
    if (this.#rootNode === null) return;
    this.#addOutsideBlocks(this.#rootNode, 0, { lo: timeMs, hi: timeMs + 1, blocksToMs: timeMs, ids }, into);
  }

  /** What lies in the range and in no block between its edges. @returns where it begins: `lo`, or earlier */
  #addOutsideBlocks(node: ParsedNode, depth: number, range: WideRange, into: PartialSet): number {
    const { lo, hi, blocksToMs, ids } = range;
    if (node.rows !== null) {
      this.#addRowsOf(node.rows, lo, hi, ids, into);
      return lo;
    }
    let from = lo;
    const span = spanMs(depth + 1);
    for (let i = node.buckets.length - 1; i >= 0; i--) {
      const startMs = node.buckets[i]! * span;
      const endMs = startMs + span;
      if (startMs >= hi) continue;
      if (endMs <= lo) break;
      const kind = node.kinds[i]!;
      const inside = lo <= startMs && endMs <= hi && ids === null;
      if (kind === INLINE) {
        this.#addRowsOf(this.#inlineRows(node, i), lo, hi, ids, into);
      } else if (inside && endMs <= blocksToMs) {
        // A block between the edges has it.
      } else if (kind === NODE) {
        const child = this.#child(depth + 1, node.buckets[i]!);
        from = Math.min(from, this.#addOutsideBlocks(child, depth + 1, range, into));
      } else if (endMs <= hi) {
        into.absorb(this.#collapsedCopy(depth + 1, node.buckets[i]!));
        from = Math.min(from, startMs);
      }
    }
    return from;
  }

  #collapsedCopy(depth: number, bucket: number): Uint8Array {
    const field = nodeField(depth, bucket);
    const bytes = this.#fields.get(field);
    if (bytes === undefined) throw new Error(`field ${field} is on no path that was read`);
    if (bytes === null) throw new CorruptBytesError(`collapsed node ${field} has no wide partials`);
    return bytes;
  }

  #addMillisecond(timeMs: number, ids: IdRange, into: PartialSet): void {
    this.#addBlock(this.head.tail, timeMs, timeMs + 1, ids, into);
    if (this.#rootNode !== null) this.#addNode(this.#rootNode, 0, timeMs, timeMs + 1, ids, into);
  }

  #addBlock(rows: RowBlock, lo: number, hi: number, ids: IdRange | null, into: PartialSet): void {
    this.rowCount += this.#addRowsOf(rows, lo, hi, ids, into);
  }

  /**
   * @param ids null: all; given for one millisecond only
   * @returns how many there were
   */
  #addRowsOf(rows: RowBlock, lo: number, hi: number, ids: IdRange | null, into: PartialSet): number {
    let from = lowerBound(rows, lo);
    let to = lowerBound(rows, hi);
    if (ids !== null) {
      const { after, last } = ids;
      if (after !== null) from = firstBehind(rows, lo, after);
      if (last !== null) to = firstBehind(rows, lo, last);
    }
    if (from >= to) return 0;
    into.addRows(rows, from, to);
    return to - from;
  }

  #addNode(
    node: ParsedNode,
    depth: number,
    lo: number,
    hi: number,
    ids: IdRange | null,
    into: PartialSet,
  ): void {
    if (node.rows !== null) {
      this.#addBlock(node.rows, lo, hi, ids, into);
      return;
    }
    const span = spanMs(depth + 1);
    for (let i = node.buckets.length - 1; i >= 0; i--) {
      const startMs = node.buckets[i]! * span;
      const endMs = startMs + span;
      if (startMs >= hi) continue;
      if (endMs <= lo) return;
      const kind = node.kinds[i]!;
      if (kind === INLINE) {
        this.#addBlock(this.#inlineRows(node, i), lo, hi, ids, into);
      } else if (lo <= startMs && endMs <= hi && ids === null) {
        into.absorb(node.bytes.subarray(node.starts[i]!, node.ends[i]!));
        this.rowCount += node.rowCounts[i]!;
      } else if (kind === NODE) {
        this.#addNode(this.#child(depth + 1, node.buckets[i]!), depth + 1, lo, hi, ids, into);
      }
      // A collapsed tile across an end of the stretch belongs to a newer one and was counted there.
    }
  }

  #child(depth: number, bucket: number): ParsedNode {
    const field = nodeField(depth, bucket);
    const known = this.#parsed.get(field);
    if (known !== undefined) return known;
    const bytes = this.#fields.get(field);
    if (bytes === undefined) throw new Error(`field ${field} is on no path that was read`);
    if (bytes === null) throw new CorruptBytesError(`node ${field} is named by its parent but absent`);
    const parsed = this.#parse(bytes, new ByteReader(bytes));
    this.#parsed.set(field, parsed);
    return parsed;
  }

  #inlineRows(node: ParsedInner, i: number): RowBlock {
    let rows = node.inline[i];
    if (rows === undefined) {
      rows = decodeRows(new ByteReader(node.bytes, node.starts[i]!, node.ends[i]!), this.#storages);
      node.inline[i] = rows;
    }
    return rows;
  }

  #parse(bytes: Uint8Array, r: ByteReader): ParsedNode {
    const nodeKind = r.u8();
    if (nodeKind === LEAF) return { rows: decodeRows(r, this.#storages) };
    if (nodeKind !== INNER) throw new CorruptBytesError(`unknown node kind ${nodeKind}`);
    const n = r.varint();
    const node: ParsedInner = {
      rows: null,
      bytes,
      buckets: [],
      kinds: [],
      rowCounts: [],
      starts: [],
      ends: [],
      inline: [],
    };
    let bucket = 0;
    for (let i = 0; i < n; i++) {
      bucket += r.varint();
      node.buckets.push(bucket);
      const kind = r.u8();
      if (kind > COLLAPSED) throw new CorruptBytesError(`unknown child kind ${kind}`);
      node.kinds.push(kind);
      node.rowCounts.push(r.varint());
      const length = r.varint();
      node.starts.push(r.position);
      r.skip(length);
      node.ends.push(r.position);
      node.inline.push(undefined);
    }
    return node;
  }
}

/** Where the first row of one sorted block lies in another that has it; behind all where there is none. */
function firstAt(rows: RowBlock, block: RowBlock): number {
  if (block.length === 0) return rows.length;
  let at = lowerBound(rows, block.times[0]!);
  while (compareRows(rows, at, block, 0) < 0) at++;
  return at;
}
