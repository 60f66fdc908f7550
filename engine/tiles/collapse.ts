/**
 * Gives up the rows, and from some depth on the tiles, of nodes of one state's tile tree that have no node below them, from
 * the oldest on: the tile that their parent has is all that is left. When that is needed, `state-bound.ts` says.
 */
import type { FieldName } from '../store/tile-store.ts';
import { nodeField, spanMs } from './grid.ts';
import { type Child, hasChild, type Root, type TileNode } from './node.ts';
import type { LoadedNode, NodeEditor } from './node-editor.ts';
import type { TileShape } from './tile-shape.ts';

/** How far to collapse in one go: see `Collapse`. */
export interface CollapseOrder {
  /** Nodes that end at or before this were visited before, ms. */
  readonly fromMs: number;
  /** Only nodes that end at or before this are collapsed, ms. */
  readonly beforeMs: number;
  /**
   * Rows before this may have been dropped, ms, also by a tree that came to be empty and is forgotten: a node across it
   * is left alone.
   */
  readonly lowMs: number;
  /** Nodes from this depth on go also where only tiles are left in them; 0: only nodes that have rows. */
  readonly mergeDepth: number;
  /** Enough when fields of this many bytes are gone. */
  readonly freeBytes: number;
  /** Further nodes that may be asked for at once. */
  readonly askMax: number;
  /** Where a node would have to be read that was not, and no more may be: the end. */
  readonly mayAsk: boolean;
}

export interface Collapsed {
  /** `fieldSizeBytes` of the fields that are gone. */
  freedBytes: number;
  /** That of the nodes between `fromMs` and `toMs` that are left. */
  keptBytes: number;
  /** Depth of the deepest of these; 0: there are none. */
  keptDepth: number;
  /** How far it came, ms; `beforeMs` where it came to the end. */
  toMs: number;
  /** Whether it ended early. */
  stopped: boolean;
}

/** Nodes to ask for at least in one read, where there are so many. */
const ASKED_MIN = 64;

type InnerNode = Extract<TileNode, { kind: 'inner' }>;

export class Collapse {
  readonly #nodes: NodeEditor;
  readonly #shape: TileShape;
  readonly #order: CollapseOrder;
  #rootLowMs = 0;
  #asked = 0;
  #freedBytes = 0;
  #keptBytes = 0;
  #keptDepth = 0;
  #toMs: number;
  #stopped = false;

  constructor(nodes: NodeEditor, shape: TileShape, order: CollapseOrder) {
    this.#nodes = nodes;
    this.#shape = shape;
    this.#order = order;
    this.#toMs = order.fromMs;
  }

  run({ node, lowMs }: Root): Collapsed {
    this.#rootLowMs = lowMs;
    if (node.kind === 'inner') this.#collapseIn(node, 0);
    return {
      freedBytes: this.#freedBytes,
      keptBytes: this.#keptBytes,
      keptDepth: this.#keptDepth,
      toMs: this.#stopped ? this.#toMs : this.#order.beforeMs,
      stopped: this.#stopped,
    };
  }

