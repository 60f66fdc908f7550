/**
 * Where wide partials are kept: one field for each *block* of time, an aligned interval of 2^level ms.
 *
 * The children of an inner node that are not rows (`node`, `collapsed`) have, besides the narrow partials beside them in
 * the node, wide ones: block by block of 1, 2 and 4 children, and below the root of up to 32, merged over those of the
 * block's children that have any. A block without such children has no field. Inline rows are in no block: whoever
 * needs them has the node at hand.
 *
 * A read of a stretch of time then takes the fewest aligned blocks that make it up, at most two a level, whatever the
 * fan-out; they are the siblings of the nodes on the paths of its edges, so their names follow from the edges alone.
 */
import type { FieldName } from '../store/tile-store.ts';
import { base36 } from './base36.ts';
import { CHILDREN_BITS, DEPTH_MAX, SHIFTS } from './grid.ts';

/** 2³⁵ ms, 1.09 years: longer stretches are made up of several of these. */
export const BLOCK_LEVEL_MAX = SHIFTS[0]! + 5;

/** Field of the block [index · 2^level, (index + 1) · 2^level): `w`, the level and the index, both in base 36. */
export function blockField(level: number, index: number): FieldName {
  return `w${base36(level)}${base36(index)}`;
}

export interface BlockPlace {
  readonly level: number;
  readonly index: number;
}

/** The block that a field is of; null: of none. */
export function placeOfField(field: FieldName): BlockPlace | null {
  if (!field.startsWith('w')) return null;
  return { level: Number.parseInt(field[1]!, 36), index: Number.parseInt(field.slice(2), 36) };
}

/** The levels of the blocks over children at depth 1 ≤ depth: from the first to the last, both included. */
export function blockLevels(depth: number): { readonly first: number; readonly last: number } {
  const first = SHIFTS[depth - 1]!;
  return { first, last: depth === 1 ? BLOCK_LEVEL_MAX : first + CHILDREN_BITS - 1 };
}

/** Index at `level` of the block that holds a block or bucket of the lower level `fromLevel`. */
export function blockAbove(fromLevel: number, index: number, level: number): number {
  return Math.floor(index / 2 ** (level - fromLevel));
}

const BLOCK_LEVELS = Array.from({ length: DEPTH_MAX + 1 }, (_, depth) => blockLevels(Math.max(1, depth)));

/**
 * The blocks that together hold exactly the times fromMs < time < toMs, each once; from either edge to the middle.
 * @param fromMs a whole number ≥ −1
 */
export function forEachBlockBetween(
  fromMs: number,
  toMs: number,
  visit: (level: number, index: number) => void,
): void {
  for (let depth = DEPTH_MAX; depth >= 1; depth--) forEachBlockAt(depth, fromMs, toMs, visit);
}

/** Those among them that are made of children at `depth`: they follow from the buckets of the two times at this depth. */
export function forEachBlockAt(
  depth: number,
  fromMs: number,
  toMs: number,
  visit: (level: number, index: number) => void,
): void {
  const { first, last } = BLOCK_LEVELS[depth]!;
  let left = Math.floor(fromMs / 2 ** first);
  let right = Math.floor(toMs / 2 ** first);
  // One block holds both: all that is between them is in smaller ones.
  if (left === right) return;
  for (let level = first; level <= last && level < BLOCK_LEVEL_MAX; level++) {
    const leftAbove = Math.floor(left / 2);
    const rightAbove = Math.floor(right / 2);
    if (leftAbove === rightAbove) return;
    if (left === 2 * leftAbove) visit(level, left + 1);
    if (right !== 2 * rightAbove) visit(level, right - 1);
    left = leftAbove;
    right = rightAbove;
  }
  if (last < BLOCK_LEVEL_MAX) return;
  for (let index = left + 1; index < right; index++) visit(BLOCK_LEVEL_MAX, index);
}

/** Whether `forEachBlockBetween` visits a block: it lies between the times, and the next larger one that holds it does not. */
export function isBlockBetween({ level, index }: BlockPlace, fromMs: number, toMs: number): boolean {
  const span = 2 ** level;
  if (index * span <= fromMs || toMs < (index + 1) * span) return false;
  if (level === BLOCK_LEVEL_MAX) return true;
  const above = Math.floor(index / 2);
  return above * 2 * span <= fromMs || toMs < (above + 1) * 2 * span;
}

/**
 * Where the blocks between two times turn from the siblings of the older time's path to those of the newer one's: the
 * start of the block that holds `toMs` and not `fromMs`, as large as there is. For older and older `fromMs` it falls.
 */
export function turnMs(fromMs: number, toMs: number): number {
  let span = 1;
  let left = fromMs;
  let right = toMs;
  for (let level = 0; level < BLOCK_LEVEL_MAX; level++) {
    const leftAbove = Math.floor(left / 2);
    const rightAbove = Math.floor(right / 2);
    if (leftAbove === rightAbove) break;
    left = leftAbove;
    right = rightAbove;
    span *= 2;
  }
  return right * span;
}
