/** What is known of customers, from a table that keeps every version with the day from which it holds. */
import {
  batchSource,
  entity,
  featureService,
  featureView,
  integer,
  last,
  onDemandFeature,
  string,
  timestamp,
} from 'millrace';

const described = { owner: 'customer-data', tags: ['customer'] };

export const customers = batchSource({
  name: 'customers',
  columns: {
    customer_id: integer(),
    segment: string(),
    zip: string({ nullable: true }),
    valid_from: timestamp(),
  },
  key: 'customer_id',
  from: 'customers.csv',
  effectiveTime: 'valid_from',
  every: '1d',
  description: 'Versions of customers, each from the day on which it began to hold.',
  ...described,
});

export const customer = entity('customer_id', { description: 'The customer.', ...described });

export const profile = featureView({
  name: 'customer_profile',
  source: customers,
  entity: customer,
  features: {
    segment: last('segment').lifetime({ description: 'The segment at the time asked about.' }),
    zip: last('zip').lifetime({
      maxAge: '1000d',
      description: 'The zip code; stale where the version that has it is older than 1000 days.',
    }),
    profile_since: last('valid_from').lifetime({ description: 'From when on the version holds.' }),
  },
  asOfRetention: '3650d',
  description: 'What is known of a customer.',
  ...described,
});

export const profileAgeDays = onDemandFeature({
  name: 'profile_age_days',
  type: 'integer',
  inputs: { since: profile.feature.profile_since },
  compute: ({ features: { since }, atMs }) =>
    since === null ? null : Math.floor((atMs - since) / 86_400_000),
  description: 'Whole days since the version began to hold.',
  ...described,
});

export const customerProfile = featureService({
  name: 'customer_profile',
  features: [profile, profileAgeDays],
  description: 'What a model is told of a customer.',
  ...described,
});
