import { operationRegistry } from '../aggregators/operation-registry.ts';
import type { ColumnType, FeatureValue, Operation, OperationList } from '../aggregators/partial-aggregate.ts';
import {
  CALENDAR_UNITS,
  type CalendarUnit,
  isTimeZone,
  periodMs,
  WEEK_STARTS,
  type WeekStart,
} from '../windows/calendar-period.ts';
import { formatDuration } from '../windows/duration.ts';
import { SERIES_MAX, seriesLength } from '../windows/window-reach.ts';
import { builderName } from './builder-name.ts';
import { reportBuilderProblems, unknownOptions } from './builder-problems.ts';
import { checkCommon, checkDuration, checkName, placeName, show } from './check-parts.ts';
import { columnsOfSource } from './check-source.ts';
import { COLUMN_TYPES } from './column-value.ts';
import type { ProblemList, Report } from './definition-error.ts';
import { isObject, kindOf, type Loose } from './loose.ts';
import type { Column } from './types.ts';

export const WINDOW_MIN_MS = 1000;

/** Room for the root, a path of nodes and a tail, whatever the windows. */
export const STATE_BYTES_MIN = 64 * 2 ** 10;
export const STATE_BYTES_MAX = 2 ** 30;

const KEY_TYPES: readonly unknown[] = ['string', 'integer', 'long'];

/** Source and projected columns by name, or null where the source's cannot be read. */
export function columnsOfView(view: Loose): Map<string, Column> | null {
  const columns = columnsOfSource(view.source);
  if (columns === null) return null;
  if (isObject(view.project)) {
    for (const name of Object.keys(view.project)) {
      const projection = view.project[name];
      if (isObject(projection) && COLUMN_TYPES.includes(projection.type as ColumnType)) {
        columns.set(name, { type: projection.type as ColumnType, nullable: projection.nullable === true });
      }
    }
  }
  return columns;
}

export function checkView(view: Loose, problems: ProblemList): void {
  const place = `view ${placeName(view.name)}`;
  const report = problems.at(place);
  checkName(view.name, 'view name', report);
  checkCommon(view, report);
  if (kindOf(view.source) !== 'stream_source')
    report('source must be made with streamSource() or batchSource()');
  if (kindOf(view.entity) !== 'entity') report('entity must be made with entity()');
  if (view.filter !== null && typeof view.filter !== 'function') report('filter must be a function or null');
  checkKeyColumn(view, report);
  checkProjections(view, report);
  checkColumnsRead(view, report);
  if (view.resolutionMs !== null) checkDuration(view.resolutionMs, 'resolution', 1, report);
  checkDuration(view.asOfRetentionMs, 'asOfRetention', 0, report);
  const { maxStateBytes } = view;
  if (
    !Number.isSafeInteger(maxStateBytes) ||
    (maxStateBytes as number) < STATE_BYTES_MIN ||
    (maxStateBytes as number) > STATE_BYTES_MAX
  ) {
    report(
      `maxStateBytes must be a whole number from ${STATE_BYTES_MIN} to ${STATE_BYTES_MAX}, not ${show(maxStateBytes)}`,
    );
  }
  if (!Number.isSafeInteger(view.version) || (view.version as number) < 1) {
    report(`version must be a positive integer, not ${show(view.version)}`);
  }
  if (!isObject(view.features)) {
    report('features must be an object of features by name');
    return;
  }
  const names = Object.keys(view.features);
  if (names.length === 0) report('has no features');
  const columns = columnsOfView(view);
  for (const name of names) {
    const featureReport = problems.at(`${place}, feature ${placeName(name)}`);
    checkName(name, 'feature name', featureReport);
    checkFeature(view.features[name], columns, view.resolutionMs, featureReport);
  }
}

function checkKeyColumn(view: Loose, report: Report): void {
  const columns = columnsOfSource(view.source);
  if (columns === null) return;
  const { keyColumn } = view;
  if (typeof keyColumn !== 'string' || !Object.hasOwn((view.source as Loose).columns as Loose, keyColumn)) {
    report(
      `keyColumn ${show(keyColumn)} is not a column of source ${placeName((view.source as Loose).name)}`,
    );
    return;
  }
  const column = columns.get(keyColumn);
  if (column !== undefined && !KEY_TYPES.includes(column.type)) {
    report(`keyColumn '${keyColumn}' must be a string, integer or long, not '${column.type}'`);
  }
}

