/**
 * The slow twin of everything: the value of a feature by definition (C2), from a plain list of events.
 * No tiles, no state, no cleverness; exact rational arithmetic where doubles would round.
 */
import type { ColumnValue, FeatureValue } from '../aggregators/partial-aggregate.ts';
import type { CompiledFeature, CompiledView } from '../definitions/compiled.ts';
import type { EventRow } from '../definitions/types.ts';
import { compareEventIds, type EventId } from '../event-id.ts';

export interface OracleEvent {
  readonly timeMs: number;
  readonly id: EventId;
  readonly row: EventRow;
}

interface Question {
  view: CompiledView;
  feature: CompiledFeature;
  column: string | null;
  key: string;
  atMs: number;
  events: readonly OracleEvent[];
  /** Ties at T count up to this id (C6). */
  last?: EventId;
}

/** One value that is not null and its event's time. */
interface TimedValue {
  readonly timeMs: number;
  readonly value: number | bigint | string | boolean;
}

/** value(key, T, W): `events` are all accepted events, each once. */
export function oracleValue(args: Question): FeatureValue {
  const { feature } = args;
  const inWindow = eventsInWindow(args);
  if (inWindow.length === 0) return feature.empty;
  const timed = timedValues(args, inWindow);
  const byTime = ofTimes(feature, timed, args.atMs);
  const values = timed.map(({ value }) => value);
  return (byTime === undefined ? aggregate(feature, values) : byTime) ?? feature.empty;
}

/** How far the engine's value may be from the oracle's where neither is exact; 0 elsewhere. */
export function oracleTolerance(args: Question): number {
  const { feature, atMs } = args;
  const timed = timedValues(args, eventsInWindow(args));
  const terms = timed.map(({ timeMs, value }) => ({ timeMs, value: Math.abs(Number(value)) }));
  switch (feature.operation.name) {
    case 'exp_decay_sum':
      return 1e-12 * decayed(terms, atMs, feature.params[0]!) + VANISHED;
    case 'exp_decay_count':
      return 1e-12 * decayed(ones(timed), atMs, feature.params[0]!) + VANISHED;
    case 'exp_decay_mean':
      return 1e-12 * (decayedMean(terms, feature.params[0]!) ?? 0) + VANISHED;
    default:
      return 0;
  }
}

function eventsInWindow({ view, feature, key, atMs, events, last }: Question): OracleEvent[] {
  const { window } = feature;
  const newest = atMs - window.offsetMs;
  const oldest = window.kind === 'lifetime' ? Number.NEGATIVE_INFINITY : newest - window.sizeMs;
  return events
    .filter((event) => oldest < event.timeMs && event.timeMs <= newest)
    .filter((event) => last === undefined || event.timeMs < atMs || compareEventIds(event.id, last) <= 0)
    .filter((event) => view.definition.filter === null || view.definition.filter(event.row))
    .filter((event) => {
      const value = event.row[view.definition.keyColumn];
      return value !== null && String(value) === key;
    })
    .sort((a, b) => a.timeMs - b.timeMs || compareEventIds(a.id, b.id));
}

function timedValues({ view, column }: Question, events: readonly OracleEvent[]): TimedValue[] {
  return events.flatMap(({ timeMs, row }) => {
    if (column === null) return { timeMs, value: 1 };
    const projection = view.definition.project[column];
    const value = normal(projection === undefined ? row[column]! : projection.from(row));
    return value === null ? [] : { timeMs, value };
  });
}

/** A long is a bigint only where a number would be rounded, and −0 is 0. */
function normal(value: ColumnValue): ColumnValue {
  if (typeof value === 'number') return value + 0;
  return typeof value === 'bigint' && Number.isSafeInteger(Number(value)) ? Number(value) : value;
}

