/**
 * Tells when everything fetched before a moment has been handed on.
 *
 * kafkajs has one fetch loop per broker: it fetches, hands all batches on, and only then fetches again. So after a
 * seek, a batch may still be of the former place as long as some broker's loop has not begun another round. (A batch
 * with records says where it was fetched; one without does not.)
 */
export interface RoundMark {
  /** Rounds begun at the moment of the mark, by broker. */
  readonly rounds: Map<string, number>;
}

/** A broker that is gone begins no other round; by then its last answer has timed out long since. */
const BROKER_GONE_MS = 60_000;

export class FetchRounds {
  readonly #brokers = new Map<string, { rounds: number; startedMs: number }>();

  fetchStarted(nodeId: string, nowMs: number): void {
    this.#brokers.set(nodeId, { rounds: (this.#brokers.get(nodeId)?.rounds ?? 0) + 1, startedMs: nowMs });
  }

  mark(): RoundMark {
    return { rounds: new Map([...this.#brokers].map(([nodeId, { rounds }]) => [nodeId, rounds])) };
  }

  isOver({ rounds }: RoundMark, nowMs: number): boolean {
    for (const [nodeId, round] of rounds) {
      const broker = this.#brokers.get(nodeId);
      if (broker === undefined || broker.rounds > round || nowMs - broker.startedMs > BROKER_GONE_MS) {
        rounds.delete(nodeId);
      }
    }
    return rounds.size === 0;
  }

  /** All loops ended. */
  clear(): void {
    this.#brokers.clear();
  }
}
