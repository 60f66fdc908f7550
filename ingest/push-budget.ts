import { PushError } from './push-error.ts';

/** Decoded, an event takes some 1 kB however short it was: twice what the bytes of its push say, or twenty times. */
const EVENTS_MAX = 200_000;

/** Bounds the bytes and events of pushes that are being written, over all sources: beyond it pushes are refused early. */
export class PushBudget {
  readonly #maxBytes: number;
  readonly #maxEvents: number;
  #inFlightBytes = 0;
  #inFlightEvents = 0;

  /** @param maxEvents default 200,000 */
  constructor(maxBytes: number, maxEvents = EVENTS_MAX) {
    this.#maxBytes = maxBytes;
    this.#maxEvents = maxEvents;
  }

  get inFlightBytes(): number {
    return this.#inFlightBytes;
  }

  /**
   * Takes bytes and events until the returned function is called. One push alone is always taken, however large.
   * @throws PushError `overloaded`
   */
  reserve(bytes: number, events: number): () => void {
    const isAlone = this.#inFlightBytes === 0 && this.#inFlightEvents === 0;
    const fits =
      this.#inFlightBytes + bytes <= this.#maxBytes && this.#inFlightEvents + events <= this.#maxEvents;
    if (!isAlone && !fits) {
      throw new PushError('overloaded', 'too many events are being written: try again shortly');
    }
    this.#inFlightBytes += bytes;
    this.#inFlightEvents += events;
    let held = true;
    return () => {
      if (held) {
        this.#inFlightBytes -= bytes;
        this.#inFlightEvents -= events;
      }
      held = false;
    };
  }
}
