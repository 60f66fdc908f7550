/** Services of random features, of every type of value there is, and events at its edges. */
import type { SeededRandom } from '../../engine/testing/random.ts';
import {
  boolean,
  collectSet,
  count,
  double,
  entity,
  featureService,
  featureView,
  first,
  histogram,
  integer,
  last,
  lastN,
  long,
  max,
  mean,
  onDemandFeature,
  percentiles,
  streamSource,
  string,
  sum,
  timestamp,
  topKFrequent,
} from '../../index.ts';

export const NOON_MS = Date.UTC(2026, 2, 2, 12);
export const HOUR_MS = 3_600_000;

const source = streamSource({
  name: 'things',
  columns: {
    id: string(),
    at: timestamp(),
    key: string(),
    text: string({ nullable: true }),
    whole: integer({ nullable: true }),
    big: long({ nullable: true }),
    real: double({ nullable: true }),
    yes: boolean({ nullable: true }),
    since: timestamp({ nullable: true }),
  },
  eventTime: 'at',
  eventId: 'id',
});

const key = entity('key');
const view = featureView({
  name: 'everything',
  source,
  entity: key,
  features: {
    n: count().over('1h'),
    n_ever: count().lifetime(),
    big_sum: sum('big').over('2h'),
    whole_sum: sum('whole').over('2h'),
    real_sum: sum('real').over('2h'),
    real_mean: mean('real').over('2h'),
    big_max: max('big').over('2h'),
    text_last: last('text').over('2h'),
    big_last: last('big').over('2h'),
    yes_last: last('yes').over('2h'),
    since_last: last('since').over('2h'),
    texts: lastN('text', 4).over('2h'),
    bigs: lastN('big', 4).over('2h'),
    reals: lastN('real', 4).over('2h'),
    answers: lastN('yes', 4).over('2h'),
    sinces: lastN('since', 4).over('2h'),
    text_set: collectSet('text', { max: 5 }).over('2h'),
    top_texts: topKFrequent('text', 3).over('2h'),
    top_bigs: topKFrequent('big', 3).over('2h'),
    quartiles: percentiles('real', [25, 50, 75]).over('2h'),
    bars: histogram('real', [0, 10, 1_000]).over('2h'),
    n_by_text: count().by('text').over('2h'),
    big_by_text: sum('big').by('text').over('2h'),
    big_last_by_yes: last('big').by('yes').over('2h'),
    bigs_by_text: lastN('big', 2).by('text').over('2h'),
    n_series: count().series({ start: '3h', size: '1h' }),
    big_series: last('big').series({ start: '3h', size: '1h' }),
    by_text_series: sum('big').by('text').series({ start: '2h', size: '1h' }),
    __proto: first('text').over('1h'),
    constructor: count().over('2h'),
    toJSON: last('text').over('1h'),
  },
});

export const ratio = onDemandFeature({
  name: 'ratio',
  type: 'double',
  inputs: { n: view.feature.n, ever: view.feature.n_ever },
  compute: ({ features }) => features.n / features.ever,
});
const huge = onDemandFeature({
  name: 'huge',
  type: 'long',
  compute: ({ atMs }) => BigInt(atMs) * 1_000_003n,
});
const broken = onDemandFeature({
  name: 'broken',
  type: 'string',
  compute: ({ atMs }) => {
    if (atMs % 2 === 0) throw new Error('even');
    return 'odd';
  },
});

const LONGS = [
  0,
  1,
  -7,
  '9007199254740993',
  '-9007199254740993',
  '9223372036854775807',
  '-9223372036854775808',
];
const TEXTS = ['', 'a', '7', '12', 'toString', 'constructor', 'ключ', '🔑', '\u0000"\\'];

export function randomEvent(random: SeededRandom, i: number): object {
  const maybe = <T>(value: T): T | null => (random.chance(0.2) ? null : value);
  return {
    id: `e${i}`,
    at: NOON_MS - random.below(4 * HOUR_MS),
    key: random.pick(['k1', 'k2']),
    text: maybe(random.pick(TEXTS)),
    whole: maybe(random.pick([0, -1, 2 ** 31, 2 ** 32, 2 ** 40, -(2 ** 40), Number.MAX_SAFE_INTEGER])),
    big: maybe(random.pick(LONGS)),
    real: maybe(random.pick([0, -0.5, 0.1, 1e100, -1e16, 123, 5e-324, 2 ** 53])),
    yes: maybe(random.chance(0.5)),
    since: maybe(random.below(NOON_MS)),
  };
}

export function randomService(random: SeededRandom) {
  const features = Object.values(view.feature).filter(() => random.chance(0.6));
  const onDemand = [ratio, huge, broken].filter(() => random.chance(0.7));
  const all = [...features, ...onDemand];
  return featureService({ name: 'random', features: all.length === 0 ? [huge] : all });
}

/** As JSON has it: integers beyond ±(2⁵³ − 1) as decimal text, maps as objects. */
export function asJson(value: unknown): unknown {
  if (typeof value === 'bigint') {
    const number = Number(value);
    return Number.isSafeInteger(number) ? number : value.toString();
  }
  if (Array.isArray(value)) return value.map(asJson);
  const entries = value instanceof Map ? [...value] : null;
  if (entries !== null) {
    // Not by assignment: a key may be `__proto__`.
    return Object.fromEntries(entries.map(([name, own]) => [name, asJson(own)]));
  }
  if (typeof value === 'object' && value !== null)
    return Object.fromEntries(Object.entries(value).map(([name, own]) => [name, asJson(own)]));
  return value;
}

/** Pairs of `top_k_frequent` are structs there. */
export const pairs = (value: unknown): unknown =>
  Array.isArray(value)
    ? value.map((pair: { value: unknown; count: unknown }) => [pair.value, pair.count])
    : value;