const PROJECTION_OPTIONS = ['type', 'nullable', 'from'];

function checkProjections(view: Loose, report: Report): void {
  if (!isObject(view.project)) {
    report('project must be an object of projections by name');
    return;
  }
  const sourceColumns = isObject(view.source) && isObject(view.source.columns) ? view.source.columns : {};
  for (const name of Object.keys(view.project)) {
    checkName(name, 'projected column', report);
    if (Object.hasOwn(sourceColumns, name)) {
      report(`projected column '${name}' has the name of a column of the source`);
    }
    const projection = view.project[name];
    if (!isObject(projection)) {
      report(`projected column '${name}' must be { type, from }`);
      continue;
    }
    if (!COLUMN_TYPES.includes(projection.type as ColumnType)) {
      report(
        `projected column '${name}' has unknown type ${show(projection.type)}; types are ${COLUMN_TYPES.join(', ')}`,
      );
    }
    if (projection.nullable !== undefined && typeof projection.nullable !== 'boolean') {
      report(`projected column '${name}': nullable must be true or false`);
    }
    if (typeof projection.from !== 'function') report(`projected column '${name}': from must be a function`);
    for (const problem of unknownOptions(`projected column '${name}'`, projection, PROJECTION_OPTIONS)) {
      report(problem);
    }
  }
}

/** Two rows that differ in every value, so that a comparison with either goes both ways. */
const PROBE_VALUES: readonly Readonly<Record<ColumnType, string | number | boolean>>[] = [
  { string: '', integer: 0, long: 0, double: 0, boolean: false, timestamp: 0 },
  { string: 'x', integer: 1, long: 1, double: 1.5, boolean: true, timestamp: 1 },
];

/**
 * Runs filter and projections on made-up rows and reports columns they read that do not exist. A feature repo
 * runs without its types being checked, and a misspelt column would silently be undefined in every event.
 */
function checkColumnsRead(view: Loose, report: Report): void {
  const columns = columnsOfSource(view.source);
  if (columns === null) return;
  const functions: [string, unknown][] = [['filter', view.filter]];
  if (isObject(view.project)) {
    for (const name of Object.keys(view.project)) {
      const projection = view.project[name];
      functions.push([`projected column '${name}'`, isObject(projection) ? projection.from : null]);
    }
  }
  for (const [what, run] of functions) {
    if (typeof run !== 'function') continue;
    const unknown = new Set<string>();
    for (const values of PROBE_VALUES) {
      const row = new Proxy(Object.freeze({}), {
        get(_, property) {
          if (typeof property === 'symbol') return undefined;
          const column = columns.get(property);
          if (column === undefined) unknown.add(property);
          return column === undefined ? undefined : values[column.type];
        },
      });
      try {
        // A function that should not be async is refused when it is given an event; here nobody waits for it.
        const result: unknown = run(row);
        if (result instanceof Promise) result.catch(() => {});
      } catch {
        // Made-up values may be none it can work with; what it read until then has been seen.
      }
    }
    for (const name of unknown) {
      report(
        `${what} reads '${name}', which is not a column of source ${placeName((view.source as Loose).name)}`,
      );
    }
  }
}

function checkFeature(
  feature: unknown,
  columns: Map<string, Column> | null,
  resolutionMs: unknown,
  report: Report,
): void {
  if (!isObject(feature) || feature.kind !== 'feature') {
    if (kindOf(feature) === 'aggregation') {
      report('has no window: add .over(…) or .lifetime()');
      reportBuilderProblems(feature as Loose, report);
    } else report("must be an aggregation over a window, e.g. count().over('1d')");
    return;
  }
  checkCommon(feature, report);
  checkWindow(feature.window, resolutionMs, report);
  checkCondition(feature.where, columns, report);
  checkSecondaryKey(feature, columns, report);
  checkMaxAge(feature, report);
  const operation =
    typeof feature.operation === 'string' ? operationRegistry.get(feature.operation) : undefined;
  if (operation === undefined) {
    report(
      `unknown operation ${show(feature.operation)}; operations are ${[...operationRegistry.keys()].join(', ')}`,
    );
    checkColumnExists(feature.column, columns, report);
    return;
  }
  checkParams(feature.params, operation, report);
  if (operation.sequence === true) checkSequence(operation, feature.window, resolutionMs, report);
  checkOrderBy(feature.orderBy, operation, columns, report);
  checkLength(feature.window, operation, report);
  const type = checkOperand(feature.column, operation, columns, report);
  if (feature.default !== undefined && type !== undefined) {
    checkDefault(feature.default, operation.resultType(type), report);
  }
}

