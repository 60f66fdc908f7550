/**
 * Changes to the tile tree of one state: insert rows, expire old ones, coarsen. Works on fields that were read
 * and says which further ones it needs; touches nothing but its own memory, so that one compare-and-set can
 * carry the whole change.
 *
 * Invariants, for every inner node: children ascend in bucket; a child of kind `node` has a field of its own,
 * and its tile and row count are those of all rows below it; none of the rows kept inline
 * `mustSpill`; a node at the lowest depth is a leaf.
 */
import { ByteReader, ByteWriter } from '../bytes.ts';
import type { EventId } from '../event-id.ts';
import type { FieldName } from '../store/tile-store.ts';
import { Collapse, type Collapsed, type CollapseOrder } from './collapse.ts';
import { fieldSizeBytes } from './field-size.ts';
import { bucketOf, DEPTH_MAX, NEWEST_FIELD, ROOT_FIELD, spanMs } from './grid.ts';
import {
  addNewestRows,
  decodeNewestRows,
  encodeNewestRows,
  expireNewestRows,
  type NewestRows,
  noNewestRows,
} from './newest-rows.ts';
import { type Child, decodeRoot, emptyRoot, encodeRoot, hasChild, type Root, type TileNode } from './node.ts';
import { NodeEditor } from './node-editor.ts';
import { PartialSet } from './partial-set.ts';
import {
  type ColumnStorage,
  compareRows,
  containsRow,
  lowerBound,
  mergeRows,
  type RowBlock,
  rowsWeightBytes,
  sliceRows,
} from './row-block.ts';
import { mustSpill, type TileShape } from './tile-shape.ts';
import type { TileView } from './tile-view.ts';

const writer = new ByteWriter(4096);
const scratch = new ByteWriter(4096);

export class TreeEditor {
  readonly #view: TileView;
  readonly #shape: TileShape;
  readonly #fetched: ReadonlyMap<FieldName, Uint8Array | null>;
  readonly #storages: readonly ColumnStorage[];
  readonly #nodes: NodeEditor;
  readonly root: Root;
  /** null: the view has none, or they were not read. */
  readonly #newest: NewestRows[] | null;
  #newestChanged = false;
  /** `root.fieldBytes` as it was read; where there was no root, what it would have been. */
  readonly #fieldBytesRead: number;

