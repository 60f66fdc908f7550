/**
 * Type tests, checked by `tsc --noEmit` alone: what the compiler infers, and that each mistake is an error where
 * it is made. The wording of the readable errors is checked through the types that hold it.
 */
import {
  all,
  any,
  approxDistinctCount,
  bottomN,
  changes,
  collectSet,
  count,
  distinctCount,
  entropy,
  expDecayCount,
  expDecayMean,
  expDecaySum,
  first,
  firstDistinctN,
  firstN,
  histogram,
  kurtosis,
  last,
  lastDistinctN,
  lastN,
  max,
  maxByN,
  maxGap,
  mean,
  median,
  min,
  minByN,
  minGap,
  percentile,
  percentiles,
  rate,
  skew,
  stddevSamp,
  sum,
  timeSinceFirst,
  timeSinceLast,
  topKFrequent,
  topN,
  varPop,
} from './aggregation.ts';
import { batchSource } from './batch-source.ts';
import { boolean, double, integer, long, type RowOf, string, timestamp } from './column.ts';
import { entity } from './entity.ts';
import { featureService } from './feature-service.ts';
import { featureView } from './feature-view.ts';
import { onDemandFeature, type ValueOfInput } from './on-demand-feature.ts';
import { streamSource } from './stream-source.ts';
import type { FeatureReference, FeatureView, OnDemandFeature, StreamSource } from './types.ts';

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
declare function expectType<A, B>(same: Equal<A, B>): void;
type ValueOf<R> = R extends FeatureReference | OnDemandFeature ? ValueOfInput<R> : never;

const source = streamSource({
  name: 'card_transactions',
  columns: {
    id: long(),
    at: timestamp(),
    customer_id: string(),
    merchant: string({ nullable: true }),
    quantity: integer(),
    tx_amount: double(),
    tip: double({ nullable: true }),
    online: boolean(),
    seen: timestamp({ nullable: true }),
  },
  eventTime: 'at',
  eventId: 'id',
});
const customer = entity('customer_id');
const base = { name: 'v', source, entity: customer } as const;
const n = count().over('1d');

// --- Rows -----------------------------------------------------------------------------------------------
type Row = RowOf<(typeof source)['columns']>;
expectType<Row['id'], number | bigint>(true);
expectType<Row['at'], number>(true);
expectType<Row['customer_id'], string>(true);
expectType<Row['merchant'], string | null>(true);
expectType<Row['tip'], number | null>(true);
expectType<Row['online'], boolean>(true);
expectType<Row['seen'], number | null>(true);

// --- Sources --------------------------------------------------------------------------------------------
const columns = { id: integer(), at: timestamp(), later: timestamp({ nullable: true }), price: double() };
// @ts-expect-error a misspelt eventTime
streamSource({ name: 's', columns, eventTime: 'att' });
// @ts-expect-error eventTime of another type
streamSource({ name: 's', columns, eventTime: 'price' });
// @ts-expect-error a nullable eventTime
streamSource({ name: 's', columns, eventTime: 'later' });
// @ts-expect-error a misspelt eventId
streamSource({ name: 's', columns, eventTime: 'at', eventId: 'idd' });
// @ts-expect-error an eventId of a type that identifies nothing
streamSource({ name: 's', columns, eventTime: 'at', eventId: 'price' });
// @ts-expect-error a misspelt option
streamSource({ name: 's', columns, eventTime: 'at', latenes: '1m' });
// @ts-expect-error a duration without a unit
streamSource({ name: 's', columns, eventTime: 'at', lateness: '1' });
// @ts-expect-error no eventTime
streamSource({ name: 's', columns });
streamSource({ name: 's', columns, eventTime: 'at', eventId: 'id', lateness: 1000, dedupeHorizon: '2h' });

