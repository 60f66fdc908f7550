/** The stream, the views and the seeded events that the benchmarks of aggregations work on. */
import { compileRepo } from '../../engine/definitions/compile.ts';
import type { CompiledRepo, CompiledService, CompiledView } from '../../engine/definitions/compiled.ts';
import type { EventRow, Feature } from '../../engine/definitions/types.ts';
import { SeededRandom } from '../../engine/testing/random.ts';
import {
  approxDistinctCount,
  count,
  distinctCount,
  double,
  entity,
  featureService,
  featureView,
  integer,
  last,
  max,
  mean,
  percentile,
  streamSource,
  string,
  sum,
  timestamp,
  topKFrequent,
} from '../../index.ts';

export const DAY_MS = 86_400_000;
/** The last event of every history is before it. */
export const END_MS = Date.UTC(2025, 5, 1);
export const WINDOWS = ['1m', '5m', '1h', '1d', '7d', '30d', '90d'] as const;
const MERCHANTS = 5_000;

const source = streamSource({
  name: 'payments',
  columns: { id: integer(), at: timestamp(), card: string(), amount: double(), merchant: string() },
  eventTime: 'at',
  eventId: 'id',
});

/** What a view keeps: each holds the one before. */
export const VARIANTS = ['amount', 'merchant', 'sketches', 'sets'] as const;
export type Variant = (typeof VARIANTS)[number];

export const VARIANT_TEXT: Readonly<Record<Variant, string>> = {
  amount: 'count, sum, mean and max of the amount',
  merchant: 'these, and the last merchant: rows hold id, amount and merchant',
  sketches: 'count, sum, mean, max; percentile, topKFrequent and approxDistinctCount',
  sets: 'these, and distinctCount, exact up to 1024 merchants',
};

const plain = () => ({ n: count(), sum: sum('amount'), mean: mean('amount'), max: max('amount') });
const sketches = () => ({
  ...plain(),
  p95: percentile('amount', 95),
  top: topKFrequent('merchant', 5),
  approx: approxDistinctCount('merchant'),
});
const aggregations = {
  amount: plain,
  merchant: () => ({ ...plain(), last: last('merchant') }),
  sketches,
  sets: () => ({ ...sketches(), distinct: distinctCount('merchant') }),
} as const;

/**
 * A service of one view: every aggregation of the variant over every window.
 * @param only features that the service has of them
 */
export function serviceOf(
  variant: Variant,
  only?: readonly string[],
): { view: CompiledView; service: CompiledService } {
  const features: Record<string, Feature> = {};
  for (const window of WINDOWS) {
    for (const [name, aggregation] of Object.entries(aggregations[variant]())) {
      features[`${name}_${window}`] = aggregation.over(window);
    }
  }
  const view = featureView({
    name: `card_${variant}`,
    source,
    entity: entity('card'),
    features,
    // What exactness costs is what is measured.
    maxStateBytes: 2 ** 30,
  });
  const service = featureService({
    name: `card_${variant}_service`,
    features: only === undefined ? [view] : only.map((name) => view.feature[name]!),
  });
  const repo: CompiledRepo = compileRepo([view, service]);
  return { view: [...repo.views.values()][0]!, service: [...repo.services.values()][0]! };
}

export interface CardEvent extends EventRow {
  readonly id: number;
  readonly at: number;
  readonly card: string;
  readonly amount: number;
  readonly merchant: string;
}

/**
 * Events of one card in order: each at a random time within its share of the span. Ids ascend with gaps, as those of a
 * sequence that other cards take from too; amounts are whole cents, merchants a few often and many rarely.
 */
export class CardEvents {
  readonly #random: SeededRandom;
  readonly #events: number;
  readonly #spanMs: number;
  readonly #card: string;
  #made = 0;
  #id = 1_000_000_000;

  /** @param of.spanMs the history ends at `END_MS`; 1: all events in one millisecond */
  constructor(of: { seed: number; card: string; events: number; spanMs: number }) {
    this.#random = new SeededRandom(of.seed);
    this.#card = of.card;
    this.#events = of.events;
    this.#spanMs = of.spanMs;
  }

  /** The next `count`, fewer at the end. */
  take(count: number): CardEvent[] {
    const random = this.#random;
    const events: CardEvent[] = [];
    for (const end = Math.min(this.#events, this.#made + count); this.#made < end; this.#made++) {
      const share = (this.#made + random.uint32() / 2 ** 32) / this.#events;
      this.#id += random.between(1, 2_000);
      events.push({
        id: this.#id,
        at: END_MS - this.#spanMs + Math.floor(share * this.#spanMs),
        card: this.#card,
        amount: (1 + Math.floor((random.uint32() / 2 ** 32) * (random.uint32() / 2 ** 32) * 20_000)) / 100,
        merchant: `m${100_000 + Math.floor((random.uint32() / 2 ** 32) ** 3 * MERCHANTS)}`,
      });
    }
    return events;
  }
}