  /** @param fetched every field read so far, null where absent; must contain ROOT_FIELD */
  constructor(view: TileView, shape: TileShape, fetched: ReadonlyMap<FieldName, Uint8Array | null>) {
    this.#view = view;
    this.#shape = shape;
    this.#fetched = fetched;
    this.#storages = view.storages;
    this.#nodes = new NodeEditor(view, fetched);
    const bytes = fetched.get(ROOT_FIELD);
    if (bytes === undefined) throw new Error('TreeEditor needs the root field');
    this.root =
      bytes === null ? emptyRoot(this.#storages) : decodeRoot(new ByteReader(bytes), this.#storages);
    this.#newest = this.#readNewest();
    this.#fieldBytesRead = bytes === null ? fieldSizeBytes(fetched.get(NEWEST_FIELD)) : this.root.fieldBytes;
  }

  #readNewest(): NewestRows[] | null {
    const { newestRows } = this.#view;
    if (newestRows.length === 0) return null;
    const bytes = this.#fetched.get(NEWEST_FIELD);
    if (bytes === undefined) {
      this.#nodes.missing.add(NEWEST_FIELD);
      return null;
    }
    if (bytes === null) return noNewestRows(newestRows, this.#storages);
    return decodeNewestRows(new ByteReader(bytes), newestRows, this.#storages);
  }

  /**
   * Fields the operations so far would have needed but were not given. When not empty the editor's content is
   * meaningless: read these too and start again with a new editor.
   */
  get missing(): ReadonlySet<FieldName> {
    return this.#nodes.missing;
  }

  /** Whether nothing is held: no rows, no tiles, no prefix, no newest rows. */
  get empty(): boolean {
    return this.#treeIsEmpty && (this.#newest ?? []).every(({ rows }) => rows.length === 0);
  }

  get #treeIsEmpty(): boolean {
    const { node, prefix } = this.root;
    return prefix === null && (node.kind === 'leaf' ? node.rows.length === 0 : node.children.length === 0);
  }

  /** Fields to write or delete so that the store holds this tree. The root is always among them. */
  changes(): Map<FieldName, Uint8Array | null> {
    if (this.#nodes.missing.size > 0) throw new Error('changes of an incomplete edit');
    const changes = new Map<FieldName, Uint8Array | null>();
    let fieldBytes = this.#fieldBytesRead;
    this.#nodes.appendChanges(changes);
    if (this.#newest !== null && this.#newestChanged) {
      const none = this.#newest.every(({ rows, dropped }) => rows.length === 0 && !dropped);
      writer.clear();
      encodeNewestRows(this.#newest, this.#storages, writer);
      changes.set(NEWEST_FIELD, none ? null : writer.finish());
    }
    // Every field that changes was read, or is new.
    for (const [field, bytes] of changes) {
      fieldBytes += fieldSizeBytes(bytes) - fieldSizeBytes(this.#fetched.get(field));
    }
    this.root.fieldBytes = Math.max(0, fieldBytes);
    if (this.#treeIsEmpty) {
      changes.set(ROOT_FIELD, null);
    } else {
      writer.clear();
      encodeRoot(this.root, this.#storages, writer, scratch);
      changes.set(ROOT_FIELD, writer.finish());
    }
    return changes;
  }

  // ---- insert

  /**
   * Adds sorted rows. Rows before `root.lowMs` go to the prefix where the view has lifetime windows and are
   * dropped otherwise: no window reaches them.
   */
  insert(rows: RowBlock): void {
    this.#newest?.forEach((newest, i) => {
      addNewestRows(newest, rows, this.#view.newestRows[i]!, this.#storages);
      this.#newestChanged = true;
    });
    const live = lowerBound(
      rows,
      rows.length > 0 && rows.times[0]! < this.root.lowMs ? this.#heldFromMs() : 0,
    );
    if (live > 0) this.#addRowsToPrefix(rows, live);
    if (live < rows.length)
      this.root.node = this.#insertInto(this.root.node, 0, sliceRows(rows, live, rows.length));
  }

  /** `lowMs`, or the start of a collapsed tile across it: what falls into its stretch belongs into the tile. */
  #heldFromMs(): number {
    const { lowMs } = this.root;
    let node = this.root.node;
    for (let depth = 1; node.kind === 'inner'; depth++) {
      const bucket = bucketOf(depth, lowMs);
      const child = node.children.find((candidate) => candidate.bucket === bucket);
      if (child === undefined || child.kind === 'inline') return lowMs;
      if (child.kind === 'collapsed') return bucket * spanMs(depth);
      const loaded = this.#nodes.load(depth, bucket);
      if (loaded === null) return lowMs;
      node = loaded.node;
    }
    return lowMs;
  }

  #insertInto(node: TileNode, depth: number, rows: RowBlock): TileNode {
    if (node.kind === 'leaf') {
      return this.#build(mergeRows(node.rows, rows, this.#storages), depth);
    }
    let at = 0;
    while (at < rows.length) {
      const bucket = bucketOf(depth + 1, rows.times[at]!);
      const end = lowerBound(rows, (bucket + 1) * spanMs(depth + 1));
      this.#insertIntoChild(node.children, depth + 1, bucket, sliceRows(rows, at, end));
      at = end;
    }
    this.#spill(node.children, depth + 1);
    return node;
  }

  #insertIntoChild(children: Child[], depth: number, bucket: number, rows: RowBlock): void {
    let at = children.length;
    while (at > 0 && children[at - 1]!.bucket > bucket) at--;
    const child = children[at - 1];
    if (child === undefined || child.bucket !== bucket) {
      children.splice(at, 0, { kind: 'inline', bucket, rows });
      return;
    }
    if (child.kind === 'inline') {
      child.rows = mergeRows(child.rows, rows, this.#storages);
      return;
    }
    child.rowCount += rows.length;
    this.#nodes.blocks.addRows(children, depth, bucket, rows, { isNew: false });
    if (child.kind === 'collapsed') {
      child.tile = this.#extend(child.tile, rows);
      this.#nodes.blocks.copyCollapsed(depth, bucket, { isNew: false });
      const endMs = (bucket + 1) * spanMs(depth);
      if (this.#view.ordered && endMs > this.root.unorderedBeforeMs) this.root.unorderedBeforeMs = endMs;
      return;
    }
    const loaded = this.#nodes.load(depth, bucket, rows.times[0]!);
    if (loaded === null) return;
    const behind = !this.#view.ordered || this.#endsBefore(loaded.node, depth, rows);
    const node = this.#insertInto(loaded.node, depth, rows);
    this.#nodes.put(depth, bucket, node);
    child.tile = behind ? this.#extend(child.tile, rows) : this.#combine((set) => addNode(set, node));
  }

  /** A tile and further rows: for ordered partials these must lie behind all that is in the tile. */
  #extend(tile: Uint8Array, rows: RowBlock): Uint8Array {
    return this.#combine((set) => {
      set.absorb(tile);
      set.addRows(rows, 0, rows.length);
    });
  }

