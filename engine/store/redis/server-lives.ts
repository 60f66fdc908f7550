/**
 * Which life of its server each shard was seen in last: the first 4 bytes of the `run_id`, another one after each start of
 * the process. Known for as long as no connection is lost: a server that starts again ends all of them. (Where a proxy keeps
 * them, the next move of a watermark in that shard tells.)
 */
export const LIFE_BYTES = 4;

const UNKNOWN = new Uint8Array(0);

export class ServerLives {
  readonly #lives = new Map<number, Uint8Array>();
  #epoch = 0;

  /** Counts lost connections. What a server says of itself counts only in the epoch in which it was asked. */
  get epoch(): number {
    return this.#epoch;
  }

  /** 4 bytes; none where it is not known. */
  of(shard: number): Uint8Array {
    return this.#lives.get(shard) ?? UNKNOWN;
  }

  /**
   * What a script found out, or was told: only where nothing is known, as it may be what an older call was told.
   * @param epoch as it was when the call was made
   */
  seen(shard: number, life: Uint8Array, epoch: number): void {
    if (epoch === this.#epoch && !this.#lives.has(shard)) this.#lives.set(shard, Uint8Array.from(life));
  }

  /** @param incarnation as moveWatermarks-1.lua makes it, each time: it begins with the run_id, in hex */
  seenIncarnation(shard: number, incarnation: string, epoch: number): void {
    if (epoch !== this.#epoch) return;
    this.#lives.set(shard, Buffer.from(incarnation.slice(0, 2 * LIFE_BYTES), 'hex'));
  }

  connectionLost(): void {
    this.#epoch++;
    this.#lives.clear();
  }
}
