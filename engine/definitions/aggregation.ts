/** Builders of aggregations: `mean('amount').over('30d')`. */
import type { FeatureValue } from '../aggregators/partial-aggregate.ts';
import type { CalendarUnit, WeekStart } from '../windows/calendar-period.ts';
import { type Duration, durationMsOrAsIs } from '../windows/duration.ts';
import { builderName } from './builder-name.ts';
import {
  type Hints,
  readableOptions,
  surplusArguments,
  unknownOptions,
  withProblems,
} from './builder-problems.ts';
import { DESCRIBED_OPTIONS, described } from './described.ts';
import type { Built, Described, Feature, Window } from './types.ts';
import type { OperationName } from './value-types.ts';

/** What the compiler knows of a feature besides its operation, column and default. */
export interface FeatureExtras {
  /** Column that orders rows. */
  readonly order?: string;
  /** Column that is the condition. */
  readonly where?: string;
  /** Column that is the secondary key: the value is a map. */
  readonly group?: string;
  /** The value is an array, one element for each window. */
  readonly series?: true;
}

/** A feature whose operation, columns and default are known to the compiler. */
export interface FeatureOf<
  Op extends OperationName = OperationName,
  Col extends string | null = string | null,
  D extends FeatureValue = never,
  X extends FeatureExtras = FeatureExtras,
> extends Feature<Col> {
  readonly operation: Op;
  /** Phantom: the declared default's type. Never set. */
  readonly __default?: (empty: D) => D;
  /** Phantom. Never set. */
  readonly __extras?: X;
}

export interface FeatureOptions<D extends FeatureValue> extends Described {
  /** Answer of an empty window. @default the operation's own: 0 for counts and sums, otherwise null */
  readonly default?: D;
}

export interface OffsetOptions<D extends FeatureValue> extends FeatureOptions<D> {
  /** The window ends this long before the as-of time. @default 0 */
  readonly offset?: Duration;
  /**
   * The status is `stale`, and metadata has the age, where the newest event that counts (of a column: the newest with a value) is
   * older than this at the as-of time. The value is the same. At least 1 ms. @default of any age
   */
  readonly maxAge?: Duration;
}

export interface SeriesOptions<D extends FeatureValue> extends FeatureOptions<D> {
  /** How far before the as-of time the oldest window may begin. */
  readonly start: Duration;
  /** How far before the as-of time the newest window ends. @default 0 */
  readonly end?: Duration;
  /** Length of each window. */
  readonly size: Duration;
  /** How far apart they end. @default the size */
  readonly step?: Duration;
}

export interface CalendarOptions<D extends FeatureValue> extends FeatureOptions<D> {
  /** IANA name, e.g. `Europe/Berlin`. @default 'UTC' */
  readonly timeZone?: string;
  /** First day of the week. @default 'monday' */
  readonly weekStart?: WeekStart;
}

export interface LastEventsOptions<D extends FeatureValue> extends FeatureOptions<D> {
  /** Only events younger than this. @default of any age, and then a key's state is kept for ever */
  readonly within?: Duration;
}

/** An operation on a column, waiting for its window. */
export interface Aggregation<
  Op extends OperationName,
  Col extends string | null,
  // biome-ignore lint/complexity/noBannedTypes: {} is "nothing further", the neutral element of &.
  X extends FeatureExtras = {},