// --- Columns in features --------------------------------------------------------------------------------
// @ts-expect-error column 'tx_amuont' does not exist here
featureView({ ...base, features: { x: mean('tx_amuont').over('1d') } });
// @ts-expect-error mean does not take column 'customer_id' of type string
featureView({ ...base, features: { x: mean('customer_id').over('1d') } });
// @ts-expect-error sum does not take column 'online' of type boolean
featureView({ ...base, features: { x: sum('online').over('1d') } });
// @ts-expect-error sum does not take column 'at' of type timestamp
featureView({ ...base, features: { x: sum('at').over('1d') } });
// @ts-expect-error max does not take column 'merchant' of type string
featureView({ ...base, features: { x: max('merchant').over('1d') } });
// @ts-expect-error the wrong one of several is found
featureView({ ...base, features: { n, x: count('merchnat').over('1d') } });
// @ts-expect-error a feature without a window
featureView({ ...base, features: { x: count() } });
// @ts-expect-error a misspelt option of the view
featureView({ ...base, features: { n }, asOfRetnetion: '1d' });
// @ts-expect-error a duration that is none
count().over('7 days');
// @ts-expect-error a misspelt option of an aggregation
count().over('7d', { ofset: '7d' });
// @ts-expect-error mean needs a column
mean();
// @ts-expect-error median does not take column 'merchant' of type string
featureView({ ...base, features: { x: median('merchant').over('1d') } });
// @ts-expect-error percentile needs to know which
percentile('tx_amount');
// @ts-expect-error percentiles takes a list
percentiles('tx_amount', 50);
// @ts-expect-error a misspelt option of a sketch
median('tx_amount', { acuracy: 0.01 });
// @ts-expect-error first_n needs a number
firstN('tx_amount');
// @ts-expect-error top_n does not take column 'merchant' of type string
featureView({ ...base, features: { x: topN('merchant', 3).over('1d') } });
featureView({ ...base, features: { x: maxByN('merchant', { by: 'tx_amount' }).over('1d') } });
// @ts-expect-error column 'merchnat' does not exist here
featureView({ ...base, features: { x: maxByN('merchnat', { by: 'tx_amount' }).over('1d') } });
// @ts-expect-error column 'tx_amuont' does not exist here
featureView({ ...base, features: { x: maxByN('merchant', { by: 'tx_amuont' }).over('1d') } });
// @ts-expect-error min_by_n does not order by column 'online' of type boolean
featureView({ ...base, features: { x: minByN('merchant', { by: 'online' }).over('1d') } });
// @ts-expect-error max_by_n needs a column to order by
maxByN('merchant', { n: 3 });
// @ts-expect-error a misspelt option
maxByN('merchant', { by: 'tx_amount', m: 3 });
// @ts-expect-error column 'merchnat' does not exist here
featureView({ ...base, features: { x: changes('merchnat').over('1d') } });
// @ts-expect-error any does not take column 'tx_amount' of type double
featureView({ ...base, features: { x: any('tx_amount').over('1d') } });
// @ts-expect-error skew does not take column 'seen' of type timestamp
featureView({ ...base, features: { x: skew('seen').over('1d') } });
// @ts-expect-error column 'merchnat' does not exist here
featureView({ ...base, features: { x: timeSinceLast('merchnat').over('1d') } });
// @ts-expect-error a half-life that is no duration
expDecaySum('tip', '7 days');
// @ts-expect-error exp_decay_count needs a half-life
expDecayCount();
// @ts-expect-error a histogram needs edges
histogram('tip');

/** The readable error itself: what `featureView` demands of a feature it cannot have. */
const wrongColumn = { x: mean('tx_amuont').over('1d') };
const wrongType = { x: mean('merchant').over('1d') };
const wrongOrder = { x: maxByN('merchant', { by: 'tx_amuont' }).over('1d') };
const wrongOrderType = { x: maxByN('merchant', { by: 'online' }).over('1d') };
type Demand<Fs extends Parameters<typeof featureView>[0]['features']> = NonNullable<
  Parameters<
    typeof featureView<(typeof source)['columns'], 'customer_id', Fs, { amount: 'double' }, { amount: false }>
  >[0]
>['features'];
// The error text is intersected with the feature; `&` with a literal type is what it is compared by.
expectType<
  Demand<
    typeof wrongColumn
  >['x'] extends "column 'tx_amuont' does not exist here; it is neither a column of the source nor a projected one"
    ? true
    : false,
  true
>(true);
expectType<
  Demand<typeof wrongType>['x'] extends "mean does not take column 'merchant' of type string" ? true : false,
  true
>(true);

expectType<
  Demand<
    typeof wrongOrder
  >['x'] extends "column 'tx_amuont' does not exist here; it is neither a column of the source nor a projected one"
    ? true
    : false,
  true
>(true);
expectType<
  Demand<typeof wrongOrderType>['x'] extends "max_by_n does not order by column 'online' of type boolean"
    ? true
    : false,
  true
>(true);

