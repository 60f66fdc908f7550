/**
 * Changes to the blocks of wide partials (`wide-blocks.ts`) of one state, for `TreeEditor`: on fields that were read, with
 * the names of those that are needed besides put into `missing`.
 *
 * Invariant: a block's field is there iff some child of kind `node` or `collapsed` lies in it, and holds the wide partials
 * of all rows below these. The field of a `collapsed` child's own node, otherwise unused, holds a copy of the block of the
 * child alone: an edge inside of it counts it whole, and its path names that field.
 */
import { CorruptBytesError } from '../bytes.ts';
import type { FieldName } from '../store/tile-store.ts';
import { fieldSizeBytes } from './field-size.ts';
import { bucketOf, nodeField, spanMs } from './grid.ts';
import type { Child, TileNode } from './node.ts';
import { PartialSet } from './partial-set.ts';
import type { RowBlock } from './row-block.ts';
import type { TileView } from './tile-view.ts';
import { blockAbove, blockField, blockLevels } from './wide-blocks.ts';

export class BlockEditor {
  readonly #partials: TileView['wide'];
  readonly #fetched: ReadonlyMap<FieldName, Uint8Array | null>;
  readonly #missing: Set<FieldName>;
  /** As they will be written, where they change; null: deleted. */
  readonly #blocks = new Map<FieldName, PartialSet | null>();
  readonly #changed = new Set<FieldName>();
  /** Fields of collapsed children, and the block each is to be a copy of. */
  readonly #copies = new Map<FieldName, FieldName>();

  constructor(view: TileView, fetched: ReadonlyMap<FieldName, Uint8Array | null>, missing: Set<FieldName>) {
    this.#partials = view.wide;
    this.#fetched = fetched;
    this.#missing = missing;
  }

  /** Whether the view has wide partials at all. */
  get used(): boolean {
    return this.#partials.length > 0;
  }