> extends Built {
  readonly kind: 'aggregation';
  readonly operation: Op;
  readonly column: Col;
  readonly params: readonly number[];
  readonly orderBy?: string;
  readonly condition?: string;
  readonly groups?: NonNullable<Feature['by']>;
  /**
   * Counts only events for which a boolean column, of the source or projected, is true.
   *
   * @example sum('amount').where('is_foreign').over('7d')
   */
  where<const W extends string>(column: W): Aggregation<Op, Col, X & { readonly where: W }>;
  /**
   * Answers a map, from each value of a column to the aggregation over the events that have it. Where there are more than
   * `max` values, those with the least hashes are kept, each complete, and the answer is marked truncated. Empty: an
   * empty map.
   *
   * @param options.max 1 to 1,000. @default 64
   * @example sum('amount').by('category', { max: 20 }).over('30d')
   */
  by<const G extends string>(
    column: G,
    options?: { readonly max?: number },
  ): Aggregation<Op, Col, X & { readonly group: G }>;
  /**
   * Over the events of (T − offset − window, T − offset].
   *
   * @example sum('amount').over('7d', { offset: '7d', default: 0 })
   */
  over<const D extends FeatureValue = never>(
    window: Duration,
    options?: OffsetOptions<D>,
  ): FeatureOf<Op, Col, D, X>;
  /** Over all events up to T − offset. */
  lifetime<const D extends FeatureValue = never>(options?: OffsetOptions<D>): FeatureOf<Op, Col, D, X>;
  /**
   * One answer for each of several windows, oldest first.
   *
   * @example count().series({ start: '7d', size: '1d' }) // seven days, today's last
   */
  series<const D extends FeatureValue = never>(
    options: SeriesOptions<D>,
  ): FeatureOf<Op, Col, D, X & { readonly series: true }>;
  /**
   * Over the events since the hour, day, week, month or year of T began.
   *
   * @example sum('amount').since('day', { timeZone: 'Europe/Berlin' })
   */
  since<const D extends FeatureValue = never>(
    unit: CalendarUnit,
    options?: CalendarOptions<D>,
  ): FeatureOf<Op, Col, D, X>;
  /**
   * Over the newest `count` events up to T, at most 256; for T ≈ now.
   *
   * @example mean('amount').lastEvents(5, { within: '90d' })
   */
  lastEvents<const D extends FeatureValue = never>(
    count: number,
    options?: LastEventsOptions<D>,
  ): FeatureOf<Op, Col, D, X>;
}

const COMMON = ['default', ...DESCRIBED_OPTIONS];
const GROUPS_DEFAULT = 64;

/** What moves other windows back, where there is no such option. */
const NO_OFFSET = {
  series: { offset: "a series is moved back by 'end': its newest window ends at T − end" },
  since: {
    offset:
      "a calendar window ends at T, which says where its period began; ask with an earlier 'at', or use over(…, { offset })",
  },
  lastEvents: {
    offset: 'the events remembered are the newest ones, for T ≈ now; for older ones use over(…, { offset })',
  },
} as const;

function feature<
  Op extends OperationName,
  Col extends string | null,
  D extends FeatureValue,
  X extends FeatureExtras,
>(
  {
    operation,
    column,
    params,
    orderBy,
    condition,
    groups,
    problems = [],
  }: Aggregation<Op, Col, FeatureExtras>,
  window: Window,
  options: FeatureOptions<D> & Pick<OffsetOptions<D>, 'maxAge'>,
  unknown: readonly string[],
): FeatureOf<Op, Col, D, X> {
  return Object.freeze({
    kind: 'feature',
    operation,
    column,
    params,
    ...(orderBy === undefined ? {} : { orderBy }),
    ...(condition === undefined ? {} : { where: condition }),
    ...(groups === undefined ? {} : { by: groups }),
    window: Object.freeze(window),
    ...(options.default === undefined
      ? {}
      : { default: Array.isArray(options.default) ? Object.freeze([...options.default]) : options.default }),
    ...(options.maxAge === undefined ? {} : { maxAgeMs: durationMsOrAsIs(options.maxAge) }),
    ...described(options),
    ...withProblems([...problems, ...unknown]),
  }) as FeatureOf<Op, Col, D, X>;
}

/** Options of a window that are none, beside those that every window takes. */
const unknownOfWindow = (call: string, options: unknown, known: readonly string[], hints?: Hints): string[] =>
  unknownOptions(call, options, [...known, ...COMMON], hints);

