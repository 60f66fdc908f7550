/**
 * Notices that the store has lost what was applied to a namespace that is being filled. A consumer finds out by itself only
 * when the next record comes; of an idle partition none does.
 */
export class LostPositions {
  /** Partition → what the next look finds at least, if nothing is lost. */
  readonly #least = new Map<number, number>();

  /** @param nextOffsets by partition; −1: the store has none. @returns partitions that stand before where they were */
  look(nextOffsets: readonly number[]): number[] {
    const lost = [...this.#least].filter(([partition, least]) => (nextOffsets[partition] ?? -1) < least);
    this.#least.clear();
    for (const [partition, nextOffset] of nextOffsets.entries()) this.#least.set(partition, nextOffset);
    return lost.map(([partition]) => partition);
  }

  /** Watermarks have been found there or moved so far by now, before the next look. */
  applied(positions: readonly { readonly partition: number; readonly nextOffset: number }[]): void {
    for (const { partition, nextOffset } of positions) {
      this.#least.set(partition, Math.max(nextOffset, this.#least.get(partition) ?? -1));
    }
  }
}