function checkMaxAge({ maxAgeMs, by, window }: Loose, report: Report): void {
  if (maxAgeMs === undefined) return;
  if (!isObject(window) || (window.kind !== 'sliding' && window.kind !== 'lifetime'))
    report('maxAge goes with the windows of over and lifetime only');
  checkDuration(maxAgeMs, 'maxAge', 1, report);
  if (by !== undefined) report('maxAge does not go with by: its groups have an age each; leave maxAge out');
}

function checkCondition(where: unknown, columns: Map<string, Column> | null, report: Report): void {
  if (where === undefined || columns === null) return;
  const found = typeof where === 'string' ? columns.get(where) : undefined;
  if (found === undefined) {
    report(
      `where must be a boolean column of the source or a projected one, not ${show(where)}: conditions are written as ` +
        "project: { is_large: { type: 'boolean', from: (event) => event.amount > 100 } }",
    );
  } else if (found.type !== 'boolean') {
    report(`where must be a boolean column; '${String(where)}' is of type ${found.type}`);
  }
}

export const GROUPS_MAX = 1000;

/** Types whose values have one text each. */
const GROUP_TYPES: readonly ColumnType[] = ['string', 'integer', 'long', 'boolean', 'timestamp'];

function checkSecondaryKey(feature: Loose, columns: Map<string, Column> | null, report: Report): void {
  const { by } = feature;
  if (by === undefined) return;
  if (!isObject(by)) {
    report('by must be { column, max }');
    return;
  }
  if (!Number.isSafeInteger(by.max) || (by.max as number) < 1 || (by.max as number) > GROUPS_MAX) {
    report(`max of by must be an integer from 1 to ${GROUPS_MAX}, not ${show(by.max)}`);
  }
  if (feature.default !== undefined)
    report('with by the answer of an empty window is an empty map: leave default out');
  if (columns === null) return;
  const found = typeof by.column === 'string' ? columns.get(by.column) : undefined;
  if (found === undefined) {
    report(
      `by: column ${show(by.column)} does not exist: it is neither a column of the source nor a projected one`,
    );
  } else if (!GROUP_TYPES.includes(found.type)) {
    report(
      `by does not take column '${String(by.column)}' of type ${found.type}; it takes ${GROUP_TYPES.join(', ')}`,
    );
  }
}

function checkWindow(window: unknown, resolutionMs: unknown, report: Report): void {
  const check =
    isObject(window) && typeof window.kind === 'string' ? WINDOW_CHECKS.get(window.kind) : undefined;
  if (check === undefined) {
    report(`window must be { kind, … }, where kind is one of ${[...WINDOW_CHECKS.keys()].join(', ')}`);
    return;
  }
  check(window as Loose, resolutionMs, report);
}

type WindowCheck = (window: Loose, resolutionMs: unknown, report: Report) => void;

const WINDOW_CHECKS: ReadonlyMap<string, WindowCheck> = new Map<string, WindowCheck>([
  [
    'sliding',
    (window, resolutionMs, report) => {
      checkDuration(window.offsetMs, 'offset', 0, report);
      checkSize(window.sizeMs, 'window', resolutionMs, report);
    },
  ],
  ['lifetime', (window, _, report) => void checkDuration(window.offsetMs, 'offset', 0, report)],
  ['series', checkSeries],
  ['calendar', checkCalendar],
  ['last_events', checkLastEvents],
]);

function checkSize(sizeMs: unknown, what: string, resolutionMs: unknown, report: Report): boolean {
  if (!checkDuration(sizeMs, what, WINDOW_MIN_MS, report)) return false;
  return checkResolution(
    sizeMs as number,
    `${what} ${formatDuration(sizeMs as number)}`,
    resolutionMs,
    report,
  );
}

function checkResolution(sizeMs: number, what: string, resolutionMs: unknown, report: Report): boolean {
  if (typeof resolutionMs !== 'number' || sizeMs >= resolutionMs) return true;
  report(`${what} is shorter than the view's resolution of ${formatDuration(resolutionMs)}`);
  return false;
}