/** Params left out at the end take the operation's defaults when the repo is compiled. */
function aggregation<
  Op extends OperationName,
  Col extends string | null,
  // biome-ignore lint/complexity/noBannedTypes: as in Aggregation.
  X extends FeatureExtras = {},
>(
  operation: Op,
  column: Col,
  params: readonly number[] = [],
  further: Pick<Aggregation<Op, Col>, 'orderBy' | 'condition' | 'groups' | 'problems'> = {},
): Aggregation<Op, Col, X> {
  const { condition, groups, problems = [] } = further;
  const self: Aggregation<Op, Col, X> = {
    kind: 'aggregation',
    operation,
    column,
    params: Object.freeze([...params]),
    ...further,
    where(where) {
      const twice =
        condition === undefined
          ? []
          : [
              `where is given twice, '${condition}' and '${where}': project one boolean column that is true where both are`,
            ];
      return aggregation(operation, column, params, {
        ...further,
        condition: where,
        ...withProblems([...problems, ...twice]),
      });
    },
    by(by, given = {}) {
      const { max = GROUPS_DEFAULT } = readableOptions(given);
      const twice =
        groups === undefined
          ? []
          : [
              `by is given twice, '${groups.column}' and '${by}': a map has one key; project one column of both values`,
            ];
      return aggregation(operation, column, params, {
        ...further,
        groups: Object.freeze({ column: by, max }),
        ...withProblems([...problems, ...twice, ...unknownOptions('by', given, ['max'])]),
      });
    },
    over(window, given = {}) {
      const options = readableOptions(given);
      const sizeMs = durationMsOrAsIs(window);
      const offsetMs = durationMsOrAsIs(options.offset ?? 0);
      const unknown = unknownOfWindow('over', given, ['offset', 'maxAge']);
      return feature(self, { kind: 'sliding', sizeMs, offsetMs }, options, unknown);
    },
    lifetime(given = {}) {
      const options = readableOptions(given);
      const offsetMs = durationMsOrAsIs(options.offset ?? 0);
      const unknown = unknownOfWindow('lifetime', given, ['offset', 'maxAge']);
      return feature(self, { kind: 'lifetime', offsetMs }, options, unknown);
    },
    series(given) {
      const options = readableOptions(given);
      const { start, end = 0, size, step = size } = options;
      const window: Window = {
        kind: 'series',
        startMs: durationMsOrAsIs(start),
        endMs: durationMsOrAsIs(end),
        sizeMs: durationMsOrAsIs(size),
        stepMs: durationMsOrAsIs(step),
      };
      const unknown = unknownOfWindow('series', given, ['start', 'end', 'size', 'step'], NO_OFFSET.series);
      return feature(self, window, options, unknown);
    },
    since(unit, given = {}) {
      const options = readableOptions(given);
      const { timeZone = 'UTC', weekStart = 'monday' } = options;
      const unknown = unknownOfWindow('since', given, ['timeZone', 'weekStart'], NO_OFFSET.since);
      return feature(self, { kind: 'calendar', unit, timeZone, weekStart }, options, unknown);
    },
    lastEvents(count, given = {}) {
      const options = readableOptions(given);
      const withinMs = options.within === undefined ? null : durationMsOrAsIs(options.within);
      const unknown = unknownOfWindow('lastEvents', given, ['within'], NO_OFFSET.lastEvents);
      return feature(self, { kind: 'last_events', count, withinMs }, options, unknown);
    },
  };
  return Object.freeze(self);
}

/** As the last parameter of a builder: what plain JavaScript may pass behind the arguments that there are. */
type Surplus = readonly never[];

const beyond = (operation: OperationName, taken: string, surplus: readonly unknown[]): Built =>
  withProblems(surplusArguments(builderName(operation), taken, surplus));

