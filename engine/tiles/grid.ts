/**
 * The grid of time that tiles lie on.
 *
 * A node of the tile tree covers one aligned interval [bucket · 2^shift, (bucket + 1) · 2^shift) of event time
 * in ms. Levels from the top: 2³⁰ ms (12.4 days), 2²⁷ (37 h), 2²⁴ (4.7 h), 2²¹ (35 min), 2¹⁸ (4.4 min), 2¹⁵ (33 s) and
 * so on down to 2⁰ (1 ms). Below the root every level splits into 8, so the size of a node and the work at a window's edge
 * are bounded alike at every level, and a field's name follows from a time by a division. The root has no
 * interval: its children are all buckets of the top level.
 *
 * Why 8: with 32 a node's tiles were most of what a read and a write moved (18.6 kB a read of a key of 300,000 events
 * in 90 days, 11.8 kB with 8 and half as large leaves), and what spilled from a node was in ever so small fields: half as
 * many fields with 8. With 4, and more levels, a read asks for half as many names again and is no shorter.
 */
import type { FieldName } from '../store/tile-store.ts';
import { base36 } from './base36.ts';

/** A node's children: 2 to this many. */
export const CHILDREN_BITS = 3;

/** Depth 0 is the root; depth d ≥ 1 has the shift SHIFTS[d − 1]. Each is `CHILDREN_BITS` less than the one above. */
export const SHIFTS: readonly number[] = Array.from({ length: 11 }, (_, i) => 30 - CHILDREN_BITS * i);
export const DEPTH_MAX = SHIFTS.length;
const SPANS: readonly number[] = SHIFTS.map((shift) => 2 ** shift);

/** Event times are 0 ≤ t < TIME_END_MS (year 3084), so that a name's bucket stays short. */
export const TIME_END_MS = 2 ** 45;

/** Length of the interval of a node at depth 1 ≤ depth ≤ DEPTH_MAX, ms. */
export function spanMs(depth: number): number {
  return SPANS[depth - 1]!;
}

/** The bucket at `depth` that holds `timeMs`: bucket · span ≤ timeMs < (bucket + 1) · span. */
export function bucketOf(depth: number, timeMs: number): number {
  return Math.floor(timeMs / SPANS[depth - 1]!);
}

const LEVEL_LETTERS = 'abcdefghijk';

/** Field of the node at `depth` and `bucket`: a level letter (`a` is the top) and the bucket in base 36. */
export function nodeField(depth: number, bucket: number): FieldName {
  return LEVEL_LETTERS[depth - 1]! + base36(bucket);
}

/** Fields of all nodes on the path of a time, top first. */
export function pathFields(timeMs: number): FieldName[] {
  const fields: FieldName[] = [];
  for (let depth = 1; depth <= DEPTH_MAX; depth++) fields.push(nodeField(depth, bucketOf(depth, timeMs)));
  return fields;
}

export const ROOT_FIELD: FieldName = 'R';
export const IDS_FIELD: FieldName = 'I';
export const NEWEST_FIELD: FieldName = 'N';