// --- Key columns ----------------------------------------------------------------------------------------
featureView({ ...base, features: { n } });
featureView({ name: 'v', source, entity: entity('card'), keyColumn: 'customer_id', features: { n } });
featureView({ name: 'v', source, entity: entity('card'), keyColumn: 'merchant', features: { n } });
// @ts-expect-error the source has no column 'card' to take the entity key from
featureView({ name: 'v', source, entity: entity('card'), features: { n } });
// @ts-expect-error a misspelt keyColumn
featureView({ name: 'v', source, entity: customer, keyColumn: 'customer', features: { n } });
// @ts-expect-error column 'tx_amount' cannot be an entity key
featureView({ name: 'v', source, entity: customer, keyColumn: 'tx_amount', features: { n } });
// @ts-expect-error nor can a timestamp
featureView({ name: 'v', source, entity: entity('at'), features: { n } });

// --- Filters and projections ----------------------------------------------------------------------------
featureView({
  ...base,
  filter: (event) => {
    expectType<typeof event, Row>(true);
    return event.merchant !== null && event.tx_amount > 0;
  },
  features: { n },
});
// @ts-expect-error a misspelt column in a filter
featureView({ ...base, filter: (event) => event.amuont > 0, features: { n } });
// @ts-expect-error a filter must answer true or false
featureView({ ...base, filter: (event) => event.tx_amount, features: { n } });
// @ts-expect-error nor may it be asynchronous
featureView({ ...base, filter: async () => true, features: { n } });

const projecting = featureView({
  ...base,
  project: {
    amount: { type: 'double', from: (event) => event.quantity * event.tx_amount },
    shop: { type: 'string', nullable: true, from: (event) => event.merchant },
    big: { type: 'long', from: (event) => event.id },
    weekday: { type: 'integer', from: (event) => new Date(event.at).getUTCDay() },
  },
  features: {
    total: sum('amount').over('1d'),
    last_shop: last('shop').over('1d'),
    last_big: last('big').over('1d'),
    weekdays: distinctCount('weekday').over('7d'),
    still_source: mean('tx_amount').over('1d'),
  },
});
expectType<ValueOf<typeof projecting.feature.total>, number>(true);
expectType<ValueOf<typeof projecting.feature.last_shop>, string | null>(true);
expectType<ValueOf<typeof projecting.feature.last_big>, number | bigint | null>(true);

featureView({
  ...base,
  // @ts-expect-error a number where the column is text
  project: { x: { type: 'string', from: (event) => event.quantity } },
  features: { n },
});
featureView({
  ...base,
  // @ts-expect-error null where the column is not nullable
  project: { x: { type: 'string', from: (event) => event.merchant } },
  features: { n },
});
featureView({
  ...base,
  // @ts-expect-error a misspelt column in a projection
  project: { x: { type: 'double', from: (event) => event.quantiti * 2 } },
  features: { n },
});
featureView({
  ...base,
  // @ts-expect-error an unknown type
  project: { x: { type: 'decimal', from: () => 1 } },
  features: { n },
});
featureView({
  ...base,
  project: { amount: { type: 'double', from: (event) => event.quantity } },
  // @ts-expect-error a misspelt projected column
  features: { x: sum('amonut').over('1d') },
});
featureView({
  ...base,
  project: { label: { type: 'string', from: () => 'x' } },
  // @ts-expect-error sum does not take a projected text
  features: { x: sum('label').over('1d') },
});

