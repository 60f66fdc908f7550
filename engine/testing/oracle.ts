/**
 * The slow twin of everything: the value of a feature by definition (C2), from a plain list of events.
 * No tiles, no state, no cleverness; exact rational arithmetic where doubles would round.
 */
import type { ColumnValue, FeatureValue } from '../aggregators/partial-aggregate.ts';
import type { CompiledFeature, CompiledView } from '../definitions/compiled.ts';
import type { EventRow } from '../definitions/types.ts';
import { compareEventIds, type EventId } from '../event-id.ts';
import { hash53 } from '../hash64.ts';

export interface OracleEvent {
  readonly timeMs: number;
  readonly id: EventId;
  readonly row: EventRow;
}

/** `events` are all accepted events, each once. `last`: ties at T count up to this id (C6). */
export interface OracleQuestion {
  readonly view: CompiledView;
  readonly feature: CompiledFeature;
  readonly column: string | null;
  readonly key: string;
  readonly atMs: number;
  readonly events: readonly OracleEvent[];
  readonly last?: EventId;
}

type Value = Exclude<ColumnValue, null>;

/** value(key, T, W). */
export function oracleValue(question: OracleQuestion): FeatureValue {
  const { feature } = question;
  if (eventsInWindow(question).length === 0) return feature.empty;
  const value = aggregate(feature, oracleValues(question));
  return value === NOT_KNOWN ? null : (value ?? feature.empty);
}

/** The values of the column in the window that are not null, in the total order; 1 for each event without a column. */
export function oracleValues(question: OracleQuestion): readonly Value[] {
  const { view, column } = question;
  return eventsInWindow(question)
    .map(({ row }) => {
      if (column === null) return 1;
      const projection = view.definition.project[column];
      return normal(projection === undefined ? row[column]! : projection.from(row));
    })
    .filter((value) => value !== null);
}

function eventsInWindow(question: OracleQuestion): readonly OracleEvent[] {
  const { view, feature, key, atMs, events, last } = question;
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

/** An answer that is null though there are values: no default takes its place. */
const NOT_KNOWN = Symbol('not known');

/** A long is a bigint only where a number would be rounded, and −0 is 0. */
function normal(value: ColumnValue): ColumnValue {
  if (typeof value === 'number') return value + 0;
  return typeof value === 'bigint' && Number.isSafeInteger(Number(value)) ? Number(value) : value;
}

function aggregate(feature: CompiledFeature, values: readonly Value[]): FeatureValue | typeof NOT_KNOWN {
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
    case 'approx_distinct_count':
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
    case 'percentile':
      return n === 0 ? null : quantile(values, feature.params[0]!);
    case 'percentiles':
      return n === 0 ? null : feature.params.slice(1).map((p) => quantile(values, p));
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

/** Numbers and bigints compare with each other; Math.min would not take them. */
function ascending<V extends Value>(values: readonly V[]): V[] {
  return [...values].sort((a, b) => (a < b ? -1 : a > b ? 1 : 0));
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
