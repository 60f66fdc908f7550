/**
 * Ids of the events pushed lately, so that a push can say which of its events are duplicates and keep them out
 * of the log. Bounded: what it has forgotten is still told apart where it counts, in the state of each key.
 */
import type { EventId } from '../engine/event-id.ts';

export type IdKey = string;

/** What is known of an id: durable, or being written by the promise. */
export interface KnownId {
  readonly timeMs: number;
  /** Settles with the append that writes it; null once durable. */
  pending: Promise<void> | null;
}

export class PushIds {
  readonly #max: number;
  readonly #horizonMs: number;
  readonly #ids = new Map<IdKey, KnownId>();

  constructor(args: { max: number; horizonMs: number }) {
    this.#max = args.max;
    this.#horizonMs = args.horizonMs;
  }

  static key(id: EventId): IdKey {
    return `${id.hi.toString(36)}.${id.lo.toString(36)}`;
  }

  /** The event that this one repeats, where it is known: same id, |Δ event time| ≤ horizon. */
  find(key: IdKey, timeMs: number): KnownId | null {
    const known = this.#ids.get(key);
    return known !== undefined && Math.abs(known.timeMs - timeMs) <= this.#horizonMs ? known : null;
  }

  /** Remembers an id; a former event of the same id, further away than the horizon, is forgotten. */
  add(key: IdKey, known: KnownId): void {
    this.#ids.delete(key);
    this.#ids.set(key, known);
    if (this.#ids.size > this.#max) {
      for (const oldest of this.#ids.keys()) {
        this.#ids.delete(oldest);
        break;
      }
    }
  }

  /** Forgets an id whose append failed. */
  forget(key: IdKey, known: KnownId): void {
    if (this.#ids.get(key) === known) this.#ids.delete(key);
  }
}
