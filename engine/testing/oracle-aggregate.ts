/**
 * What each operation is by definition, over the rows of one window: the plainest way, with rational arithmetic where
 * doubles would round. A part of the oracle.
 */
import type { ColumnValue, FeatureValue } from '../aggregators/partial-aggregate.ts';
import type { CompiledFeature } from '../definitions/compiled.ts';
import { hash53 } from '../hash64.ts';

export type Value = Exclude<ColumnValue, null>;

/** An event with a value, in the total order of events. */
export interface OracleRow {
  readonly timeMs: number;
  /** 1 where there is no column. */
  readonly value: Value;
  /** Of the column that orders rows; 1 where there is none. */
  readonly by: Value;
}

export interface Bounds {
  /** null: no old edge. */
  readonly fromMs: number | null;
  readonly toMs: number;
}

/** An answer that is null though there are values: no default takes its place. */
export const NOT_KNOWN = Symbol('not known');

/** What rows too old to be kept add at most: 1e140 · 2⁻¹⁰²³ each. */
const VANISHED = 1e-160;

/** How far the engine's value may be from the oracle's where neither is exact; 0 elsewhere. */
export function toleranceOf(feature: CompiledFeature, rows: readonly OracleRow[], atMs: number): number {
  const terms = rows.map((row) => ({ ...row, value: Math.abs(Number(row.value)) }));
  switch (feature.operation.name) {
    case 'exp_decay_sum':
      return 1e-12 * decayed(terms, atMs, feature.params[0]!) + VANISHED;
    case 'exp_decay_count':
      return 1e-12 * decayed(ones(rows), atMs, feature.params[0]!) + VANISHED;
    case 'exp_decay_mean':
      return 1e-12 * (decayedMean(terms, feature.params[0]!) ?? 0) + VANISHED;
    default:
      return 0;
  }
}

const ones = (rows: readonly OracleRow[]): OracleRow[] => rows.map((row) => ({ ...row, value: 1 }));

function decayed(rows: readonly OracleRow[], atMs: number, halfLifeMs: number): number {
  return rows.reduce(
    (sum, { timeMs, value }) => sum + Number(value) * 2 ** ((timeMs - atMs) / halfLifeMs),
    0,
  );
}

/** As of the newest event, which no weight is small to. */
function decayedMean(rows: readonly OracleRow[], halfLifeMs: number): number | null {
  const newestMs = rows.at(-1)?.timeMs;
  if (newestMs === undefined) return null;
  return decayed(rows, newestMs, halfLifeMs) / decayed(ones(rows), newestMs, halfLifeMs);
}

/** The value for rows of a window, before a default takes the place of null. */
export function aggregate(
  feature: CompiledFeature,
  rows: readonly OracleRow[],
  { atMs, fromMs, toMs }: Bounds & { readonly atMs: number },
): FeatureValue | typeof NOT_KNOWN {
  const { params } = feature;
  const values = rows.map(({ value }) => value);
  const gapsMs = rows.slice(1).map(({ timeMs }, i) => timeMs - rows[i]!.timeMs);
  const n = values.length;
  const count = (): number => params[0] ?? 1;
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
    case 'approx_distinct_count':
      return new Set(values.map((value) => `${typeof value === 'string'}${String(value)}`)).size;
    case 'var_pop':
      return n === 0 ? null : variance(values, BigInt(n));
    case 'var_samp':
      return n < 2 ? null : variance(values, BigInt(n - 1));
    case 'stddev_pop':
      return n === 0 ? null : Math.sqrt(variance(values, BigInt(n)));
    case 'stddev_samp':
      return n < 2 ? null : Math.sqrt(variance(values, BigInt(n - 1)));
    case 'top_n':
      return n === 0 ? null : ascending(values).reverse().slice(0, count());
    case 'bottom_n':
      return n === 0 ? null : ascending(values).slice(0, count());
    case 'max_by_n':
      return n === 0 ? null : ascendingBy(rows).reverse().slice(0, count());
    case 'min_by_n':
      return n === 0 ? null : ascendingBy(rows).slice(0, count());
    case 'max_gap':
      return n < 2 ? null : Math.max(...gapsMs);
    case 'min_gap':
      return n < 2 ? null : Math.min(...gapsMs);
    case 'changes':
      return values.filter((value, i) => i > 0 && value !== values[i - 1]).length;
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
    case 'rate':
      return ratioToNumber(BigInt(n) * 1000n, BigInt(toMs - fromMs!));
    case 'time_since_first':
      return n === 0 ? null : atMs - rows[0]!.timeMs;
    case 'time_since_last':
      return n === 0 ? null : atMs - rows.at(-1)!.timeMs;
    case 'exp_decay_sum':
      return decayed(rows, atMs, params[0]!);
    case 'exp_decay_count':
      return decayed(ones(rows), atMs, params[0]!);
    case 'exp_decay_mean':
      return decayedMean(rows, params[0]!);
    case 'percentile':
      return n === 0 ? null : quantile(values, params[0]!);
    case 'percentiles':
      return n === 0 ? null : params.slice(1).map((p) => quantile(values, p));
    case 'median':
      return n === 0 ? null : quantile(values, 50);
    case 'top_k_frequent':
      return n === 0 ? null : mostFrequent(values).slice(0, count());
    case 'entropy': {
      const counts = mostFrequent(values).map(([, occurrences]) => occurrences);
      if (counts.length > count()) return NOT_KNOWN;
      return n === 0 ? null : counts.reduce((sum, c) => sum + (c / n) * Math.log2(n / c), 0);
    }
    case 'collect_set': {
      const byHash = [...new Set(values)].sort((a, b) => hash53(String(a)) - hash53(String(b)));
      return n === 0 ? null : ascending(byHash.slice(0, count()));
    }
    case 'first_distinct_n':
      return n === 0 ? null : [...new Set(values)].slice(0, count());
    case 'last_distinct_n':
      return n === 0 ? null : [...new Set(values.toReversed())].slice(0, count()).reverse();
    default:
      throw new Error(`the oracle does not know ${feature.operation.name}`);
  }
}