/** What the times of events decide; undefined: they do not matter. */
function ofTimes(
  feature: CompiledFeature,
  timed: readonly TimedValue[],
  atMs: number,
): FeatureValue | undefined {
  const { params, window } = feature;
  switch (feature.operation.name) {
    case 'rate':
      return window.kind === 'sliding'
        ? ratioToNumber(BigInt(timed.length) * 1000n, BigInt(window.sizeMs))
        : undefined;
    case 'time_since_first':
      return timed.length === 0 ? null : atMs - timed[0]!.timeMs;
    case 'time_since_last':
      return timed.length === 0 ? null : atMs - timed.at(-1)!.timeMs;
    case 'exp_decay_sum':
      return decayed(timed, atMs, params[0]!);
    case 'exp_decay_count':
      return decayed(ones(timed), atMs, params[0]!);
    case 'exp_decay_mean':
      return decayedMean(timed, params[0]!);
    default:
      return undefined;
  }
}

const ones = (timed: readonly TimedValue[]): TimedValue[] =>
  timed.map(({ timeMs }) => ({ timeMs, value: 1 }));

/** What rows too old to be kept add at most: 1e140 · 2⁻¹⁰²³ each. */
const VANISHED = 1e-160;

function decayed(timed: readonly TimedValue[], atMs: number, halfLifeMs: number): number {
  return timed.reduce(
    (sum, { timeMs, value }) => sum + Number(value) * 2 ** ((timeMs - atMs) / halfLifeMs),
    0,
  );
}

/** As of the newest event, which no weight is small to. */
function decayedMean(timed: readonly TimedValue[], halfLifeMs: number): number | null {
  const newestMs = timed.at(-1)?.timeMs;
  if (newestMs === undefined) return null;
  return decayed(timed, newestMs, halfLifeMs) / decayed(ones(timed), newestMs, halfLifeMs);
}

function aggregate(
  feature: CompiledFeature,
  values: readonly (number | bigint | string | boolean)[],
): FeatureValue {
  const n = values.length;
  const count = (): number => feature.params[0] ?? 1;
  switch (feature.operation.name) {
    case 'count':
      return n;
    case 'sum': {
      const sum = values.map(toRational).reduce(add, ZERO);
      return feature.type === 'double' ? toNumber(sum) : toInteger(sum);
    }
    case 'mean':
      return n === 0 ? null : toNumber(values.map(toRational).reduce(add, ZERO)) / n;
    case 'min':
      return ascending(values)[0] ?? null;
    case 'max':
      return ascending(values)[n - 1] ?? null;
    case 'first':
      return values[0] ?? null;
    case 'last':
      return values[n - 1] ?? null;
    case 'first_n':
      return n === 0 ? null : values.slice(0, count());
    case 'last_n':
      return n === 0 ? null : values.slice(-count());
    case 'distinct_count':
      return new Set(values.map((value) => `${typeof value === 'string'}${String(value)}`)).size;
    case 'var_pop':
      return n === 0 ? null : variance(values, BigInt(n));
    case 'var_samp':
      return n < 2 ? null : variance(values, BigInt(n - 1));
    case 'stddev_pop':
      return n === 0 ? null : Math.sqrt(variance(values, BigInt(n)));
    case 'stddev_samp':
      return n < 2 ? null : Math.sqrt(variance(values, BigInt(n - 1)));
    case 'any':
      return values.includes(true);
    case 'all':
      return !values.includes(false);
    case 'histogram':
      return n === 0 ? null : binCounts(values as readonly (number | bigint)[], feature.params);
    case 'skew':
      return n < 3 || values.some(hasNoPowers) ? null : skewness(values);
    case 'kurtosis':
      return n < 4 || values.some(hasNoPowers) ? null : excessKurtosis(values);
    default:
      throw new Error(`the oracle does not know ${feature.operation.name}`);
  }
}

/** Numbers and bigints compare with each other; Math.min would not take them. */
function ascending<V extends number | bigint | string | boolean>(values: readonly V[]): V[] {
  return [...values].sort((a, b) => (a < b ? -1 : a > b ? 1 : 0));
}

/** numerator · 2^−1074: every finite double is one. */
type Rational = bigint;
const ZERO: Rational = 0n;
const SCALE = 1074n;
const add = (a: Rational, b: Rational): Rational => a + b;

function toRational(value: number | bigint | string | boolean): Rational {
  if (typeof value === 'bigint') return value << SCALE;
  if (typeof value !== 'number') throw new Error('not a number');
  if (Number.isInteger(value)) return BigInt(value) << SCALE;
  const bits = new BigUint64Array(Float64Array.of(Math.abs(value)).buffer)[0]!;
  const exponent = bits >> 52n;
  const fraction = bits & 0xf_ffff_ffff_ffffn;
  const magnitude = exponent === 0n ? fraction : (fraction | (1n << 52n)) << (exponent - 1n);
  return value < 0 ? -magnitude : magnitude;
}