/** The options of a builder that it does not know. */
const unknownOf = (operation: OperationName, options: unknown, known: readonly string[]): Built =>
  withProblems(unknownOptions(builderName(operation), options, known));

/** Number of events, or of events whose column is not null. Empty: 0. */
export function count(): Aggregation<'count', null>;
export function count<const Col extends string>(column: Col): Aggregation<'count', Col>;
export function count(
  column: string | null = null,
  ...surplus: Surplus
): Aggregation<'count', string | null> {
  return aggregation('count', column, [], beyond('count', 'a column', surplus));
}

const ofColumn =
  <Op extends OperationName>(operation: Op) =>
  <const Col extends string>(column: Col, ...surplus: Surplus): Aggregation<Op, Col> =>
    aggregation(operation, column, [], beyond(operation, 'a column', surplus));

/** Exact for integers; compensated for doubles. Empty: 0. */
export const sum = ofColumn('sum');
/** Empty: null. */
export const mean = ofColumn('mean');
/** Empty: null. */
export const min = ofColumn('min');
/** Empty: null. */
export const max = ofColumn('max');
/** Population variance, Σ(x − mean)² / n. Empty: null. */
export const varPop = ofColumn('var_pop');
/** Sample variance, Σ(x − mean)² / (n − 1). Fewer than two values: null. */
export const varSamp = ofColumn('var_samp');
/** Square root of `varPop`. Empty: null. */
export const stddevPop = ofColumn('stddev_pop');
/** Square root of `varSamp`. Fewer than two values: null. */
export const stddevSamp = ofColumn('stddev_samp');
/** The value of the earliest event that has one, in the total order of events. Empty: null. */
export const first = ofColumn('first');
/** The value of the latest event that has one, in the total order of events. Empty: null. */
export const last = ofColumn('last');

/** The values of the `n` earliest events that have one, earliest first. Empty: null. */
export function firstN<const Col extends string>(
  column: Col,
  n: number,
  ...surplus: Surplus
): Aggregation<'first_n', Col> {
  return aggregation('first_n', column, [n], beyond('first_n', 'a column and n', surplus));
}

/** The values of the `n` latest events that have one, in event order. Empty: null. */
export function lastN<const Col extends string>(
  column: Col,
  n: number,
  ...surplus: Surplus
): Aggregation<'last_n', Col> {
  return aggregation('last_n', column, [n], beyond('last_n', 'a column and n', surplus));
}

/**
 * Number of different values: exact up to `exactUpTo`, a HyperLogLog estimate beyond. Empty: 0.
 *
 * @example distinctCount('merchant', { exactUpTo: 256 }).over('1d')
 */
export function distinctCount<const Col extends string>(
  column: Col,
  options: { readonly exactUpTo?: number } = {},
): Aggregation<'distinct_count', Col> {
  const params = givenParams(readableOptions(options).exactUpTo);
  return aggregation('distinct_count', column, params, unknownOf('distinct_count', options, ['exactUpTo']));
}

/** The `n` largest values, largest first, repeated ones as often as they occur. Empty: null. */
export function topN<const Col extends string>(
  column: Col,
  n: number,
  ...surplus: Surplus
): Aggregation<'top_n', Col> {
  return aggregation('top_n', column, [n], beyond('top_n', 'a column and n', surplus));
}

/** The `n` smallest values, smallest first, repeated ones as often as they occur. Empty: null. */
export function bottomN<const Col extends string>(
  column: Col,
  n: number,
  ...surplus: Surplus
): Aggregation<'bottom_n', Col> {
  return aggregation('bottom_n', column, [n], beyond('bottom_n', 'a column and n', surplus));
}

export interface OrderedByOptions<By extends string> {
  /** Column of type integer, long, double or timestamp; events where it is null do not count. */
  readonly by: By;
  /** How many values, at most 1000. @default 1 */
  readonly n?: number;
}

