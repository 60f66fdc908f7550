/** A small repo with one of everything that ingest and serving have to get right. */
import {
  boolean,
  type CompiledRepo,
  compileRepo,
  count,
  distinctCount,
  double,
  entity,
  featureService,
  featureView,
  last,
  lastN,
  long,
  max,
  onDemandFeature,
  streamSource,
  string,
  sum,
  timestamp,
} from '../../index.ts';

export const payments = streamSource({
  name: 'payments',
  columns: {
    id: string(),
    at: timestamp(),
    card: string(),
    shop: string({ nullable: true }),
    amount: double(),
    points: long({ nullable: true }),
    refused: boolean({ nullable: true }),
  },
  eventTime: 'at',
  eventId: 'id',
  owner: 'payments team',
});

/** Without an event id. */
export const clicks = streamSource({
  name: 'clicks',
  columns: { at: timestamp(), card: string(), page: string() },
  eventTime: 'at',
  maxFuture: '1m',
});

export const card = entity('card');
export const shop = entity('shop');

export const spend = featureView({
  name: 'spend',
  source: payments,
  entity: card,
  features: {
    payments_1h: count().over('1h', { description: 'Payments in an hour.', tags: ['hourly'] }),
    amount_sum_1h: sum('amount').over('1h'),
    amount_last_1h: last('amount').over('1h'),
    amounts_last_1h: lastN('amount', 3).over('1h'),
    amount_max_1d: max('amount').over('1d'),
    points_sum_1d: sum('points').over('1d'),
    shops_1d: distinctCount('shop').over('1d'),
    payments_before_1h: count().over('1h', { offset: '1h' }),
    payments_ever: count().lifetime(),
  },
  asOfRetention: '1d',
});

export const refusals = featureView({
  name: 'refusals',
  source: payments,
  entity: card,
  filter: (event) => event.refused === true,
  features: { refusals_1h: count().over('1h') },
  asOfRetention: '6h',
});

export const shops = featureView({
  name: 'shops',
  source: payments,
  entity: shop,
  project: {
    cents: {
      type: 'integer',
      from: (event) => {
        if (event.amount < 0) throw new RangeError('negative');
        return Math.round(event.amount * 100);
      },
    },
  },
  features: { shop_payments_1h: count().over('1h'), shop_cents_1h: sum('cents').over('1h') },
});

export const browsing = featureView({
  name: 'browsing',
  source: clicks,
  entity: card,
  features: { clicks_1h: count().over('1h'), page_last_1h: last('page').over('1h') },
});

export const ratio = onDemandFeature({
  name: 'amount_ratio',
  type: 'double',
  inputs: { biggest: spend.feature.amount_max_1d },
  request: { amount: double() },
  compute: ({ features: { biggest }, request }) =>
    biggest === null || biggest === 0 ? null : request.amount / biggest,
});

export const moody = onDemandFeature({
  name: 'moody',
  type: 'integer',
  request: { mood: string({ nullable: true }) },
  compute: ({ request }) => {
    if (request.mood === 'bad') throw new Error('a secret of the request');
    if (request.mood === 'nan') return Number.NaN;
    return 1;
  },
});

export const afterMoody = onDemandFeature({
  name: 'after_moody',
  type: 'integer',
  inputs: { moody },
  compute: ({ features }) => (features.moody ?? 0) + 1,
});

export const hour = onDemandFeature({
  name: 'hour',
  type: 'integer',
  compute: ({ atMs }) => new Date(atMs).getUTCHours(),
});

/** Views of one entity only. */
export const cardService = featureService({ name: 'card', features: [spend, refusals, hour] });

/** Request data, two entities. */
export const decision = featureService({
  name: 'decision',
  features: [ratio, afterMoody, moody, spend.feature.payments_1h, shops],
});

/** Two sources. */
export const both = featureService({
  name: 'both',
  features: [spend.feature.payments_1h, browsing.feature.clicks_1h, browsing.feature.page_last_1h],
});

export const testRepo: CompiledRepo = compileRepo([cardService, decision, both]);

/** 2026-03-02T12:00:00Z */
export const NOON_MS = Date.UTC(2026, 2, 2, 12);

let nextId = 0;

/** A payment at noon; give what matters. */
export function payment(columns: Readonly<Record<string, unknown>> = {}): Record<string, unknown> {
  return { id: `p${++nextId}`, at: NOON_MS, card: 'c1', shop: 's1', amount: 10, ...columns };
}