  /** Writes what has changed. */
  appendChanges(changes: Map<FieldName, Uint8Array | null>): void {
    for (const field of this.#changed) changes.set(field, this.#blocks.get(field)?.encode() ?? null);
    for (const [field, block] of this.#copies) {
      const set = this.#blocks.get(block);
      if (set === undefined || set === null)
        throw new Error(`a copy of the block ${block}, which is not there`);
      changes.set(field, set.encode());
    }
  }

  /**
   * Rows were put below a child that is not inline.
   * @param children all of its node's, itself among them
   * @param isNew whether it was inline before, or not there: it is in no block yet
   */
  addRows(
    children: readonly Child[],
    depth: number,
    bucket: number,
    rows: RowBlock,
    { isNew }: { readonly isNew: boolean },
  ): void {
    if (!this.used) return;
    const { first, last } = blockLevels(depth);
    for (let level = first; level <= last; level++) {
      const index = blockAbove(first, bucket, level);
      const others = isNew ? children.filter((child) => child.bucket !== bucket) : children;
      const set = this.#load(level, index, hasField(others, depth, level, index));
      if (set === null) continue;
      set.addRows(rows, 0, rows.length);
      this.#changed.add(blockField(level, index));
    }
  }

  /** Bytes that a collapsed child with these rows adds: its block and the copy. */
  bytesOfOwn(rows: RowBlock): number {
    if (!this.used) return 0;
    const set = new PartialSet(this.#partials);
    set.addRows(rows, 0, rows.length);
    return 2 * set.encode().length;
  }

  /**
   * The child is a collapsed one whose rows have changed, or has become one.
   * @returns size of the copy; 0 where the block must be read first
   */
  copyCollapsed(depth: number, bucket: number, { isNew }: { readonly isNew: boolean }): number {
    if (!this.used) return 0;
    const { first } = blockLevels(depth);
    const set = this.#load(first, bucket, true);
    const copy = nodeField(depth, bucket);
    if (!isNew) this.#note(copy);
    if (set === null) return 0;
    this.#copies.set(copy, blockField(first, bucket));
    return fieldSizeBytes(set.encode());
  }

  /** A collapsed child goes after all. */
  forgetCopy(depth: number, bucket: number): void {
    this.#copies.delete(nodeField(depth, bucket));
  }

  /**
   * Some children have lost rows, or are gone.
   * @param children those that are left, in time order
   * @param touched buckets of the children that were not inline and have changed or are gone
   * @param cut what is left of those that have changed, by bucket
   */
  rebuild(
    children: readonly Child[],
    depth: number,
    touched: readonly number[],
    cut: ReadonlyMap<number, TileNode>,
  ): void {
    if (!this.used) return;
    const { first, last } = blockLevels(depth);
    for (const bucket of touched) {
      const node = cut.get(bucket);
      if (node === undefined) this.#delete(first, bucket);
      else this.#put(first, bucket, (set) => this.#addNode(set, node, depth, bucket));
    }
    let below = touched;
    for (let level = first + 1; level <= last; level++) {
      below = [...new Set(below.map((index) => Math.floor(index / 2)))];
      for (const index of below) {
        if (!hasField(children, depth, level, index)) this.#delete(level, index);
        else this.#put(level, index, (set) => this.#addHalves(set, children, depth, level, index));
      }
    }
  }

  /** Adds what the block of one child alone holds. */
  absorbChild(into: PartialSet, depth: number, bucket: number): void {
    if (!this.used) return;
    const block = this.#load(blockLevels(depth).first, bucket, true);
    if (block !== null) into.absorb(block.encode());
  }

  /** Field of the block of one child alone. */
  fieldOf(depth: number, bucket: number): FieldName {
    return blockField(blockLevels(depth).first, bucket);
  }

  /** Fields of all blocks over the children of a node, each once. */
  fieldsWithin(children: readonly Child[], depth: number): FieldName[] {
    const fields = new Set<FieldName>();
    const { first, last } = blockLevels(depth);
    for (const { kind, bucket } of children) {
      if (kind === 'inline') continue;
      for (let level = first; level <= last; level++) {
        fields.add(blockField(level, blockAbove(first, bucket, level)));
      }
    }
    return [...fields];
  }

  /** Deletes the blocks within a node that goes. Returns their size. */
  deleteWithin(children: readonly Child[], depth: number): number {
    if (!this.used) return 0;
    let bytes = 0;
    for (const field of this.fieldsWithin(children, depth)) {
      this.#deleteField(field);
      bytes += fieldSizeBytes(this.#fetched.get(field));
    }
    return bytes;
  }

  #addHalves(set: PartialSet, children: readonly Child[], depth: number, level: number, index: number): void {
    for (const half of [2 * index, 2 * index + 1]) {
      if (!hasField(children, depth, level - 1, half)) continue;
      const block = this.#load(level - 1, half, true);
      if (block !== null) set.absorb(block.encode());
    }
  }

  /** Everything below a node: its own rows, and what its children have in blocks. */
  #addNode(set: PartialSet, node: TileNode, depth: number, bucket: number): void {
    if (node.kind === 'leaf') {
      set.addRows(node.rows, 0, node.rows.length);
      return;
    }
    for (const child of node.children) {
      if (child.kind === 'inline') set.addRows(child.rows, 0, child.rows.length);
    }
    this.#addHalves(set, node.children, depth + 1, blockLevels(depth).first, bucket);
  }

  #load(level: number, index: number, expected: boolean): PartialSet | null {
    const field = blockField(level, index);
    const known = this.#blocks.get(field);
    if (known !== undefined && known !== null) return known;
    const set = new PartialSet(this.#partials);
    if (expected && known === undefined) {
      const bytes = this.#fetched.get(field);
      if (bytes === undefined) {
        this.#missing.add(field);
        return null;
      }
      if (bytes === null) throw new CorruptBytesError(`block ${field} has rows below it but is absent`);
      set.absorb(bytes);
    }
    this.#blocks.set(field, set);
    return set;
  }

  #put(level: number, index: number, fill: (set: PartialSet) => void): void {
    const set = new PartialSet(this.#partials);
    fill(set);
    const field = blockField(level, index);
    this.#note(field);
    this.#blocks.set(field, set);
    this.#changed.add(field);
  }

  #delete(level: number, index: number): void {
    this.#deleteField(blockField(level, index));
  }

  #deleteField(field: FieldName): void {
    this.#note(field);
    this.#blocks.set(field, null);
    this.#changed.add(field);
  }

  /** What is written anew or goes is read first, for its size: `Root.fieldBytes`. */
  #note(field: FieldName): void {
    if (!this.#fetched.has(field) && !this.#blocks.has(field)) this.#missing.add(field);
  }
}

/** Whether a child at `depth` that is not inline lies in a block. */
function hasField(children: readonly Child[], depth: number, level: number, index: number): boolean {
  const { first } = blockLevels(depth);
  return children.some(({ kind, bucket }) => kind !== 'inline' && blockAbove(first, bucket, level) === index);
}

/** Fields of the blocks that hold a time, down to children of 33 s: what an insert there reads, unless the key is denser. */
export function blocksAt(timeMs: number): FieldName[] {
  const fields: FieldName[] = [];
  for (let depth = 1; spanMs(depth) >= 2 ** 15; depth++) {
    const { first, last } = blockLevels(depth);
    for (let level = first; level <= last; level++) {
      fields.push(blockField(level, blockAbove(first, bucketOf(depth, timeMs), level)));
    }
  }
  return fields;
}