function orderedBy<
  const Op extends 'max_by_n' | 'min_by_n',
  const Col extends string,
  const By extends string,
>(operation: Op, column: Col, options: OrderedByOptions<By>): Aggregation<Op, Col, { readonly order: By }> {
  const { by, n } = readableOptions(options);
  return aggregation(operation, column, givenParams(n), {
    orderBy: by,
    ...unknownOf(operation, options, ['by', 'n']),
  });
}

/**
 * The values in the `n` events with the greatest `by`, greatest first; of two events with equal `by` the newer comes
 * first. Empty: null.
 *
 * @example maxByN('merchant', { by: 'amount', n: 3 }).over('30d')
 */
export function maxByN<const Col extends string, const By extends string>(
  column: Col,
  options: OrderedByOptions<By>,
): Aggregation<'max_by_n', Col, { readonly order: By }> {
  return orderedBy('max_by_n', column, options);
}

/**
 * The values in the `n` events with the least `by`, least first; of two events with equal `by` the older comes first.
 * Empty: null.
 */
export function minByN<const Col extends string, const By extends string>(
  column: Col,
  options: OrderedByOptions<By>,
): Aggregation<'min_by_n', Col, { readonly order: By }> {
  return orderedBy('min_by_n', column, options);
}

/** Largest time between two consecutive events, or events whose column is not null, ms. Fewer than two: null. */
export function maxGap(): Aggregation<'max_gap', null>;
export function maxGap<const Col extends string>(column: Col): Aggregation<'max_gap', Col>;
export function maxGap(
  column: string | null = null,
  ...surplus: Surplus
): Aggregation<'max_gap', string | null> {
  return aggregation('max_gap', column, [], beyond('max_gap', 'a column', surplus));
}

/** Smallest time between two consecutive events, or events whose column is not null, ms. Fewer than two: null. */
export function minGap(): Aggregation<'min_gap', null>;
export function minGap<const Col extends string>(column: Col): Aggregation<'min_gap', Col>;
export function minGap(
  column: string | null = null,
  ...surplus: Surplus
): Aggregation<'min_gap', string | null> {
  return aggregation('min_gap', column, [], beyond('min_gap', 'a column', surplus));
}

/** How often the value differs from the one before it, in the total order of events. Empty: 0. */
export const changes = ofColumn('changes');
/** Sample skewness, corrected for bias. Fewer than three values, or all equal: null. */
export const skew = ofColumn('skew');
/** Sample excess kurtosis, corrected for bias. Fewer than four values, or all equal: null. */
export const kurtosis = ofColumn('kurtosis');
/** Whether some value of a boolean column is true. Empty: false. */
export const any = ofColumn('any');
/** Whether every value of a boolean column is true. Empty: true. */
export const all = ofColumn('all');

/**
 * How many values are below the first edge, from each edge up to the next, and from the last on: one count more than
 * there are edges. Empty: null.
 *
 * @param edges ascending, 1 to 256 of them
 * @example histogram('amount', [10, 100, 1000]).over('30d')
 */
export function histogram<const Col extends string>(
  column: Col,
  edges: readonly number[],
  ...surplus: Surplus
): Aggregation<'histogram', Col> {
  return aggregation('histogram', column, listed(edges), beyond('histogram', 'a column and edges', surplus));
}

/**
 * Σ x·2^(−age/halfLife): every value halved once for every half-life of its age at the as-of time. Empty: 0.
 *
 * @example expDecaySum('amount', '7d').over('90d')
 */
export function expDecaySum<const Col extends string>(
  column: Col,
  halfLife: Duration,
  ...surplus: Surplus
): Aggregation<'exp_decay_sum', Col> {
  const problems = beyond('exp_decay_sum', 'a column and a half-life', surplus);
  return aggregation('exp_decay_sum', column, [durationMsOrAsIs(halfLife)], problems);
}

