/**
 * The fields of the blocks of wide partials between a view's window edges, for one as-of time after another.
 *
 * Which blocks a window needs moves with the as-of time, the large ones seldom: names are remembered.
 */
import type { FieldName } from '../store/tile-store.ts';
import { blockField, forEachBlockBetween } from './wide-blocks.ts';

/** Windows that share their new edge. */
export interface EdgeGroup {
  /** How far before the as-of time the new edge lies, ms. */
  readonly newerMs: number;
  /** How far before the as-of time the last ms lies that is too old, of each window; Infinity: none is. */
  readonly older: readonly number[];
  /** That time for an as-of time, where it lies elsewhere. */
  readonly moving: readonly ((atMs: number) => number)[];
}

/** More names than a service's windows need at one time; then they are made anew. */
const NAMES_MAX = 4_096;

/** 2¹⁰ ms, about a second: the next question needs other blocks of the levels below. */
const REMEMBERED_LEVEL_MIN = 10;

/** Index < 2⁴⁵ and level < 2⁶ in one safe integer. */
const LEVEL_FACTOR = 2 ** 46;

export class EdgeBlocks {
  readonly #groups: readonly EdgeGroup[];
  #names = new Map<number, FieldName>();

  constructor(groups: readonly EdgeGroup[]) {
    this.#groups = groups.filter(({ older, moving }) => older.length + moving.length > 0);
  }

  /** Appends the fields, each once. */
  append(atMs: number, fields: FieldName[]): void {
    if (this.#groups.length === 0) return;
    // Not one for all calls: see `PartialAggregate.clear`.
    const met = new Set<number>();
    const visit = (level: number, index: number): void => {
      const id = level * LEVEL_FACTOR + index;
      if (met.has(id)) return;
      met.add(id);
      fields.push(this.#name(id, level, index));
    };
    for (const { newerMs, older, moving } of this.#groups) {
      const toMs = atMs - newerMs;
      if (toMs < 0) continue;
      for (const distance of older) forEachBlockBetween(Math.max(-1, atMs - distance), toMs, visit);
      for (const edge of moving) forEachBlockBetween(Math.max(-1, edge(atMs)), toMs, visit);
    }
  }

  #name(id: number, level: number, index: number): FieldName {
    if (level < REMEMBERED_LEVEL_MIN) return blockField(level, index);
    let name = this.#names.get(id);
    if (name === undefined) {
      if (this.#names.size === NAMES_MAX) this.#names = new Map();
      name = blockField(level, index);
      this.#names.set(id, name);
    }
    return name;
  }
}