  #isMerged(depth: number): boolean {
    const { mergeDepth } = this.#order;
    return mergeDepth > 0 && depth >= mergeDepth;
  }

  /** Returns whether a child was replaced. */
  #collapseIn(node: InnerNode, depth: number): boolean {
    const span = spanMs(depth + 1);
    let changed = false;
    for (let i = 0; i < node.children.length && !this.#stopped; i++) {
      const child = node.children[i]!;
      const startMs = child.bucket * span;
      const endMs = startMs + span;
      if (child.kind !== 'node' || endMs <= this.#order.fromMs) continue;
      if (startMs >= this.#order.beforeMs) break;
      if (
        this.#freedBytes >= this.#order.freeBytes ||
        (!this.#order.mayAsk && !this.#nodes.has(depth + 1, child.bucket))
      ) {
        this.#stopped = true;
        break;
      }
      const loaded = this.#loadToCollapse(depth + 1, child);
      if (loaded === null) continue;
      const sizeBytes = this.#nodes.sizeBytes(loaded);
      // Of a node across `lowMs` rows are gone that its tile would stand for; it goes as a whole before long.
      const cut = startMs < this.#rootLowMs || (startMs < this.#order.lowMs && this.#order.lowMs < endMs);
      const whole = endMs <= this.#order.beforeMs && !cut;
      let kept = true;
      const may = whole && (!hasChild(loaded.node, 'collapsed') || this.#isMerged(depth + 1));
      // With wide partials a tile takes more than the few rows of a leaf: leaves go only as all of their parent's.
      const leaf = this.#nodes.blocks.used && depth > 0 && !hasChild(loaded.node, 'collapsed');
      const low = !hasChild(loaded.node, 'node');
      if (low ? may && !leaf : may && this.#nodes.blocks.used && this.#areLow(loaded)) {
        const freedBytes = this.#collapseChild(node, i, depth + 1, loaded);
        if (freedBytes === null) continue;
        this.#freedBytes += freedBytes;
        changed = true;
        kept = false;
      } else if (!low && !this.#stopped) {
        if (this.#collapseIn(loaded.node as InnerNode, depth + 1)) {
          this.#nodes.put(depth + 1, child.bucket, loaded.node);
        }
      }
      if (kept && whole && !this.#stopped) {
        this.#keptBytes += sizeBytes;
        this.#keptDepth = Math.max(this.#keptDepth, low && leaf ? depth : depth + 1);
      }
      if (endMs <= this.#order.beforeMs && !this.#stopped) this.#toMs = endMs;
    }
    return changed;
  }

  /** Whether no node below a node's children has a field; false where that is not known yet. */
  #areLow({ depth, node }: LoadedNode): boolean {
    if (node.kind === 'leaf') return true;
    for (const child of node.children) {
      if (child.kind !== 'node') continue;
      if (!this.#order.mayAsk && !this.#nodes.has(depth + 1, child.bucket)) {
        this.#stopped = true;
        return false;
      }
      const loaded = this.#loadToCollapse(depth + 1, child);
      if (loaded === null || hasChild(loaded.node, 'node')) return false;
    }
    return true;
  }

  /** Returns the bytes freed; null where more must be read first, or may not. */
  #collapseChild(node: InnerNode, i: number, depth: number, loaded: LoadedNode): number | null {
    const child = node.children[i] as Extract<Child, { kind: 'node' }>;
    const { bucket, rowCount, tile } = child;
    if (this.#nodes.blocks.used) {
      const missing = this.#fieldsBelow(loaded).filter((field) => !this.#nodes.isFetched(field));
      if (missing.length > 0 && !this.#order.mayAsk) this.#stopped = true;
      if (missing.length > 0) {
        for (const field of this.#order.mayAsk ? missing : []) this.#nodes.missing.add(field);
        this.#asked += missing.length;
        if (this.#asked >= this.#order.askMax) this.#stopped = true;
        return null;
      }
    }
    const freedBytes = this.#nodes.deleteSubtree(depth, bucket);
    node.children[i] = { kind: 'collapsed', bucket, rowCount, tile };
    return freedBytes - this.#nodes.blocks.copyCollapsed(depth, bucket, { isNew: true });
  }

  /** Fields whose size is of interest where a node and those below it go, besides the nodes' own. */
  #fieldsBelow({ depth, bucket, node }: LoadedNode): FieldName[] {
    const fields = [this.#nodes.blocks.fieldOf(depth, bucket)];
    if (node.kind === 'leaf') return fields;
    fields.push(...this.#nodes.blocks.fieldsWithin(node.children, depth + 1));
    for (const child of node.children) {
      const below = nodeField(depth + 1, child.bucket);
      if (child.kind === 'collapsed') fields.push(below);
      const loaded = child.kind === 'node' ? this.#nodes.known(depth + 1, child.bucket) : null;
      if (loaded !== null) fields.push(...this.#fieldsBelow(loaded));
    }
    return fields;
  }

  #loadToCollapse(depth: number, { bucket }: Child): LoadedNode | null {
    const loaded = this.#nodes.load(depth, bucket);
    if (loaded === null) {
      // Its size is not known yet: about half a leaf, but a read should bring many.
      this.#freedBytes += Math.min(this.#shape.leafBytesMax / 2, this.#order.freeBytes / ASKED_MIN);
      if (++this.#asked >= this.#order.askMax) this.#stopped = true;
    }
    return loaded;
  }
}
