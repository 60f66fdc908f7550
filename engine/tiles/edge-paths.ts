/**
 * The fields on the paths of a view's window edges, depth by depth, for one as-of time after another.
 *
 * Most edges lie at fixed distances from the as-of time, which moves little from one question to the next: a list is made
 * again only when a bucket in it has changed, and those of the coarse levels hardly ever do.
 */
import type { FieldName } from '../store/tile-store.ts';
import { bucketOf, DEPTH_MAX, nodeField } from './grid.ts';

export class EdgePaths {
  readonly #distances: readonly number[];
  readonly #moving: readonly ((atMs: number) => number)[];
  /** Times of the edges: newest first as far as they are at fixed distances, then the moving ones, and one more. */
  readonly #times: number[] = [];
  /** By depth: the buckets of the times at the last call; −1 before time 0. */
  readonly #buckets: readonly number[][] = Array.from({ length: DEPTH_MAX + 1 }, () => []);
  readonly #fields: (readonly FieldName[])[] = Array.from({ length: DEPTH_MAX + 1 }, () => []);

  /**
   * @param distances how far before the as-of time each edge lies, ms; whole numbers ≥ 0, in any order
   * @param moving edges that lie elsewhere: the time of each for an as-of time
   */
  constructor(distances: Iterable<number>, moving: readonly ((atMs: number) => number)[] = []) {
    this.#distances = [...new Set(distances)].sort((a, b) => a - b);
    this.#moving = moving;
  }

  /**
   * From now on the paths are those of this as-of time.
   * @param extraMs a further time whose path is needed; null: none
   */
  moveTo(atMs: number, extraMs: number | null): void {
    const times = this.#times;
    times.length = 0;
    for (const distance of this.#distances) times.push(atMs - distance);
    for (const edge of this.#moving) times.push(edge(atMs));
    if (extraMs !== null) times.push(extraMs);
  }

  /** The fields at `depth`, each once; the same list as before where they are the same. Edges before time 0 have none. */
  at(depth: number): readonly FieldName[] {
    const times = this.#times;
    const buckets = this.#buckets[depth]!;
    let changed = buckets.length !== times.length;
    buckets.length = times.length;
    for (let t = 0; t < times.length; t++) {
      const bucket = times[t]! < 0 ? -1 : bucketOf(depth, times[t]!);
      if (buckets[t] === bucket) continue;
      buckets[t] = bucket;
      changed = true;
    }
    if (changed) this.#fields[depth] = namesOf(depth, buckets);
    return this.#fields[depth]!;
  }
}

function namesOf(depth: number, buckets: readonly number[]): FieldName[] {
  const fields: FieldName[] = [];
  for (let b = 0; b < buckets.length; b++) {
    // Those that share a bucket mostly follow each other.
    if (buckets[b]! < 0 || buckets.indexOf(buckets[b]!) < b) continue;
    fields.push(nodeField(depth, buckets[b]!));
  }
  return fields;
}