/** Numbers and bigints compare with each other; Math.min would not take them. */
function ascending<V extends Value>(values: readonly V[]): V[] {
  return [...values].sort((a, b) => (a < b ? -1 : a > b ? 1 : 0));
}

/** Values by the column that orders them; sorting is stable, so equal ones stay in the order of events. */
function ascendingBy(rows: readonly OracleRow[]): ColumnValue[] {
  return [...rows].sort((a, b) => (a.by < b.by ? -1 : a.by > b.by ? 1 : 0)).map(({ value }) => value);
}

/** Linear between the two values next to the place. */
function quantile(values: readonly Value[], percent: number): number {
  const sorted = ascending(values.map(Number));
  const place = (percent / 100) * (sorted.length - 1);
  const [low, high] = [sorted[Math.floor(place)]!, sorted[Math.ceil(place)]!];
  return Math.min(low + (high - low) * (place - Math.floor(place)), high);
}

/** Every different value and how often it occurs, most frequent first, then ascending. */
export function mostFrequent(values: readonly Value[]): [Value, number][] {
  const counts = new Map<Value, number>();
  for (const value of ascending(values)) counts.set(value, (counts.get(value) ?? 0) + 1);
  return [...counts].sort(([, a], [, b]) => b - a);
}

/** numerator · 2^−1074: every finite double is one. */
type Rational = bigint;
const ZERO: Rational = 0n;
const SCALE = 1074n;
const add = (a: Rational, b: Rational): Rational => a + b;

function toRational(value: Value): Rational {
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
function variance(values: readonly Value[], divisor: bigint): number {
  const n = BigInt(values.length);
  const rationals = values.map(toRational);
  const sum = rationals.reduce(add, ZERO);
  const squares = rationals.reduce((total, x) => total + x * x, 0n);
  return ratioToNumber(n * squares - sum * sum, (n * divisor) << (2n * SCALE));
}

/** By the declared bounds of skew and kurtosis. */
function hasNoPowers(value: Value): boolean {
  const magnitude = Math.abs(Number(value));
  return magnitude > 1e55 || (magnitude < 1e-60 && magnitude !== 0);
}

/** Σ(n·x − Σx)ᵏ: nᵏ times the sum of the powers of what the values are off their mean. */
function centralPowers(values: readonly Value[], power: bigint): bigint {
  const rationals = values.map(toRational);
  const n = BigInt(values.length);
  const sum = rationals.reduce(add, ZERO);
  return rationals.reduce((total, x) => total + (n * x - sum) ** power, 0n);
}

/** √(n(n − 1))/(n − 2) · m₃/m₂^(3/2), from its square. */
function skewness(values: readonly Value[]): number | null {
  const n = BigInt(values.length);
  const [second, third] = [centralPowers(values, 2n), centralPowers(values, 3n)];
  if (second === 0n) return null;
  const square = ratioToNumber(n * n * (n - 1n) * third * third, (n - 2n) ** 2n * second ** 3n);
  return third < 0n ? -Math.sqrt(square) : Math.sqrt(square);
}

/** (n − 1)/((n − 2)(n − 3)) · ((n + 1)·m₄/m₂² − 3(n − 1)) */
function excessKurtosis(values: readonly Value[]): number | null {
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
