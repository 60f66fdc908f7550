/** The repo of the write benchmarks: one source, one view. Each run has a topic of its own. */
import {
  count,
  entity,
  featureService,
  featureView,
  integer,
  streamSource,
  string,
  sum,
  timestamp,
} from 'millrace';

export const payments = streamSource({
  name: 'payments',
  topic: process.env.BENCH_TOPIC ?? 'payments',
  columns: { id: string(), at: timestamp(), card: string(), amount: integer(), merchant: string() },
  eventTime: 'at',
  eventId: 'id',
});

export const card = entity('card');

export const byCard = featureView({
  name: 'by_card',
  source: payments,
  entity: card,
  features: {
    payments_1h: count().over('1h'),
    amount_1d: sum('amount').over('1d'),
    payments_30d: count().over('30d'),
  },
});

export const cards = featureService({ name: 'cards', features: [byCard] });