/**
 * Σ 2^(−age/halfLife) over the events, or over those whose column is not null. Empty: 0.
 *
 * @example expDecayCount('1h').over('1d')
 * @example expDecayCount('referrer', '1h').over('1d')
 */
export function expDecayCount(halfLife: Duration): Aggregation<'exp_decay_count', null>;
export function expDecayCount<const Col extends string>(
  column: Col,
  halfLife: Duration,
): Aggregation<'exp_decay_count', Col>;
export function expDecayCount(
  ...args: readonly [Duration] | readonly [string, Duration, ...Surplus]
): Aggregation<'exp_decay_count', string | null> {
  const [column, halfLife, ...surplus] = (args.length === 1 ? [null, ...args] : args) as readonly [
    string | null,
    Duration,
    ...Surplus,
  ];
  const problems = beyond('exp_decay_count', 'a column and a half-life', surplus);
  return aggregation('exp_decay_count', column, [durationMsOrAsIs(halfLife)], problems);
}

/** Mean of the values, weighted by 2^(−age/halfLife). Empty: null. */
export function expDecayMean<const Col extends string>(
  column: Col,
  halfLife: Duration,
  ...surplus: Surplus
): Aggregation<'exp_decay_mean', Col> {
  const problems = beyond('exp_decay_mean', 'a column and a half-life', surplus);
  return aggregation('exp_decay_mean', column, [durationMsOrAsIs(halfLife)], problems);
}

interface OptionalColumn<Op extends OperationName> {
  (): Aggregation<Op, null>;
  <const Col extends string>(column: Col): Aggregation<Op, Col>;
}

const ofEvents = <Op extends OperationName>(operation: Op): OptionalColumn<Op> =>
  ((column: string | null = null, ...surplus: Surplus) =>
    aggregation(operation, column, [], beyond(operation, 'a column', surplus))) as OptionalColumn<Op>;

/** Events, or events whose column is not null, per second of the window, which must have a length. Empty: 0. */
export const rate = ofEvents('rate');
/** Milliseconds from the first event, or the first whose column is not null, to the as-of time. Empty: null. */
export const timeSinceFirst = ofEvents('time_since_first');
/** Milliseconds from the last event, or the last whose column is not null, to the as-of time. Empty: null. */
export const timeSinceLast = ofEvents('time_since_last');
/**
 * Number of different values by a sketch of 2^precision registers: exact up to 2^precision / 32, beyond it with a
 * standard error of 1.04 / √2^precision. Empty: 0.
 *
 * @param options.precision 4 to 14. @default 10, a standard error of 3.3 % in 0.45 kB
 * @example approxDistinctCount('merchant', { precision: 12 }).over('30d')
 */
export function approxDistinctCount<const Col extends string>(
  column: Col,
  options: { readonly precision?: number } = {},
): Aggregation<'approx_distinct_count', Col> {
  const params = givenParams(readableOptions(options).precision);
  return aggregation(
    'approx_distinct_count',
    column,
    params,
    unknownOf('approx_distinct_count', options, ['precision']),
  );
}

interface QuantileOptions {
  /** Relative error of an answer beyond 128 values, 0.001 to 0.1. @default 0.01 */
  readonly accuracy?: number;
}

/** What the registry has too; written out where something follows. */
const DEFAULT_ACCURACY = 0.01;

/**
 * The value at `p` percent, 0 to 100, between neighbours by their distance. Empty: null.
 *
 * @example percentile('amount', 99.9).over('7d')
 */
export function percentile<const Col extends string>(
  column: Col,
  p: number,
  options: QuantileOptions = {},
): Aggregation<'percentile', Col> {
  const params = [p, ...givenParams(readableOptions(options).accuracy)];
  return aggregation('percentile', column, params, unknownOf('percentile', options, ['accuracy']));
}

/**
 * The values at several percents, in that order; they share one sketch. Empty: null.
 *
 * @example percentiles('amount', [50, 90, 99], { accuracy: 0.02 }).over('7d')
 */
