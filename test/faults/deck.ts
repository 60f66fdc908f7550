import type { SeededRandom } from '../../engine/testing/random.ts';

/** Deals each of its cards once, in an order of chance, before any comes again: short runs meet every kind of fault. */
export class Deck<T> {
  readonly #cards: readonly T[];
  #left: T[] = [];

  constructor(cards: readonly T[]) {
    this.#cards = cards;
  }

  draw(random: SeededRandom): T {
    if (this.#left.length === 0) this.#left = [...this.#cards];
    return this.#left.splice(random.below(this.#left.length), 1)[0]!;
  }
}