function checkSeries(window: Loose, resolutionMs: unknown, report: Report): void {
  const { startMs, endMs, sizeMs, stepMs } = window;
  const fit = [
    checkDuration(startMs, 'start of the series', WINDOW_MIN_MS, report),
    checkDuration(endMs, 'end of the series', 0, report),
    // A step that is left out is the size, and missing or wrong with it.
    stepMs === sizeMs || checkDuration(stepMs, 'step of the series', WINDOW_MIN_MS, report),
    checkSize(sizeMs, 'size of the series', resolutionMs, report),
  ];
  if (fit.includes(false)) return;
  const length = seriesLength(window as unknown as Parameters<typeof seriesLength>[0]);
  if (length < 1) {
    report('the series has no window: start must lie at least the size before end');
  } else if (length > SERIES_MAX) {
    report(
      `the series has ${length} windows; at most ${SERIES_MAX} are possible: make step larger or start smaller`,
    );
  }
}

/** What lies between two events can be told only while no event is given up. */
function checkSequence(operation: Operation, window: unknown, resolutionMs: unknown, report: Report): void {
  const called = builderName(operation.name);
  if (isObject(window) && window.kind === 'lifetime') {
    report(
      `${called} takes no lifetime window: it looks at every event, and old ones are merged there; use .over(…)`,
    );
  }
  if (resolutionMs !== null) {
    report(
      `${called} takes no view with a resolution: it looks at every event, and old ones are merged there; put it in a view without`,
    );
  }
}

function checkCalendar({ unit, timeZone, weekStart }: Loose, resolutionMs: unknown, report: Report): void {
  if (CALENDAR_UNITS.includes(unit as CalendarUnit)) {
    checkResolution(periodMs(unit as CalendarUnit), `calendar ${unit}`, resolutionMs, report);
  } else {
    report(`calendar windows begin with the ${CALENDAR_UNITS.join(', ')}, not ${show(unit)}`);
  }
  if (typeof timeZone !== 'string' || !isTimeZone(timeZone)) {
    report(`timeZone must be an IANA time zone such as 'Europe/Berlin', not ${show(timeZone)}`);
  }
  if (!WEEK_STARTS.includes(weekStart as WeekStart)) {
    report(`weekStart must be ${WEEK_STARTS.join(', ')}, not ${show(weekStart)}`);
  }
}

export const LAST_EVENTS_MAX = 256;

function checkLastEvents({ count, withinMs }: Loose, _: unknown, report: Report): void {
  if (!Number.isSafeInteger(count) || (count as number) < 1 || (count as number) > LAST_EVENTS_MAX) {
    report(`the last 1 to ${LAST_EVENTS_MAX} events can be asked for, not ${show(count)}`);
  }
  if (withinMs !== null) checkDuration(withinMs, 'within', WINDOW_MIN_MS, report);
}

function checkLength(window: unknown, { name, needsLength = false }: Operation, report: Report): void {
  if (needsLength && isObject(window) && WINDOWS_WITHOUT_LENGTH.includes(window.kind)) {
    const isLifetime = window.kind === 'lifetime';
    report(
      `${builderName(name)} needs the length of its window, and ${isLifetime ? 'a lifetime has' : 'last events have'} ` +
        "none: use .over('1d'), .series(…) or .since(…)" +
        (isLifetime ? '; the number of events is count().lifetime()' : ''),
    );
  }
}

const WINDOWS_WITHOUT_LENGTH: readonly unknown[] = ['lifetime', 'last_events'];

function checkColumnExists(
  column: unknown,
  columns: Map<string, Column> | null,
  report: Report,
): Column | null {
  if (column === null || columns === null) return null;
  const found = typeof column === 'string' ? columns.get(column) : undefined;
  if (found === undefined) {
    report(`column ${show(column)} does not exist: it is neither a column of the source nor a projected one`);
    return null;
  }
  return found;
}

/** The type of the column aggregated, null where there is none, undefined where that is not known. */
function checkOperand(
  column: unknown,
  operation: Operation,
  columns: Map<string, Column> | null,
  report: Report,
): ColumnType | null | undefined {
  const called = builderName(operation.name);
  if (column === null || column === undefined) {
    if (operation.accepts === null || operation.columnOptional) return null;
    report(`${called} needs a column, ${called}('NAME'${operation.params.length === 0 ? '' : ', …'})`);
    return undefined;
  }
  if (operation.accepts === null) {
    report(`${called} takes no column`);
    return undefined;
  }
  const found = checkColumnExists(column, columns, report);
  if (found === null) return undefined;
  if (!operation.accepts.includes(found.type)) {
    report(
      `${called} does not take column '${String(column)}' of type ${found.type}; it takes ${operation.accepts.join(', ')}`,
    );
    return undefined;
  }
  return found.type;
}