  /**
   * Whether the rows lie behind everything below a node; false where its rows are gone and that cannot be told. Loads
   * only what an insert of the rows loads.
   */
  #endsBefore(node: TileNode, depth: number, rows: RowBlock): boolean {
    if (node.kind === 'leaf') return isBehind(rows, node.rows);
    const last = node.children[node.children.length - 1];
    if (last === undefined) return true;
    const bucket = bucketOf(depth + 1, rows.times[0]!);
    if (bucket !== last.bucket) return bucket > last.bucket;
    if (last.kind === 'inline') return isBehind(rows, last.rows);
    if (last.kind === 'collapsed') return false;
    const loaded = this.#nodes.load(depth + 1, bucket);
    return loaded !== null && this.#endsBefore(loaded.node, depth + 1, rows);
  }

  /** A node over sorted rows: a leaf while they fit, else an inner one. */
  #build(rows: RowBlock, depth: number): TileNode {
    if (depth === DEPTH_MAX || rowsWeightBytes(rows, this.#storages) <= this.#shape.leafBytesMax)
      return { kind: 'leaf', rows };
    const children: Child[] = [];
    for (let at = 0; at < rows.length; ) {
      const bucket = bucketOf(depth + 1, rows.times[at]!);
      const end = lowerBound(rows, (bucket + 1) * spanMs(depth + 1));
      children.push({ kind: 'inline', bucket, rows: sliceRows(rows, at, end) });
      at = end;
    }
    this.#spill(children, depth + 1);
    return { kind: 'inner', children };
  }

  /** Moves the heaviest inline children to fields of their own until the rest fits. */
  #spill(children: Child[], depth: number): void {
    let total = 0;
    const weights = children.map((child) => {
      const weight = child.kind === 'inline' ? rowsWeightBytes(child.rows, this.#storages) : 0;
      total += weight;
      return weight;
    });
    for (;;) {
      let heaviest = 0;
      for (let i = 1; i < weights.length; i++) if (weights[i]! > weights[heaviest]!) heaviest = i;
      if (!mustSpill(this.#shape, total, weights[heaviest]!)) return;
      const child = children[heaviest]!;
      if (child.kind !== 'inline') throw new Error('a child without rows of its own weighs nothing');
      const { bucket, rows } = child;
      this.#nodes.put(depth, bucket, this.#build(rows, depth));
      const tile = this.#combine((set) => set.addRows(rows, 0, rows.length));
      children[heaviest] = { kind: 'node', bucket, rowCount: rows.length, tile };
      this.#nodes.blocks.addRows(children, depth, bucket, rows, { isNew: true });
      total -= weights[heaviest]!;
      weights[heaviest] = 0;
    }
  }

  /** Narrow partials, as a tile beside other children. */
  #combine(fill: (set: PartialSet) => void): Uint8Array {
    const set = new PartialSet(this.#view.narrow);
    fill(set);
    return set.encode();
  }

  // ---- look up

  /** Whether a row with this time and id is held as a row (not only within a tile). */
  contains(timeMs: number, id: EventId): boolean {
    if (this.#newest?.some(({ rows }) => containsRow(rows, timeMs, id))) return true;
    let node = this.root.node;
    for (let depth = 0; ; depth++) {
      if (node.kind === 'leaf') return containsRow(node.rows, timeMs, id);
      const bucket = bucketOf(depth + 1, timeMs);
      const child = node.children.find((candidate) => candidate.bucket === bucket);
      if (child === undefined || child.kind === 'collapsed') return false;
      if (child.kind === 'inline') return containsRow(child.rows, timeMs, id);
      const loaded = this.#nodes.load(depth + 1, bucket, timeMs);
      if (loaded === null) return false;
      node = loaded.node;
    }
  }

  /**
   * Event time of the oldest row or tile that can expire; null when there is none. May be as early as its tile's start.
   */
  oldestMs(): number | null {
    const times = (this.#newest ?? []).flatMap(({ rows }, i) =>
      rows.length > 0 && this.#view.newestRows[i]!.bounded ? [rows.times[0]!] : [],
    );
    const oldestMs = this.#oldestOfTree();
    if (oldestMs !== null) times.push(oldestMs);
    return times.length === 0 ? null : Math.min(...times);
  }

  #oldestOfTree(): number | null {
    const { node } = this.root;
    if (node.kind === 'leaf') return node.rows.length === 0 ? null : node.rows.times[0]!;
    const first = node.children[0];
    if (first === undefined) return null;
    return first.kind === 'inline'
      ? first.rows.times[0]!
      : Math.max(this.root.lowMs, first.bucket * spanMs(1));
  }

  // ---- expire

  /** Drops everything with time < lowMs (into the prefix where the view has lifetime windows). */
  expire(lowMs: number): void {
    this.#newest?.forEach((newest, i) => {
      if (expireNewestRows(newest, this.#view.newestRows[i]!, lowMs)) this.#newestChanged = true;
    });
    if (lowMs <= this.root.lowMs) return;
    this.root.node = this.#expireNode(this.root.node, 0, lowMs);
    this.root.lowMs = lowMs;
  }

  /** Its bytes are the narrow partials', then the wide ones'. */
  #addToPrefix(fill: (narrow: PartialSet, wide: PartialSet) => void, rowCount: number): void {
    if (!this.#view.hasLifetime) return;
    const { prefix } = this.root;
    const narrow = new PartialSet(this.#view.narrow);
    const wide = new PartialSet(this.#view.wide);
    if (prefix !== null) {
      const reader = new ByteReader(prefix);
      narrow.absorbFrom(reader);
      wide.absorbFrom(reader);
    }
    fill(narrow, wide);
    this.root.prefix = concatenate(narrow.encode(), wide.encode());
    this.root.prefixRowCount += rowCount;
  }

  #addRowsToPrefix(rows: RowBlock, to: number): void {
    this.#addToPrefix((narrow, wide) => {
      narrow.addRows(rows, 0, to);
      wide.addRows(rows, 0, to);
    }, to);
  }

  #expireNode(node: TileNode, depth: number, lowMs: number): TileNode {
    if (node.kind === 'leaf') return { kind: 'leaf', rows: this.#expireRows(node.rows, lowMs) };
    const kept: Child[] = [];
    const span = spanMs(depth + 1);
    /** Children in blocks that are gone, and what is left of one that straddles the edge. */
    const touched: number[] = [];
    const cut = new Map<number, TileNode>();
    for (const child of node.children) {
      const { bucket } = child;
      const startMs = bucket * span;
      if (startMs >= lowMs) {
        kept.push(child);
      } else if (child.kind === 'inline') {
        child.rows = this.#expireRows(child.rows, lowMs);
        if (child.rows.length > 0) kept.push(child);
      } else if (startMs + span <= lowMs) {
        this.#addToPrefix((narrow, wide) => {
          narrow.absorb(child.tile);
          this.#nodes.blocks.absorbChild(wide, depth + 1, bucket);
        }, child.rowCount);
        touched.push(bucket);
        if (child.kind === 'node') this.#nodes.deleteSubtree(depth + 1, bucket);
        else this.#nodes.deleteCollapsed(depth + 1, bucket);
      } else if (child.kind === 'collapsed') {
        // It straddles the edge and cannot be cut: it stays until it has passed as a whole.
        kept.push(child);
      } else {
        const loaded = this.#nodes.load(depth + 1, bucket, lowMs);
        if (loaded === null) continue;
        const rest = this.#expireNode(loaded.node, depth + 1, lowMs);
        const rowCount = nodeRowCount(rest);
        touched.push(bucket);
        if (rowCount === 0) {
          this.#nodes.delete(depth + 1, bucket);
        } else {
          this.#nodes.put(depth + 1, bucket, rest);
          cut.set(bucket, rest);
          child.rowCount = rowCount;
          child.tile = this.#combine((set) => addNode(set, rest));
          kept.push(child);
        }
      }
    }
    if (touched.length > 0) this.#nodes.blocks.rebuild(kept, depth + 1, touched, cut);
    return { kind: 'inner', children: kept };
  }

  #expireRows(rows: RowBlock, lowMs: number): RowBlock {
    const live = lowerBound(rows, lowMs);
    if (live === 0) return rows;
    this.#addRowsToPrefix(rows, live);
    return sliceRows(rows, live, rows.length);
  }

  // ---- collapse

  /** Nodes of other fields that were looked into so far. */
  get loadedNodes(): number {
    return this.#nodes.loadedCount;
  }

  /** Whether some node has a field of its own that `collapse` could free. */
  get collapsible(): boolean {
    return hasChild(this.root.node, 'node');
  }

  collapse(order: CollapseOrder): Collapsed {
    return new Collapse(this.#nodes, this.#shape, order).run(this.root);
  }

  // ---- coarsen

  /**
   * Replaces the rows of every node that ends at or before `beforeMs` and spans at most `resolutionMs` by its
   * tile, where that saves bytes. Nodes before `root.coarseBeforeMs` were done before and are not visited.
   */
  coarsen(beforeMs: number, resolutionMs: number): void {
    if (beforeMs <= this.root.coarseBeforeMs) return;
    this.#coarsenNode(this.root.node, 0, this.root.coarseBeforeMs, beforeMs, resolutionMs);
    this.root.coarseBeforeMs = beforeMs;
  }

  #coarsenNode(
    node: TileNode,
    depth: number,
    fromMs: number,
    beforeMs: number,
    resolutionMs: number,
  ): boolean {
    if (node.kind === 'leaf') return false;
    const span = spanMs(depth + 1);
    let changed = false;
    for (let i = 0; i < node.children.length; i++) {
      const child = node.children[i]!;
      const startMs = child.bucket * span;
      const endMs = startMs + span;
      if (startMs >= beforeMs || endMs <= fromMs || child.kind === 'collapsed') continue;
      if (span <= resolutionMs && endMs <= beforeMs) {
        if (child.kind === 'node') {
          this.#nodes.deleteSubtree(depth + 1, child.bucket);
          node.children[i] = {
            kind: 'collapsed',
            bucket: child.bucket,
            rowCount: child.rowCount,
            tile: child.tile,
          };
          this.#nodes.blocks.copyCollapsed(depth + 1, child.bucket, { isNew: true });
          changed = true;
        } else {
          const { rows } = child;
          const tile = this.#combine((set) => set.addRows(rows, 0, rows.length));
          if (tile.length + this.#nodes.blocks.bytesOfOwn(rows) < rowsWeightBytes(rows, this.#storages)) {
            node.children[i] = { kind: 'collapsed', bucket: child.bucket, rowCount: rows.length, tile };
            this.#nodes.blocks.addRows(node.children, depth + 1, child.bucket, rows, { isNew: true });
            this.#nodes.blocks.copyCollapsed(depth + 1, child.bucket, { isNew: true });
            changed = true;
          }
        }
      } else if (child.kind === 'node') {
        const loaded = this.#nodes.load(depth + 1, child.bucket);
        if (loaded !== null && this.#coarsenNode(loaded.node, depth + 1, fromMs, beforeMs, resolutionMs)) {
          this.#nodes.put(depth + 1, child.bucket, loaded.node);
        }
      }
    }
    return changed;
  }
}

function isBehind(rows: RowBlock, others: RowBlock): boolean {
  return others.length === 0 || compareRows(rows, 0, others, others.length - 1) > 0;
}

function nodeRowCount(node: TileNode): number {
  if (node.kind === 'leaf') return node.rows.length;
  let count = 0;
  for (const child of node.children) count += child.kind === 'inline' ? child.rows.length : child.rowCount;
  return count;
}

function concatenate(a: Uint8Array, b: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(a.length + b.length);
  bytes.set(a);
  bytes.set(b, a.length);
  return bytes;
}

/** In the total order of C3, as ordered partials need it. */
function addNode(set: PartialSet, node: TileNode): void {
  if (node.kind === 'leaf') {
    set.addRows(node.rows, 0, node.rows.length);
    return;
  }
  for (const child of node.children) {
    if (child.kind === 'inline') set.addRows(child.rows, 0, child.rows.length);
    else set.absorb(child.tile);
  }
}
