/** Card swipes as a fraud model sees them: 28 window features of two entities, from 1 minute to 90 days. */
import {
  boolean,
  count,
  distinctCount,
  double,
  entity,
  featureService,
  featureView,
  integer,
  max,
  mean,
  onDemandFeature,
  stddevSamp,
  streamSource,
  string,
  sum,
  timestamp,
} from 'millrace';

export const swipes = streamSource({
  name: 'swipes',
  columns: {
    id: integer(),
    at: timestamp(),
    card: string(),
    merchant: string(),
    amount: double(),
    country: string(),
    is_foreign: boolean(),
  },
  eventTime: 'at',
  eventId: 'id',
});

export const card = entity('card');
export const merchant = entity('merchant');

export const cardSpend = featureView({
  name: 'card_spend',
  source: swipes,
  entity: card,
  features: {
    card_count_1m: count().over('1m'),
    card_count_5m: count().over('5m'),
    card_count_1h: count().over('1h'),
    card_count_1d: count().over('1d'),
    card_count_7d: count().over('7d'),
    card_count_30d: count().over('30d'),
    card_count_90d: count().over('90d'),
    card_sum_1h: sum('amount').over('1h'),
    card_sum_1d: sum('amount').over('1d'),
    card_sum_7d: sum('amount').over('7d'),
    card_sum_30d: sum('amount').over('30d'),
    card_sum_90d: sum('amount').over('90d'),
    card_mean_30d: mean('amount').over('30d'),
    card_mean_90d: mean('amount').over('90d'),
    card_stddev_30d: stddevSamp('amount').over('30d'),
    card_max_30d: max('amount').over('30d'),
    card_foreign_30d: count().where('is_foreign').over('30d'),
    card_countries_7d: distinctCount('country').over('7d'),
  },
});

export const merchantVolume = featureView({
  name: 'merchant_volume',
  source: swipes,
  entity: merchant,
  features: {
    merchant_count_1m: count().over('1m'),
    merchant_count_1h: count().over('1h'),
    merchant_count_1d: count().over('1d'),
    merchant_count_7d: count().over('7d'),
    merchant_count_30d: count().over('30d'),
    merchant_count_90d: count().over('90d'),
    merchant_sum_1d: sum('amount').over('1d'),
    merchant_sum_30d: sum('amount').over('30d'),
    merchant_sum_90d: sum('amount').over('90d'),
    merchant_foreign_30d: count().where('is_foreign').over('30d'),
  },
});

/** How the last week compares with three months; null where there is nothing to compare with. */
export const spendTrend = onDemandFeature({
  name: 'spend_trend',
  type: 'double',
  inputs: { week: cardSpend.feature.card_sum_7d, quarter: cardSpend.feature.card_sum_90d },
  compute: ({ features: { week, quarter } }) => {
    const whole = Number(quarter ?? 0);
    return whole === 0 ? null : (Number(week ?? 0) * 90) / (7 * whole);
  },
});

export const swipeRisk = featureService({
  name: 'swipe_risk',
  features: [cardSpend, merchantVolume, spendTrend],
});
