/** Which partitions a rebuild waits for while nobody applies them. */
import type { RebuildLook } from './view-rebuild.ts';

/** How long nobody may apply a partition that is waited for, ms. */
export const LEFT_ALONE_MS = 2_000;

/** Each partition by itself: the others may be under load all the while. */
export class LeftAlone {
  /** Partition that is waited for → where it stands, and since when, ms of the clock given. */
  readonly #standing = new Map<number, { readonly nextOffset: number; readonly sinceMs: number }>();

  /** Takes a look into account. @returns whether some partition has stood still for too long */
  look({ awaited, nextOffsets }: Pick<RebuildLook, 'awaited' | 'nextOffsets'>, nowMs: number): boolean {
    for (const partition of this.#standing.keys()) {
      if (!awaited.includes(partition)) this.#standing.delete(partition);
    }
    let isAny = false;
    for (const partition of awaited) {
      const nextOffset = nextOffsets[partition]!;
      const standing = this.#standing.get(partition);
      if (standing?.nextOffset !== nextOffset) this.#standing.set(partition, { nextOffset, sinceMs: nowMs });
      else if (nowMs - standing.sinceMs > LEFT_ALONE_MS) isAny = true;
    }
    return isAny;
  }
}
