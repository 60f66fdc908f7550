/**
 * The fields on the paths of a view's window edges, for one as-of time after another.
 *
 * Most edges lie at fixed distances from the as-of time, which moves little from one question to the next: a name is
 * made again only when its bucket has changed, and those of the coarse levels hardly ever do.
 */
import type { FieldName } from '../store/tile-store.ts';
import { bucketOf, DEPTH_MAX, nodeField } from './grid.ts';

export class EdgePaths {
  readonly #distances: readonly number[];
  readonly #moving: readonly ((atMs: number) => number)[];
  /** Times besides those at fixed distances: of the moving edges, and one more. */
  readonly #times: number[] = [];
  /** Per edge and depth, the bucket last met and its name. */
  readonly #buckets: Float64Array;
  readonly #names: FieldName[];

  /**
   * @param distances how far before the as-of time each edge lies, ms; whole numbers ≥ 0, in any order
   * @param moving edges that lie elsewhere: the time of each for an as-of time
   */
  constructor(distances: Iterable<number>, moving: readonly ((atMs: number) => number)[] = []) {
    this.#distances = [...new Set(distances)].sort((a, b) => a - b);
    this.#moving = moving;
    this.#buckets = new Float64Array(this.#distances.length * DEPTH_MAX).fill(-1);
    this.#names = new Array<FieldName>(this.#buckets.length).fill('');
  }

  /**
   * Appends the fields, each once. Edges before time 0 have none.
   * @param extraMs a further time whose path is needed; null: none
   */
  append(atMs: number, extraMs: number | null, fields: FieldName[]): void {
    const times = this.#times;
    times.length = 0;
    for (const edge of this.#moving) times.push(edge(atMs));
    if (extraMs !== null) times.push(extraMs);
    for (let depth = 1; depth <= DEPTH_MAX; depth++) {
      const first = fields.length;
      // Edges come newest first, so that those that share a bucket follow each other.
      let previous = -1;
      for (let edge = 0; edge < this.#distances.length; edge++) {
        const edgeMs = atMs - this.#distances[edge]!;
        if (edgeMs < 0) break;
        const bucket = bucketOf(depth, edgeMs);
        if (bucket === previous) continue;
        previous = bucket;
        fields.push(this.#name(edge, depth, bucket));
      }
      for (const timeMs of times) {
        if (timeMs < 0) continue;
        const field = nodeField(depth, bucketOf(depth, timeMs));
        if (!fields.includes(field, first)) fields.push(field);
      }
    }
  }

  #name(edge: number, depth: number, bucket: number): FieldName {
    const at = edge * DEPTH_MAX + depth - 1;
    if (this.#buckets[at] !== bucket) {
      this.#buckets[at] = bucket;
      this.#names[at] = nodeField(depth, bucket);
    }
    return this.#names[at]!;
  }
}