function toInteger(value: Rational): number | bigint {
  const integer = value >> SCALE;
  return Number.isSafeInteger(Number(integer)) ? Number(integer) : integer;
}

/** The nearest double (ties to even): the quotient to 64 significant bits and a sticky bit, then one rounding. */
function toNumber(value: Rational): number {
  return ratioToNumber(value, 1n << SCALE);
}

function ratioToNumber(numerator: bigint, denominator: bigint): number {
  if (numerator < 0n) return -ratioToNumber(-numerator, denominator);
  if (numerator === 0n) return 0;
  const bits = (x: bigint): number => x.toString(2).length;
  const shift = 64 - (bits(numerator) - bits(denominator));
  const scaledNumerator = shift > 0 ? numerator << BigInt(shift) : numerator;
  const scaledDenominator = shift > 0 ? denominator : denominator << BigInt(-shift);
  const quotient = scaledNumerator / scaledDenominator;
  const sticky = quotient * scaledDenominator === scaledNumerator ? 0n : 1n;
  const rounded = Number((quotient << 1n) | sticky);
  return shift + 1 > 1000 ? rounded * 2 ** -1000 * 2 ** (1000 - shift - 1) : rounded * 2 ** -(shift + 1);
}

/** Σ(x − mean)² / divisor, exactly, then rounded once: (n·Σx² − (Σx)²) / (n · divisor). */
function variance(values: readonly (number | bigint | string | boolean)[], divisor: bigint): number {
  const n = BigInt(values.length);
  const rationals = values.map(toRational);
  const sum = rationals.reduce(add, ZERO);
  const squares = rationals.reduce((total, x) => total + x * x, 0n);
  return ratioToNumber(n * squares - sum * sum, (n * divisor) << (2n * SCALE));
}

/** By the declared bounds of skew and kurtosis. */
function hasNoPowers(value: number | bigint | string | boolean): boolean {
  const magnitude = Math.abs(Number(value));
  return magnitude > 1e55 || (magnitude < 1e-60 && magnitude !== 0);
}

/** Σ(n·x − Σx)ᵏ: nᵏ times the sum of the powers of what the values are off their mean. */
function centralPowers(values: readonly (number | bigint | string | boolean)[], power: bigint): bigint {
  const rationals = values.map(toRational);
  const n = BigInt(values.length);
  const sum = rationals.reduce(add, ZERO);
  return rationals.reduce((total, x) => total + (n * x - sum) ** power, 0n);
}

/** √(n(n − 1))/(n − 2) · m₃/m₂^(3/2), from its square. */
function skewness(values: readonly (number | bigint | string | boolean)[]): number | null {
  const n = BigInt(values.length);
  const [second, third] = [centralPowers(values, 2n), centralPowers(values, 3n)];
  if (second === 0n) return null;
  const square = ratioToNumber(n * n * (n - 1n) * third * third, (n - 2n) ** 2n * second ** 3n);
  return third < 0n ? -Math.sqrt(square) : Math.sqrt(square);
}

/** (n − 1)/((n − 2)(n − 3)) · ((n + 1)·m₄/m₂² − 3(n − 1)) */
function excessKurtosis(values: readonly (number | bigint | string | boolean)[]): number | null {
  const n = BigInt(values.length);
  const [second, fourth] = [centralPowers(values, 2n), centralPowers(values, 4n)];
  if (second === 0n) return null;
  const numerator = (n - 1n) * ((n + 1n) * n * fourth - 3n * (n - 1n) * second ** 2n);
  return ratioToNumber(numerator, (n - 2n) * (n - 3n) * second ** 2n);
}

function binCounts(values: readonly (number | bigint)[], edges: readonly number[]): number[] {
  return [...edges, Number.POSITIVE_INFINITY].map((edge, i) => {
    const from = i === 0 ? Number.NEGATIVE_INFINITY : edges[i - 1]!;
    return values.filter((value) => from <= value && value < edge).length;
  });
}