function checkOrderBy(
  column: unknown,
  operation: Operation,
  columns: Map<string, Column> | null,
  report: Report,
): void {
  const { orderedBy } = operation;
  const called = builderName(operation.name);
  if (orderedBy === undefined) {
    if (column !== undefined) report(`${called} takes no column to order by`);
    return;
  }
  if (column === undefined || column === null) {
    report(`${called} needs a column to order by, ${called}('NAME', { by: 'COLUMN' })`);
    return;
  }
  const found = checkColumnExists(column, columns, report);
  if (found !== null && !orderedBy.includes(found.type)) {
    report(
      `${called} does not order by column '${String(column)}' of type ${found.type}; it takes ${orderedBy.join(', ')}`,
    );
  }
}

/**
 * Params with the defaults of those left out at the end; null where one has no default. What an operation lists comes
 * behind all of its parameters.
 */
export function completeParams(params: readonly number[], operation: Operation): number[] | null {
  const complete = [...params];
  for (const declared of operation.params.slice(params.length)) {
    if (declared.default === null) return null;
    complete.push(declared.default);
  }
  return complete;
}

function checkParams(params: unknown, operation: Operation, report: Report): void {
  if (!Array.isArray(params)) {
    report('params must be a list of numbers');
    return;
  }
  const { params: declaredParams, list } = operation;
  const called = builderName(operation.name);
  if (list === undefined && params.length > declaredParams.length) {
    report(`${called} takes ${declaredParams.length} parameters, not ${params.length}`);
  }
  for (const [index, declared] of declaredParams.entries()) {
    const value: unknown = index < params.length ? params[index] : declared.default;
    const { name, written = name, min, max, fractional = false, duration = false } = declared;
    const fits = fractional ? Number.isFinite(value) : Number.isSafeInteger(value);
    if (fits && (value as number) >= min && (value as number) <= max) continue;
    const given = value === null || value === undefined ? 'it is missing' : `not ${show(value)}`;
    const range = duration
      ? `a duration from ${formatDuration(min)} to ${formatDuration(max)}, such as '7d', or whole milliseconds`
      : `${fractional ? 'a number' : 'an integer'} from ${min} to ${max}`;
    report(`${written} of ${called} must be ${range}, ${given}`);
  }
  if (list !== undefined) checkList(params.slice(declaredParams.length), called, list, report);
}

function checkList(values: readonly unknown[], operation: string, list: OperationList, report: Report): void {
  const { name, min, max, lengthMax, ascending } = list;
  if (values.length < 1 || values.length > lengthMax) {
    report(`${operation} takes 1 to ${lengthMax} ${name}, not ${values.length}`);
  }
  for (const [i, value] of values.entries()) {
    if (!Number.isFinite(value) || (value as number) < min || (value as number) > max) {
      report(`${name} of ${operation} must be numbers from ${min} to ${max}, not ${show(value)}`);
      return;
    }
    if (ascending && i > 0 && (values[i - 1] as number) >= (value as number)) {
      report(`${name} of ${operation} must ascend`);
      return;
    }
  }
}

function fitsType(value: unknown, type: string): boolean {
  if (value === null) return true;
  if (type.endsWith('[]')) {
    return Array.isArray(value) && value.every((item) => item !== null && fitsType(item, type.slice(0, -2)));
  }
  switch (type) {
    case 'string':
    case 'boolean':
      return typeof value === type;
    case 'integer':
    case 'timestamp':
      return Number.isSafeInteger(value);
    case 'long':
      return typeof value === 'bigint' || Number.isSafeInteger(value);
    case 'double':
      return Number.isFinite(value);
    case 'pair':
      return (
        Array.isArray(value) &&
        value.length === 2 &&
        value.every((part) => part !== null && isFeatureValue(part))
      );
    default:
      return isFeatureValue(value);
  }
}

function isFeatureValue(value: unknown): value is FeatureValue {
  return (
    value === null ||
    typeof value === 'string' ||
    typeof value === 'boolean' ||
    typeof value === 'bigint' ||
    Number.isFinite(value) ||
    (Array.isArray(value) && value.every(isFeatureValue))
  );
}

function checkDefault(value: unknown, resultType: string, report: Report): void {
  if (!fitsType(value, resultType))
    report(`default must be ${resultType} or null, as the feature is, not ${show(value)}`);
}
