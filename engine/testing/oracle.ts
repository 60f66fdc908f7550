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

/** value(key, T, W): `events` are all accepted events, each once. `last`: ties at T count up to this id (C6). */
export function oracleValue(args: {
  view: CompiledView;
  feature: CompiledFeature;
  column: string | null;
  key: string;
  atMs: number;
  events: readonly OracleEvent[];
  last?: EventId;
}): FeatureValue {
  const { view, feature, column, key, atMs, events, last } = args;
  const { window } = feature;
  const newest = atMs - window.offsetMs;
  const oldest = window.kind === 'lifetime' ? Number.NEGATIVE_INFINITY : newest - window.sizeMs;
  const inWindow = events
    .filter((event) => oldest < event.timeMs && event.timeMs <= newest)
    .filter((event) => last === undefined || event.timeMs < atMs || compareEventIds(event.id, last) <= 0)
    .filter((event) => view.definition.filter === null || view.definition.filter(event.row))
    .filter((event) => {
      const value = event.row[view.definition.keyColumn];
      return value !== null && String(value) === key;
    })
    .sort((a, b) => a.timeMs - b.timeMs || compareEventIds(a.id, b.id));
  if (inWindow.length === 0) return feature.empty;
  const columnOf = (row: EventRow, name: string | null): ColumnValue => {
    if (name === null) return 1;
    const projection = view.definition.project[name];
    return normal(projection === undefined ? row[name]! : projection.from(row));
  };
  const { orderBy = null } = view.definition.features[feature.name]!;
  const rows: OracleRow[] = [];
  for (const { timeMs, row } of inWindow) {
    const value = columnOf(row, column);
    const by = columnOf(row, orderBy);
    if (value !== null && by !== null) rows.push({ timeMs, value, by });
  }
  return aggregate(feature, rows) ?? feature.empty;
}

/** An event with a value, in the total order of events. */
interface OracleRow {
  readonly timeMs: number;
  readonly value: Exclude<ColumnValue, null>;
  /** Of the column that orders rows; 1 where there is none. */
  readonly by: Exclude<ColumnValue, null>;
}

/** A long is a bigint only where a number would be rounded, and −0 is 0. */
function normal(value: ColumnValue): ColumnValue {
  if (typeof value === 'number') return value + 0;
  return typeof value === 'bigint' && Number.isSafeInteger(Number(value)) ? Number(value) : value;
}

function aggregate(feature: CompiledFeature, rows: readonly OracleRow[]): FeatureValue {
  const values = rows.map(({ value }) => value);
  const gapsMs = rows.slice(1).map(({ timeMs }, i) => timeMs - rows[i]!.timeMs);
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
    default:
      throw new Error(`the oracle does not know ${feature.operation.name}`);
  }
}

/** Numbers and bigints compare with each other; Math.min would not take them. */
function ascending<V extends number | bigint | string | boolean>(values: readonly V[]): V[] {
  return [...values].sort((a, b) => (a < b ? -1 : a > b ? 1 : 0));
}

/** Values by the column that orders them; sorting is stable, so equal ones stay in the order of events. */
function ascendingBy(rows: readonly OracleRow[]): ColumnValue[] {
  return [...rows].sort((a, b) => (a.by < b.by ? -1 : a.by > b.by ? 1 : 0)).map(({ value }) => value);
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