// --- Values ---------------------------------------------------------------------------------------------
const values = featureView({
  ...base,
  features: {
    count: count().over('1d'),
    count_tip: count('tip').over('1d'),
    sum_double: sum('tx_amount').over('1d'),
    sum_integer: sum('quantity').over('1d'),
    sum_long: sum('id').over('1d'),
    mean: mean('tx_amount').over('1d'),
    mean_or_0: mean('tx_amount').over('1d', { default: 0 }),
    mean_or_null: mean('tx_amount').over('1d', { default: null }),
    var_pop: varPop('tip').lifetime({ default: 0 }),
    stddev_samp: stddevSamp('tx_amount').over('1d', { default: 0 }),
    min: min('seen').over('1d'),
    max: max('id').over('1d'),
    first: first('online').over('1d'),
    last: last('customer_id').over('1d', { offset: '1d' }),
    last_or_text: last('customer_id').over('1d', { default: 'nobody' }),
    first_n: firstN('tx_amount', 3).over('1d'),
    last_n: lastN('customer_id', 3).over('1d', { default: [] }),
    distinct: distinctCount('merchant', { exactUpTo: 10 }).over('1d'),
    top_n: topN('id', 3).over('1d'),
    bottom_n: bottomN('tx_amount', 3).over('1d', { default: [] }),
    max_by_n: maxByN('merchant', { by: 'tx_amount', n: 3 }).over('1d'),
    min_by_n: minByN('online', { by: 'seen' }).over('1d'),
    max_gap: maxGap().over('1d'),
    min_gap: minGap('tip').over('1d', { default: 0 }),
    changes: changes('merchant').over('1d'),
    approx_distinct: approxDistinctCount('merchant', { precision: 8 }).over('1d'),
    percentile: percentile('seen', 99.9).over('1d'),
    percentiles: percentiles('id', [50, 99], { accuracy: 0.02 }).over('1d'),
    median_or_0: median('tx_amount').over('1d', { default: 0 }),
    top_k: topKFrequent('id', 3, { capacity: 10 }).over('1d'),
    entropy: entropy('merchant').over('1d'),
    entropy_or_0: entropy('merchant', { max: 10 }).over('1d', { default: 0 }),
    collect_set: collectSet('online').over('1d'),
    first_distinct_n: firstDistinctN('merchant', 3).over('1d'),
    last_distinct_n: lastDistinctN('id', 3).over('1d'),
    constructor: count().over('1d'),
    skew: skew('tx_amount').over('1d'),
    kurtosis_or_0: kurtosis('id').over('1d', { default: 0 }),
    any: any('online').over('1d'),
    all: all('online').over('1d', { default: false }),
    histogram: histogram('seen', [0, 1]).over('1d'),
    fading_sum: expDecaySum('tip', '1h').lifetime(),
    fading_count: expDecayCount('1h').over('1d'),
    fading_merchants: expDecayCount('merchant', 3_600_000).over('1d'),
    fading_mean: expDecayMean('tip', '1h').over('1d'),
    fading_mean_or_0: expDecayMean('tip', '1h').over('1d', { default: 0 }),
    rate: rate().over('1d'),
    rate_tip: rate('tip').over('1d'),
    since_first: timeSinceFirst().over('1d'),
    since_merchant: timeSinceLast('merchant').over('1d', { default: -1 }),
  },
});
type Value<K extends keyof typeof values.feature> = ValueOf<(typeof values.feature)[K]>;
expectType<Value<'count'>, number>(true);
expectType<Value<'count_tip'>, number>(true);
expectType<Value<'sum_double'>, number>(true);
expectType<Value<'sum_integer'>, number | bigint>(true);
expectType<Value<'sum_long'>, number | bigint>(true);
expectType<Value<'mean'>, number | null>(true);
expectType<Value<'mean_or_0'>, number>(true);
expectType<Value<'mean_or_null'>, number | null>(true);
expectType<Value<'var_pop'>, number>(true);
expectType<Value<'stddev_samp'>, number | null>(true);
expectType<Value<'min'>, number | null>(true);
expectType<Value<'max'>, number | bigint | null>(true);
expectType<Value<'first'>, boolean | null>(true);
expectType<Value<'last'>, string | null>(true);
expectType<Value<'last_or_text'>, string>(true);
expectType<Value<'first_n'>, readonly number[] | null>(true);
expectType<Value<'last_n'>, readonly string[] | readonly []>(true);
expectType<Value<'distinct'>, number>(true);
expectType<Value<'top_n'>, readonly (number | bigint)[] | null>(true);
expectType<Value<'bottom_n'>, readonly number[] | readonly []>(true);
expectType<Value<'max_by_n'>, readonly string[] | null>(true);
expectType<Value<'min_by_n'>, readonly boolean[] | null>(true);
expectType<Value<'max_gap'>, number | null>(true);
expectType<Value<'min_gap'>, number | null>(true);
expectType<Value<'changes'>, number>(true);
expectType<Value<'approx_distinct'>, number>(true);
expectType<Value<'percentile'>, number | null>(true);
expectType<Value<'percentiles'>, readonly number[] | null>(true);
expectType<Value<'median_or_0'>, number>(true);
expectType<Value<'top_k'>, readonly (readonly [number | bigint, number])[] | null>(true);
expectType<Value<'entropy'>, number | null>(true);
// Beyond `max` it is null, default or not.
expectType<Value<'entropy_or_0'>, number | null>(true);
expectType<Value<'collect_set'>, readonly boolean[] | null>(true);
expectType<Value<'first_distinct_n'>, readonly string[] | null>(true);
expectType<Value<'last_distinct_n'>, readonly (number | bigint)[] | null>(true);
expectType<Value<'constructor'>, number>(true);
expectType<Value<'skew'>, number | null>(true);
expectType<Value<'kurtosis_or_0'>, number | null>(true);
expectType<Value<'any'>, boolean>(true);
expectType<Value<'all'>, boolean>(true);
expectType<Value<'histogram'>, readonly number[] | null>(true);
expectType<Value<'fading_sum'>, number>(true);
expectType<Value<'fading_count'>, number>(true);
expectType<Value<'fading_merchants'>, number>(true);
expectType<Value<'fading_mean'>, number | null>(true);
expectType<Value<'fading_mean_or_0'>, number>(true);
expectType<Value<'rate'>, number>(true);
expectType<Value<'rate_tip'>, number>(true);
expectType<Value<'since_first'>, number | null>(true);
expectType<Value<'since_merchant'>, number>(true);

