import { expect, test } from 'vitest';
import { operationRegistry } from '../engine/aggregators/operation-registry.ts';
import { builderName } from '../engine/definitions/builder-name.ts';
import { compileRepo } from '../engine/definitions/compile.ts';
import type { Feature, FeatureView } from '../engine/definitions/types.ts';
import * as millrace from '../index.ts';
import { describeAggregation } from './describe-aggregation.ts';

const {
  count,
  distinctCount,
  expDecayCount,
  expDecaySum,
  histogram,
  maxByN,
  percentile,
  percentiles,
  topKFrequent,
} = millrace;

const source = millrace.streamSource({
  name: 'payments',
  columns: {
    at: millrace.timestamp(),
    card: millrace.integer(),
    amount: millrace.double(),
    abroad: millrace.boolean(),
    shop: millrace.string(),
  },
  eventTime: 'at',
});

function described(feature: Feature): string {
  const definition = millrace.featureView({
    name: 'v',
    source,
    entity: millrace.entity('card'),
    features: {},
  });
  const view = { ...definition, features: { x: feature } } as FeatureView;
  const [compiled] = compileRepo([view]).views.get('v')!.features;
  return describeAggregation(compiled!, feature);
}

test.each([
  [count().over('1d'), 'count()'],
  [count('shop').over('1d'), "count('shop')"],
  [expDecaySum('amount', '1h').over('1d'), "expDecaySum('amount', '1h')"],
  [expDecayCount(1500).over('1d'), "expDecayCount('1500ms')"],
  [percentile('amount', 99).over('1d'), "percentile('amount', 99, { accuracy: 0.01 })"],
  [percentiles('amount', [25, 50]).over('1d'), "percentiles('amount', [25, 50], { accuracy: 0.01 })"],
  [maxByN('shop', { by: 'amount', n: 3 }).over('1d'), "maxByN('shop', { by: 'amount', n: 3 })"],
  [distinctCount('shop').over('1d'), "distinctCount('shop', { exactUpTo: 1024 })"],
  [topKFrequent('shop', 5).over('1d'), "topKFrequent('shop', 5, { capacity: 64 })"],
  [
    count().where('abroad').by('shop', { max: 20 }).over('1d'),
    "count().where('abroad').by('shop', { max: 20 })",
  ],
  [
    histogram(
      'amount',
      Array.from({ length: 200 }, (_, i) => i),
    ).over('1d'),
    "histogram('amount', [0, 1, 2, 3, 4, 5, … 199: 200 of them])",
  ],
])('an aggregation reads as it is written: %#', (feature, expected) => {
  expect(described(feature as Feature)).toBe(expected);
});

test('every operation has a builder of that name', () => {
  for (const name of operationRegistry.keys()) {
    expect(typeof (millrace as Record<string, unknown>)[builderName(name)], name).toBe('function');
  }
});

test('the example of every operation says how its parameters are written', () => {
  for (const { name, params, example } of operationRegistry.values()) {
    expect(example.startsWith(`${builderName(name)}(`), name).toBe(true);
    // An example need not give every option; those that it gives are options.
    const options = [...(/\{(.*?)\}\)\.over/.exec(example)?.[1] ?? '').matchAll(/(\w+):/g)].map(
      ([, key]) => key,
    );
    const known = params.filter(({ option }) => option).map(({ name: own, written = own }) => written);
    expect(
      options.filter((option) => option !== 'by' && !known.includes(option!)),
      name,
    ).toEqual([]);
  }
});
