/**
 * Notices a consumer that lives but does not move (kafkajs issues 1513, 659, 1140). Pure: time is told.
 *
 * Three ways to stall, each for `stallMs`: no sign of life at all; a crash (or start) after which no partitions were
 * assigned again; a partition whose log goes on beyond what was fetched, and nothing comes.
 */

export interface PartitionProgress {
  readonly partition: number;
  /** Where the next batch must begin. */
  readonly expected: number;
  /** End of what a reader of committed records can get, as far as known. */
  readonly endOffset: number;
  /** Nobody can expect anything of a partition that is paused, or whose records nobody takes. */
  readonly idle: boolean;
}

export class ConsumerHealth {
  readonly #stallMs: number;
  #aliveAtMs: number;
  #waitingSinceMs: number | null;
  readonly #behind = new Map<number, { expected: number; sinceMs: number }>();

  constructor(stallMs: number, nowMs: number) {
    this.#stallMs = stallMs;
    this.#aliveAtMs = nowMs;
    this.#waitingSinceMs = nowMs;
  }

  /** A fetch or a heartbeat was answered. */
  alive(nowMs: number): void {
    this.#aliveAtMs = nowMs;
  }

  /** Partitions were assigned; perhaps none. */
  joined(nowMs: number): void {
    this.#waitingSinceMs = null;
    this.#aliveAtMs = nowMs;
  }

  /** The consumer is gone; several crashes in a row are one wait. */
  crashed(nowMs: number): void {
    this.#waitingSinceMs ??= nowMs;
    this.#behind.clear();
  }

  /** Why it stalls, or null. To be asked every few seconds. */
  check(nowMs: number, partitions: readonly PartitionProgress[]): string | null {
    if (this.#waitingSinceMs !== null) {
      return nowMs - this.#waitingSinceMs >= this.#stallMs ? 'no partitions were assigned' : null;
    }
    if (nowMs - this.#aliveAtMs >= this.#stallMs) return 'no fetch and no heartbeat was answered';
    const seen = new Set<number>();
    let stalled: string | null = null;
    for (const { partition, expected, endOffset, idle } of partitions) {
      if (idle || endOffset <= expected) continue;
      seen.add(partition);
      const known = this.#behind.get(partition);
      if (known === undefined || known.expected !== expected) {
        this.#behind.set(partition, { expected, sinceMs: nowMs });
      } else if (nowMs - known.sinceMs >= this.#stallMs) {
        stalled ??= `partition ${partition} stays at offset ${expected}, while its log reaches ${endOffset}`;
      }
    }
    for (const partition of this.#behind.keys()) if (!seen.has(partition)) this.#behind.delete(partition);
    return stalled;
  }
}
