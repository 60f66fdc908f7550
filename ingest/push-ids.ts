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

/**
 * Two generations: when the younger one is full it becomes the older one, whose ids are then forgotten together.
 * (Deleting a Map's first entry one at a time leaves gaps that every look at the first entry walks over.)
 */
export class PushIds {
  readonly #generationMax: number;
  readonly #horizonMs: number;
  #young = new Map<IdKey, KnownId>();
  #old = new Map<IdKey, KnownId>();

  /** @param max ids remembered, to the nearest even number; at least half as many are. 0: none */
  constructor({ max, horizonMs }: { max: number; horizonMs: number }) {
    this.#generationMax = max / 2;
    this.#horizonMs = horizonMs;
  }

  static key(id: EventId): IdKey {
    return `${id.hi.toString(36)}.${id.lo.toString(36)}`;
  }

  /** The event that this one repeats, where it is known: same id, |Δ event time| ≤ horizon. */
  find(key: IdKey, timeMs: number): KnownId | null {
    const known = this.#young.get(key) ?? this.#old.get(key);
    return known !== undefined && Math.abs(known.timeMs - timeMs) <= this.#horizonMs ? known : null;
  }

  /** Remembers an id; a former event of the same id, further away than the horizon, is forgotten. */
  add(key: IdKey, known: KnownId): void {
    if (this.#generationMax === 0) return;
    if (this.#young.size >= this.#generationMax) {
      this.#old = this.#young;
      this.#young = new Map();
    }
    this.#young.set(key, known);
  }

  /** Forgets an id whose append failed. */
  forget(key: IdKey, known: KnownId): void {
    if (this.#young.get(key) === known) this.#young.delete(key);
    if (this.#old.get(key) === known) this.#old.delete(key);
  }
}
