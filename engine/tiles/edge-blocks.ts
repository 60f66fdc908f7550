/**
 * The fields of the blocks of wide partials between a view's window edges, depth by depth, for one as-of time after another.
 *
 * Which blocks a window needs moves with the as-of time, the large ones seldom: a list is made again only when an edge has
 * come into another bucket.
 */
import type { FieldName } from '../store/tile-store.ts';
import { bucketOf, DEPTH_MAX } from './grid.ts';
import { blockField, forEachBlockAt } from './wide-blocks.ts';

/** Windows that share their new edge. */
export interface EdgeGroup {
  /** How far before the as-of time the new edge lies, ms. */
  readonly newerMs: number;
  /** How far before the as-of time the last ms lies that is too old, of each window; Infinity: none is. */
  readonly older: readonly number[];
  /** That time for an as-of time, where it lies elsewhere. */
  readonly moving: readonly ((atMs: number) => number)[];
}

export class EdgeBlocks {
  readonly #groups: readonly EdgeGroup[];
  /** Of each window the last ms that is too old, ≥ −1, and its new edge; none that end before time 0. */
  readonly #windows: number[] = [];
  /** By depth: the buckets of these at the last call. */
  readonly #buckets: readonly number[][] = Array.from({ length: DEPTH_MAX + 1 }, () => []);
  readonly #fields: (readonly FieldName[])[] = Array.from({ length: DEPTH_MAX + 1 }, () => []);

  constructor(groups: readonly EdgeGroup[]) {
    this.#groups = groups.filter(({ older, moving }) => older.length + moving.length > 0);
  }

  /** From now on the blocks are those of this as-of time. */
  moveTo(atMs: number): void {
    const windows = this.#windows;
    windows.length = 0;
    for (const { newerMs, older, moving } of this.#groups) {
      const toMs = atMs - newerMs;
      if (toMs < 0) continue;
      for (const distance of older) windows.push(Math.max(-1, atMs - distance), toMs);
      for (const edge of moving) windows.push(Math.max(-1, edge(atMs)), toMs);
    }
  }

  /** The blocks that are made of children at `depth`, each once; the same list as before where they are the same. */
  at(depth: number): readonly FieldName[] {
    const windows = this.#windows;
    const buckets = this.#buckets[depth]!;
    let changed = buckets.length !== windows.length;
    buckets.length = windows.length;
    for (let w = 0; w < windows.length; w++) {
      const bucket = bucketOf(depth, windows[w]!);
      if (buckets[w] === bucket) continue;
      buckets[w] = bucket;
      changed = true;
    }
    if (changed) this.#fields[depth] = namesOf(depth, windows);
    return this.#fields[depth]!;
  }
}

function namesOf(depth: number, windows: readonly number[]): FieldName[] {
  const fields: FieldName[] = [];
  for (let w = 0; w < windows.length; w += 2) {
    forEachBlockAt(depth, windows[w]!, windows[w + 1]!, (level, index) => {
      const field = blockField(level, index);
      if (!fields.includes(field)) fields.push(field);
    });
  }
  return fields;
}
