import { PushError } from './push-error.ts';

/** Bounds the bytes of pushes that are being written, over all sources: beyond it pushes are refused early. */
export class PushBudget {
  readonly #maxBytes: number;
  #inFlightBytes = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  get inFlightBytes(): number {
    return this.#inFlightBytes;
  }

  /**
   * Takes bytes until the returned function is called. One push alone is always taken, however large.
   * @throws PushError `overloaded`
   */
  reserve(bytes: number): () => void {
    if (this.#inFlightBytes > 0 && this.#inFlightBytes + bytes > this.#maxBytes) {
      throw new PushError('overloaded', 'too many events are being written: try again shortly');
    }
    this.#inFlightBytes += bytes;
    let held = true;
    return () => {
      if (held) this.#inFlightBytes -= bytes;
      held = false;
    };
  }
}
