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
import { aggregate, type Bounds, NOT_KNOWN, type OracleRow } from './oracle-aggregate.ts';

export type { Bounds };

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

/** What an answer is made of: one value, those of a series, or one for each value of a secondary key. */
export type OracleAnswer =
  | { readonly kind: 'value'; readonly value: FeatureValue; readonly rows: readonly OracleRow[] }
  | { readonly kind: 'series'; readonly elements: readonly OracleAnswer[] }
  | {
      readonly kind: 'groups';
      readonly groups: ReadonlyMap<string, OracleAnswer>;
      /** Whether there were more than are kept. */
      readonly leftOut: boolean;
    };

/** value(key, T, W), and what it was made of. */
export function oracleAnswer(question: OracleQuestion): OracleAnswer {
  const { feature, atMs } = question;
  const { window } = feature;
  const given = question.bounds;
  if (window.kind !== 'series') return answerWithin(question, (given as Bounds) ?? boundsOf(window, atMs));
  const windows = (given as readonly Bounds[]) ?? windowsOf(window, atMs);
  return { kind: 'series', elements: windows.map((bounds) => answerWithin(question, bounds)) };
}

/** value(key, T, W) */
export function oracleValue(question: OracleQuestion): FeatureValue {
  return valueOfAnswer(oracleAnswer(question));
}

export function valueOfAnswer(answer: OracleAnswer): FeatureValue {
  switch (answer.kind) {
    case 'value':
      return answer.value;
    case 'series':
      return answer.elements.map(valueOfAnswer);
    case 'groups':
      return new Map([...answer.groups].map(([key, group]) => [key, valueOfAnswer(group)]));
  }
}

/** Whether the answer leaves something out for its size; null: that cannot be told from the events. */
export function isTruncated(feature: CompiledFeature, answer: OracleAnswer): boolean | null {
  switch (answer.kind) {
    case 'value': {
      const different = new Set(answer.rows.map(({ value }) => value)).size;
      const { operation, params } = feature;
      if (operation.name === 'collect_set' || operation.name === 'entropy') return different > params[0]!;
      if (operation.name === 'top_k_frequent') return different > Math.max(params[0]!, params[1]!);
      // How often buckets were joined shows in the sketch only.
      return operation.truncated === undefined ? false : null;
    }
    case 'series':
      return anyOf(answer.elements.map((element) => isTruncated(feature, element)));
    case 'groups':
      return anyOf([
        answer.leftOut,
        ...[...answer.groups.values()].map((group) => isTruncated(feature, group)),
      ]);
  }
}

function anyOf(all: readonly (boolean | null)[]): boolean | null {
  return all.includes(true) ? true : all.includes(null) ? null : false;
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

/** Those with the entity key that the view's filter lets through: all that any window of the key can hold. */
export function eventsOfKey(
  view: CompiledView,
  key: string,
  events: readonly OracleEvent[],
): readonly OracleEvent[] {
  return events
    .filter((event) => view.definition.filter === null || view.definition.filter(event.row))
    .filter((event) => {
      const value = event.row[view.definition.keyColumn];
      return value !== null && String(value) === key;
    });
}

function answerWithin(question: OracleQuestion, bounds: Bounds): OracleAnswer {
  const { fromMs, toMs } = bounds;
  const { view, feature, key, atMs, events, last } = question;
  const { where, by } = view.definition.features[feature.name]!;
  let counted = eventsOfKey(view, key, events)
    .filter((event) => (fromMs === null || fromMs < event.timeMs) && event.timeMs <= toMs)
    .filter((event) => last === undefined || event.timeMs < atMs || compareEventIds(event.id, last) <= 0)
    .filter(({ row }) => where === undefined || columnValueOf(view, row, where) === true)
    .sort((a, b) => a.timeMs - b.timeMs || compareEventIds(a.id, b.id));
  if (feature.window.kind === 'last_events') counted = counted.slice(-feature.window.count);
  const value = (of: readonly OracleEvent[], empty: FeatureValue): OracleAnswer => {
    const rows = rowsOf(question, of);
    const found = of.length === 0 ? null : aggregate(feature, rows, { atMs, ...bounds });
    return { kind: 'value', value: found === NOT_KNOWN ? null : (found ?? empty), rows };
  };
  if (by === undefined) return value(counted, feature.empty);
  const groups = new Map<string, OracleEvent[]>();
  for (const event of counted) {
    const key = columnValueOf(view, event.row, by.column);
    if (key !== null) groups.set(String(key), [...(groups.get(String(key)) ?? []), event]);
  }
  const kept = [...groups.keys()].sort((a, b) => hash53(a) - hash53(b)).slice(0, by.max);
  const entries = kept
    .sort()
    .map((name): [string, OracleAnswer] => [name, value(groups.get(name)!, feature.operation.empty)]);
  return { kind: 'groups', groups: new Map(entries), leftOut: groups.size > by.max };
}

function rowsOf({ view, feature, column }: OracleQuestion, events: readonly OracleEvent[]): OracleRow[] {
  const { orderBy = null } = view.definition.features[feature.name]!;
  const rows: OracleRow[] = [];
  for (const { timeMs, row } of events) {
    const value = column === null ? 1 : columnValueOf(view, row, column);
    const by = orderBy === null ? 1 : columnValueOf(view, row, orderBy);
    if (value !== null && by !== null) rows.push({ timeMs, value, by });
  }
  return rows;
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

/** Stretches of time within one period each, from its start, by what decides of it: halving formats dozens of dates. */
const stretches = new Map<string, { readonly startMs: number; toMs: number }[]>();
const STRETCHES_MAX = 32;

function startOfPeriod(window: Extract<Window, { kind: 'calendar' }>, timeMs: number): number {
  const { unit, timeZone, weekStart } = window;
  const id = `${unit} ${timeZone} ${weekStart}`;
  const known = stretches.get(id) ?? [];
  stretches.set(id, known);
  const within = known.find(({ startMs, toMs }) => startMs <= timeMs && timeMs <= toMs);
  if (within !== undefined) return within.startMs;
  const startMs = earliestOfPeriod(window, timeMs);
  const begun = known.find((stretch) => stretch.startMs === startMs);
  if (begun !== undefined) begun.toMs = timeMs;
  else known.push({ startMs, toMs: timeMs });
  if (known.length > STRETCHES_MAX) known.shift();
  return startMs;
}

/** By halving: the earliest time at which the calendar shows what it shows at `timeMs`. */
function earliestOfPeriod(window: Extract<Window, { kind: 'calendar' }>, timeMs: number): number {
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

/** A long is a bigint only where a number would be rounded, and −0 is 0. */
function normal(value: ColumnValue): ColumnValue {
  if (typeof value === 'number') return value + 0;
  return typeof value === 'bigint' && Number.isSafeInteger(Number(value)) ? Number(value) : value;
}