export function percentiles<const Col extends string>(
  column: Col,
  percents: readonly number[],
  options: QuantileOptions = {},
): Aggregation<'percentiles', Col> {
  const { accuracy = DEFAULT_ACCURACY } = readableOptions(options);
  const problems = unknownOf('percentiles', options, ['accuracy']);
  return aggregation('percentiles', column, [accuracy, ...listed(percents)], problems);
}

/** `percentile(column, 50)`. Empty: null. */
export function median<const Col extends string>(
  column: Col,
  options: QuantileOptions = {},
): Aggregation<'median', Col> {
  const params = givenParams(readableOptions(options).accuracy);
  return aggregation('median', column, params, unknownOf('median', options, ['accuracy']));
}

/** What the registry has too; a larger `k` raises it. */
const DEFAULT_CAPACITY = 64;

/**
 * The `k` (1 to 100) most frequent values with their counts, as pairs, most frequent first. Exact up to `capacity` (k to
 * 1024) different values, beyond it counts are at most n / (capacity + 1) too low. Empty: null.
 *
 * @param options.capacity @default 64, or k where that is more
 * @example topKFrequent('merchant', 5, { capacity: 128 }).over('30d')
 */
export function topKFrequent<const Col extends string>(
  column: Col,
  k: number,
  options: { readonly capacity?: number } = {},
): Aggregation<'top_k_frequent', Col> {
  const { capacity = Math.max(DEFAULT_CAPACITY, k ?? 0) } = readableOptions(options);
  const problems = unknownOptions('topKFrequent', options, ['capacity']);
  if (capacity < k) problems.push(`capacity of topKFrequent must be at least k, ${k}, not ${capacity}`);
  return aggregation('top_k_frequent', column, [k, capacity], withProblems(problems));
}

/**
 * Shannon entropy of the distribution of the values, in bits; null beyond `max` (at most 4096) different values, with
 * a default too. Empty: null.
 *
 * @param options.max @default 1024
 * @example entropy('merchant', { max: 256 }).over('7d')
 */
export function entropy<const Col extends string>(
  column: Col,
  options: { readonly max?: number } = {},
): Aggregation<'entropy', Col> {
  const params = givenParams(readableOptions(options).max);
  return aggregation('entropy', column, params, unknownOf('entropy', options, ['max']));
}

/**
 * The different values, ascending; beyond `max` (at most 1000) a sample of `max` of them, by hash. Empty: null.
 *
 * @param options.max @default 100
 * @example collectSet('country', { max: 50 }).over('30d')
 */
export function collectSet<const Col extends string>(
  column: Col,
  options: { readonly max?: number } = {},
): Aggregation<'collect_set', Col> {
  const params = givenParams(readableOptions(options).max);
  return aggregation('collect_set', column, params, unknownOf('collect_set', options, ['max']));
}

/** The `n` different values that occurred first, by their first occurrence. Empty: null. */
export function firstDistinctN<const Col extends string>(
  column: Col,
  n: number,
  ...surplus: Surplus
): Aggregation<'first_distinct_n', Col> {
  return aggregation('first_distinct_n', column, [n], beyond('first_distinct_n', 'a column and n', surplus));
}

/** The `n` different values that occurred last, by their last occurrence, the newest at the end. Empty: null. */
export function lastDistinctN<const Col extends string>(
  column: Col,
  n: number,
  ...surplus: Surplus
): Aggregation<'last_distinct_n', Col> {
  return aggregation('last_distinct_n', column, [n], beyond('last_distinct_n', 'a column and n', surplus));
}

/** What a list has, where it is one. */
const listed = (list: readonly number[]): readonly number[] => (Array.isArray(list) ? list : []);

/** A parameter at the end that may be left to the registry's default. */
function givenParams(param: number | undefined): readonly number[] {
  return param === undefined ? [] : [param];
}