// --- References -----------------------------------------------------------------------------------------
// @ts-expect-error a misspelt feature
values.feature.maen;
// @ts-expect-error a column is not a feature
values.feature.tx_amount;
// @ts-expect-error a name that objects inherit is not a feature
projecting.feature.hasOwnProperty.view;

// --- On-demand features ---------------------------------------------------------------------------------
const ratio = onDemandFeature({
  name: 'ratio',
  type: 'double',
  inputs: { mean: values.feature.mean, count: values.feature.count },
  request: { amount: double(), channel: string({ nullable: true }) },
  compute: ({ features, request, atMs }) => {
    expectType<typeof features.mean, number | null>(true);
    expectType<typeof features.count, number>(true);
    expectType<typeof request.amount, number>(true);
    expectType<typeof request.channel, string | null>(true);
    expectType<typeof atMs, number>(true);
    return features.mean === null ? null : request.amount / features.mean;
  },
});
expectType<ValueOf<typeof ratio>, number | null>(true);
const constant = onDemandFeature({ name: 'c', type: 'integer', compute: ({ atMs }) => (atMs > 5 ? 1 : 0) });
expectType<ValueOf<typeof constant>, 0 | 1>(true);
onDemandFeature({
  name: 'chained',
  type: 'double',
  inputs: { ratio, constant },
  compute: ({ features }) => {
    expectType<typeof features.ratio, number | null>(true);
    return (features.ratio ?? 0) * features.constant;
  },
});

const inputs = { mean: values.feature.mean };
const request = { amount: double() };
// @ts-expect-error a misspelt input
onDemandFeature({ name: 'x', type: 'double', inputs, compute: ({ features }) => features.maen });
// @ts-expect-error a feature that is no input
onDemandFeature({ name: 'x', type: 'double', inputs, compute: ({ features }) => features.count });
// @ts-expect-error a mean may be null
onDemandFeature({ name: 'x', type: 'double', inputs, compute: ({ features }) => features.mean * 2 });
// @ts-expect-error a misspelt request column
onDemandFeature({ name: 'x', type: 'double', request, compute: ({ request }) => request.amuont });
// @ts-expect-error a value of another type than declared
onDemandFeature({ name: 'x', type: 'string', request, compute: ({ request }) => request.amount });
// @ts-expect-error a promise is no value
onDemandFeature({ name: 'x', type: 'double', request, compute: async ({ request }) => request.amount });
// @ts-expect-error a view is no input
onDemandFeature({ name: 'x', type: 'double', inputs: { values }, compute: () => 1 });
// @ts-expect-error an unknown type
onDemandFeature({ name: 'x', type: 'number', compute: () => 1 });

