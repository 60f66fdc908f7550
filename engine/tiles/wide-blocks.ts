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
import { CHILDREN_BITS, SHIFTS } from './grid.ts';

/** 2³⁵ ms, 1.09 years: longer stretches are made up of several of these. */
export const BLOCK_LEVEL_MAX = SHIFTS[0]! + 5;

/** Field of the block [index · 2^level, (index + 1) · 2^level): `w`, the level and the index, both in base 36. */
export function blockField(level: number, index: number): FieldName {
  return `w${base36(level)}${base36(index)}`;
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

/**
 * The blocks that together hold exactly the times fromMs < time < toMs, each once; from either edge to the middle.
 * @param fromMs a whole number ≥ −1
 */
export function forEachBlockBetween(
  fromMs: number,
  toMs: number,
  visit: (level: number, index: number) => void,
): void {
  let left = fromMs;
  let right = toMs;
  for (let level = 0; level < BLOCK_LEVEL_MAX; level++) {
    const leftAbove = Math.floor(left / 2);
    const rightAbove = Math.floor(right / 2);
    // One block holds both: all that is between them was visited.
    if (leftAbove === rightAbove) return;
    if (left === 2 * leftAbove) visit(level, left + 1);
    if (right !== 2 * rightAbove) visit(level, right - 1);
    left = leftAbove;
    right = rightAbove;
  }
  for (let index = left + 1; index < right; index++) visit(BLOCK_LEVEL_MAX, index);
}

/**
 * Where the blocks between two times turn from the siblings of the older time's path to those of the newer one's: the
 * start of the block that holds `toMs` and not `fromMs`, as large as there is. For older and older `fromMs` it falls.
 */
export function turnMs(fromMs: number, toMs: number): number {
  let level = 0;
  while (level < BLOCK_LEVEL_MAX) {
    const span = 2 ** (level + 1);
    if (Math.floor(fromMs / span) === Math.floor(toMs / span)) break;
    level++;
  }
  return Math.floor(toMs / 2 ** level) * 2 ** level;
}
