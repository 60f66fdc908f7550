import type { SeededRandom } from '../../engine/testing/random.ts';

const EVENT_MS_PER_MS = 1_200;
const HOUR_MS = 3_600_000;
const SHOPS = ['corner', 'mall', 'kiosk', null];

export const CARDS: readonly string[] = Array.from({ length: 12 }, (_, i) => `card-${i}`);

export interface Payment {
  readonly id: string;
  readonly at: string;
  readonly card: string;
  readonly shop: string | null;
  readonly amount: number;
  readonly points: number | string | null;
}

export interface Visit {
  readonly at: string;
  readonly card: string;
  readonly page: string;
}

/** Events of the fixture `roles`, their times along a clock of twenty minutes a second, some of them hours late. */
export class Events {
  readonly #random: SeededRandom;
  readonly #fromMs = Date.now() - 4 * 86_400_000;
  readonly #startedMs = performance.now();
  #next = 0;

  constructor(random: SeededRandom) {
    this.#random = random;
  }

  get nowMs(): number {
    return this.#fromMs + Math.floor((performance.now() - this.#startedMs) * EVENT_MS_PER_MS);
  }

  payment(): Payment {
    const random = this.#random;
    const points = random.below(3);
    return {
      id: `p${this.#next++}`,
      at: this.#at(),
      card: random.pick(CARDS),
      shop: random.pick(SHOPS),
      amount: random.below(100_000) / 100,
      points: points === 0 ? null : points === 1 ? random.below(1_000) : `90071992547409${random.below(100)}`,
    };
  }

  visit(): Visit {
    return { at: this.#at(), card: this.#random.pick(CARDS), page: `/${this.#random.below(6)}` };
  }

  #at(): string {
    const lateMs = this.#random.chance(0.1) ? this.#random.below(3 * HOUR_MS) : this.#random.below(60_000);
    return new Date(this.nowMs - lateMs).toISOString();
  }
}