// --- Conditions, secondary keys and windows -----------------------------------------------------------------
const shaped = featureView({
  ...base,
  features: {
    online: sum('tx_amount').where('online').over('1d'),
    by_merchant: mean('tx_amount').by('merchant').over('1d'),
    both: count().by('merchant', { max: 5 }).where('online').over('1d'),
    daily: mean('tx_amount').series({ start: '7d', size: '1d' }),
    daily_default: mean('tx_amount').series({ start: '7d', size: '1d', default: 0 }),
    daily_by: count().by('merchant').series({ start: '7d', size: '1d' }),
    today: sum('tx_amount').since('day', { timeZone: 'Europe/Berlin' }),
    last_five: mean('tx_amount').lastEvents(5, { within: '90d' }),
    ordered: maxByN('merchant', { by: 'tx_amount' }).where('online').over('1d'),
  },
});
expectType<ValueOf<typeof shaped.feature.online>, number>(true);
expectType<ValueOf<typeof shaped.feature.by_merchant>, ReadonlyMap<string, number | null>>(true);
expectType<ValueOf<typeof shaped.feature.both>, ReadonlyMap<string, number>>(true);
expectType<ValueOf<typeof shaped.feature.daily>, readonly (number | null)[]>(true);
expectType<ValueOf<typeof shaped.feature.daily_default>, readonly number[]>(true);
expectType<ValueOf<typeof shaped.feature.daily_by>, readonly ReadonlyMap<string, number>[]>(true);
expectType<ValueOf<typeof shaped.feature.today>, number>(true);
expectType<ValueOf<typeof shaped.feature.last_five>, number | null>(true);
// @ts-expect-error where takes a boolean column, column 'merchant' of type string
featureView({ ...base, features: { x: count().where('merchant').over('1d') } });
// @ts-expect-error column 'onlnie' does not exist
featureView({ ...base, features: { x: count().where('onlnie').over('1d') } });
// @ts-expect-error by does not take column 'tx_amount' of type double
featureView({ ...base, features: { x: count().by('tx_amount').over('1d') } });
// @ts-expect-error column 'merchnat' does not exist, behind a condition too
featureView({ ...base, features: { x: count().by('merchnat').where('online').over('1d') } });
// @ts-expect-error an unknown option
count().by('merchant', { cap: 3 });
// @ts-expect-error options go with the window
sum('tx_amount', { default: 0 });
// @ts-expect-error options go with the window, behind further arguments too
topN('tx_amount', 3, { default: 0 });
// @ts-expect-error a series needs its size
count().series({ start: '7d' });
// @ts-expect-error an unknown unit
count().since('fortnight');

// --- Services -------------------------------------------------------------------------------------------
featureService({ name: 's', features: [values, projecting.feature.total, ratio] });
featureService({ name: 's', features: [values], deadline: '50ms', staleFor: 300_000 });
// @ts-expect-error: a number and a unit
featureService({ name: 's', features: [values], deadline: 'soon' });
// @ts-expect-error a source is no feature
featureService({ name: 's', features: [source] });
// @ts-expect-error a name is no feature
featureService({ name: 's', features: ['mean'] });
// @ts-expect-error no features
featureService({ name: 's' });

// --- Definitions are data -------------------------------------------------------------------------------
const generalSource: StreamSource = source;
const generalView: FeatureView = values;
void [generalSource, generalView];
// @ts-expect-error frozen
source.name = 'x';
// @ts-expect-error frozen
source.columns.id = integer();
// @ts-expect-error frozen
values.features.count = n;

// Facts: the columns of the table, and those they get when they are loaded.
const factColumns = { customer: integer(), segment: string({ nullable: true }), since: timestamp() };
const facts = batchSource({
  name: 'facts',
  columns: factColumns,
  key: 'customer',
  from: 'facts.parquet',
  effectiveTime: 'since',
});
const factsView = featureView({
  name: 'facts',
  source: facts,
  entity: entity('customer'),
  features: {
    segment: last('segment').lifetime(),
    since: last('since').lifetime(),
    id: last('fact_id').lifetime(),
  },
});
expectType<ValueOf<typeof factsView.feature.segment>, string | null>(true);
expectType<ValueOf<typeof factsView.feature.since>, number | null>(true);
const found = batchSource({
  name: 'found',
  columns: factColumns,
  key: ['customer', 'customer'],
  from: { sql: 'SELECT 1' },
});
featureView({
  name: 'found',
  source: found,
  entity: entity('customer'),
  features: { at: last('loaded_at').lifetime() },
});
featureView({
  name: 'v',
  source: facts,
  entity: entity('customer'),
  // @ts-expect-error facts with a time of their own do not have that of the load
  features: { at: last('loaded_at').lifetime() },
});
// @ts-expect-error a key that may be null
batchSource({ name: 'f', columns: factColumns, key: 'segment', from: 'f.csv' });
// @ts-expect-error a key that is no column
batchSource({ name: 'f', columns: factColumns, key: 'custmer', from: 'f.csv' });
// @ts-expect-error a time that is none
batchSource({ name: 'f', columns: factColumns, key: 'customer', from: 'f.csv', effectiveTime: 'customer' });
