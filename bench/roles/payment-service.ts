/** What the write benchmarks count: one source, one view or several like it. */
import {
  count,
  entity,
  type FeatureService,
  featureService,
  featureView,
  integer,
  streamSource,
  string,
  sum,
  timestamp,
} from 'millrace';
import { paymentView } from './payment-events.ts';

export function paymentService(args: { readonly topic: string; readonly views: number }): FeatureService {
  const payments = streamSource({
    name: 'payments',
    topic: args.topic,
    columns: { id: string(), at: timestamp(), card: string(), amount: integer(), merchant: string() },
    eventTime: 'at',
    eventId: 'id',
  });
  const card = entity('card');
  const views = Array.from({ length: args.views }, (_, i) => {
    const name = paymentView(i);
    return featureView({
      name,
      source: payments,
      entity: card,
      features: {
        [`${name}_payments_1h`]: count().over('1h'),
        [`${name}_amount_1d`]: sum('amount').over('1d'),
        [`${name}_payments_30d`]: count().over('30d'),
      },
    });
  });
  return featureService({ name: 'cards', features: views });
}
