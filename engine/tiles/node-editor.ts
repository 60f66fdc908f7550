/**
 * The nodes of one state's tile tree that have fields of their own, for `TreeEditor`: read when they are first needed, with
 * the names of those that were not fetched put into `missing`; and their blocks, which go where they go.
 */
import { ByteReader, ByteWriter } from '../bytes.ts';
import type { FieldName } from '../store/tile-store.ts';
import { BlockEditor } from './block-editor.ts';
import { fieldSizeBytes } from './field-size.ts';
import { bucketOf, DEPTH_MAX, nodeField } from './grid.ts';
import { decodeNode, encodeNode, type TileNode } from './node.ts';
import type { ColumnStorage } from './row-block.ts';
import type { TileView } from './tile-view.ts';

const writer = new ByteWriter(4096);
const scratch = new ByteWriter(4096);

export interface LoadedNode {
  readonly depth: number;
  readonly bucket: number;
  node: TileNode;
}

export class NodeEditor {
  readonly #fetched: ReadonlyMap<FieldName, Uint8Array | null>;
  readonly #storages: readonly ColumnStorage[];
  /** As they will be written; null: deleted. */
  readonly #nodes = new Map<FieldName, LoadedNode | null>();
  readonly #changed = new Set<FieldName>();
  readonly missing = new Set<FieldName>();
  readonly blocks: BlockEditor;

  constructor(view: TileView, fetched: ReadonlyMap<FieldName, Uint8Array | null>) {
    this.#fetched = fetched;
    this.#storages = view.storages;
    this.blocks = new BlockEditor(view, fetched, this.missing);
  }

  /** How many were looked into so far. */
  get loadedCount(): number {
    return this.#nodes.size;
  }

  /** Writes what has changed, of nodes and of blocks. */
  appendChanges(changes: Map<FieldName, Uint8Array | null>): void {
    for (const field of this.#changed) {
      const loaded = this.#nodes.get(field);
      if (loaded === undefined) throw new Error(`changed field ${field} is not loaded`);
      changes.set(field, loaded === null ? null : this.#encode(loaded.node));
    }
    this.blocks.appendChanges(changes);
  }

  #encode(node: TileNode): Uint8Array {
    writer.clear();
    encodeNode(node, this.#storages, writer, scratch);
    return writer.finish();
  }

  /** @param towards a time within the bucket: where the node is missing, its path on to there is asked for as well */
  load(depth: number, bucket: number, towards?: number): LoadedNode | null {
    const field = nodeField(depth, bucket);
    const known = this.#nodes.get(field);
    if (known !== undefined) {
      if (known === null) throw new Error(`node ${field} was deleted and is read again`);
      return known;
    }
    const bytes = this.#fetched.get(field);
    if (bytes === undefined) {
      this.missing.add(field);
      for (let below = depth + 1; towards !== undefined && below <= DEPTH_MAX; below++) {
        const next = nodeField(below, bucketOf(below, towards));
        if (!this.#fetched.has(next)) this.missing.add(next);
      }
      return null;
    }
    if (bytes === null) throw new Error(`node ${field} is named by its parent but absent`);
    const loaded = { depth, bucket, node: decodeNode(new ByteReader(bytes), this.#storages) };
    this.#nodes.set(field, loaded);
    return loaded;
  }

  put(depth: number, bucket: number, node: TileNode): void {
    const field = nodeField(depth, bucket);
    this.#nodes.set(field, { depth, bucket, node });
    this.#changed.add(field);
  }

  delete(depth: number, bucket: number): void {
    const field = nodeField(depth, bucket);
    this.#nodes.set(field, null);
    this.#changed.add(field);
  }

  isFetched(field: FieldName): boolean {
    return this.#fetched.has(field);
  }

  /** Whether it can be looked into without a further read. */
  has(depth: number, bucket: number): boolean {
    const field = nodeField(depth, bucket);
    return this.#nodes.has(field) || this.#fetched.has(field);
  }

  /** A node that was looked into and is there; null: it was not, or is gone. */
  known(depth: number, bucket: number): LoadedNode | null {
    return this.#nodes.get(nodeField(depth, bucket)) ?? null;
  }

  /** Of its field, as it will be written. */
  sizeBytes({ depth, bucket, node }: LoadedNode): number {
    const field = nodeField(depth, bucket);
    if (!this.#changed.has(field)) return fieldSizeBytes(this.#fetched.get(field));
    return fieldSizeBytes(this.#encode(node));
  }

  /** A collapsed child goes: in views with wide partials its node's field holds a copy of its block. Returns its size. */
  deleteCollapsed(depth: number, bucket: number): number {
    if (!this.blocks.used) return 0;
    const field = nodeField(depth, bucket);
    if (!this.#fetched.has(field)) this.missing.add(field);
    this.delete(depth, bucket);
    this.blocks.forgetCopy(depth, bucket);
    return fieldSizeBytes(this.#fetched.get(field));
  }

  /** Returns the size of the fields that go. */
  deleteSubtree(depth: number, bucket: number): number {
    const loaded = this.load(depth, bucket);
    if (loaded === null) return 0;
    let bytes = this.sizeBytes(loaded);
    if (loaded.node.kind === 'inner') {
      const { children } = loaded.node;
      for (const child of children) {
        if (child.kind === 'node') bytes += this.deleteSubtree(depth + 1, child.bucket);
        else if (child.kind === 'collapsed') bytes += this.deleteCollapsed(depth + 1, child.bucket);
      }
      bytes += this.blocks.deleteWithin(children, depth + 1);
    }
    this.delete(depth, bucket);
    return bytes;
  }
}
