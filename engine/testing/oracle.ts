/**
 * The slow twin of everything: the value of a feature by definition (C2), from a plain list of events.
 * No tiles, no state, no cleverness; exact rational arithmetic where doubles would round.
 */
import type { ColumnValue, FeatureValue } from '../aggregators/partial-aggregate.ts';
import type { CompiledFeature, CompiledView } from '../definitions/compiled.ts';
import type { EventRow, Window } from '../definitions/types.ts';
import { compareEventIds, type EventId } from '../event-id.ts';
import { hash53 } from '../hash64.ts';
import { longestPeriodMs } from '../windows/calendar-period.ts';

export interface OracleEvent {
  readonly timeMs: number;
  readonly id: EventId;
  readonly row: EventRow;
}

export interface OracleQuestion {
  readonly view: CompiledView;
  readonly feature: CompiledFeature;
  readonly column: string | null;
  readonly key: string;
  readonly atMs: number;
  /** All accepted events, each once. */
  readonly events: readonly OracleEvent[];
  /** Ties at T count up to this id (C6). */
  readonly last?: EventId;
  /** In place of the window's: fromMs < time ≤ toMs, where a state no longer holds enough to be exact. Of a series: each. */
  readonly bounds?: Bounds | readonly Bounds[];
}

export interface Bounds {
  /** null: no old edge. */
  readonly fromMs: number | null;
  readonly toMs: number;
}

/** value(key, T, W) */
export function oracleValue(question: OracleQuestion): FeatureValue {
  const { feature, atMs } = question;
  const { window } = feature;
  const given = question.bounds;
  if (window.kind !== 'series') return valueWithin(question, (given as Bounds) ?? boundsOf(window, atMs));
  return windowsOf(window, atMs).map((bounds, i) =>
    valueWithin(question, (given as Bounds[])?.[i] ?? bounds),
  );
}

/** Of a series, oldest first. */
export function windowsOf(window: Extract<Window, { kind: 'series' }>, atMs: number): Bounds[] {
  const windows: Bounds[] = [];
  for (let toMs = atMs - window.endMs; toMs - window.sizeMs >= atMs - window.startMs; toMs -= window.stepMs) {
    windows.unshift({ fromMs: toMs - window.sizeMs, toMs });
  }
  return windows;
}

export function boundsOf(window: Exclude<Window, { kind: 'series' }>, atMs: number): Bounds {
  switch (window.kind) {
    case 'sliding':
      return { fromMs: atMs - window.offsetMs - window.sizeMs, toMs: atMs - window.offsetMs };
    case 'lifetime':
      return { fromMs: null, toMs: atMs - window.offsetMs };
    case 'calendar':
      return { fromMs: startOfPeriod(window, atMs) - 1, toMs: atMs };
    case 'last_events':
      return { fromMs: window.withinMs === null ? null : atMs - window.withinMs, toMs: atMs };
  }
}

function valueWithin(question: OracleQuestion, { fromMs, toMs }: Bounds): FeatureValue {
  const { view, feature, column, key, atMs, events, last } = question;
  const { where, by } = view.definition.features[feature.name]!;
  let counted = events
    .filter((event) => (fromMs === null || fromMs < event.timeMs) && event.timeMs <= toMs)
    .filter((event) => last === undefined || event.timeMs < atMs || compareEventIds(event.id, last) <= 0)
    .filter((event) => view.definition.filter === null || view.definition.filter(event.row))
    .filter((event) => {
      const value = event.row[view.definition.keyColumn];
      return value !== null && String(value) === key;
    })
    .filter(({ row }) => where === undefined || columnValueOf(view, row, where) === true)
    .sort((a, b) => a.timeMs - b.timeMs || compareEventIds(a.id, b.id));
  if (feature.window.kind === 'last_events') counted = counted.slice(-feature.window.count);
  if (by === undefined) {
    return counted.length === 0 ? feature.empty : (answer(view, feature, column, counted) ?? feature.empty);
  }
  const groups = new Map<string, OracleEvent[]>();
  for (const event of counted) {
    const value = columnValueOf(view, event.row, by.column);
    if (value !== null) groups.set(String(value), [...(groups.get(String(value)) ?? []), event]);
  }
  const kept = [...groups.keys()].sort((a, b) => hash53(a) - hash53(b)).slice(0, by.max);
  const { operation } = feature;
  return new Map(
    kept.sort().map((value) => [value, answer(view, feature, column, groups.get(value)!) ?? operation.empty]),
  );
}

const formats = new Map<string, Intl.DateTimeFormat>();

/** What a calendar in the zone shows for the period of a time: all times of one period show the same. */
function periodName(
  { unit, timeZone, weekStart }: Extract<Window, { kind: 'calendar' }>,
  timeMs: number,
): string {
  let format = formats.get(timeZone);
  if (format === undefined) {
    format = new Intl.DateTimeFormat('en-US', {
      timeZone,
      hourCycle: 'h23',
      ...{ year: 'numeric', month: 'numeric', day: 'numeric', hour: 'numeric', timeZoneName: 'longOffset' },
    } as Intl.DateTimeFormatOptions);
    formats.set(timeZone, format);
  }
  const parts = Object.fromEntries(format.formatToParts(timeMs).map(({ type, value }) => [type, value]));
  const { year, month, day, hour, timeZoneName } = parts;
  switch (unit) {
    case 'hour':
      return `${year}-${month}-${day} ${hour} ${timeZoneName}`;
    case 'day':
      return `${year}-${month}-${day}`;
    case 'week': {
      // Days since 1970-01-01, a Thursday; the week's number follows.
      const days = Date.UTC(Number(year), Number(month) - 1, Number(day)) / 86_400_000;
      const shift = { monday: 3, sunday: 4, saturday: 5 }[weekStart];
      return String(Math.floor((days + shift) / 7));
    }
    case 'month':
      return `${year}-${month}`;
    case 'year':
      return year!;
  }
}

/** By halving: the earliest time at which the calendar shows what it shows at `timeMs`. */
function startOfPeriod(window: Extract<Window, { kind: 'calendar' }>, timeMs: number): number {
  const name = periodName(window, timeMs);
  let before = timeMs - longestPeriodMs(window.unit);
  let within = timeMs;
  while (within - before > 1) {
    const middle = Math.floor((before + within) / 2);
    if (periodName(window, middle) === name) within = middle;
    else before = middle;
  }
  return within;
}

/** The value of a column of the source, or of a projected one. */
export function columnValueOf(view: CompiledView, row: EventRow, column: string): ColumnValue {
  const projection = view.definition.project[column];
  return normal(projection === undefined ? row[column]! : projection.from(row));
}

/** Of events in their order. */
function answer(
  view: CompiledView,
  feature: CompiledFeature,
  column: string | null,
  events: readonly OracleEvent[],
): FeatureValue {
  const { orderBy = null } = view.definition.features[feature.name]!;
  const rows: OracleRow[] = [];
  for (const { timeMs, row } of events) {
    const value = column === null ? 1 : columnValueOf(view, row, column);
    const by = orderBy === null ? 1 : columnValueOf(view, row, orderBy);
    if (value !== null && by !== null) rows.push({ timeMs, value, by });
  }
  return aggregate(feature, rows);
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
