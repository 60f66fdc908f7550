import { unknownOptions } from './builder-problems.ts';
import { checkColumns, checkCommon, checkDuration, checkName, isColumn, show } from './check-parts.ts';
import type { Report } from './definition-error.ts';
import { isObject, type Loose } from './loose.ts';
import type { Column } from './types.ts';

/** Kafka's rule for topic names, of at most 249 characters; `.dead_letters` is appended. */
const TOPIC_PATTERN = /^[A-Za-z0-9._-]{1,236}$/;

const ID_TYPES: readonly unknown[] = ['string', 'integer', 'long'];

/** The readable columns of a source, or null where it has none to speak of. */
export function columnsOfSource(source: unknown): Map<string, Column> | null {
  if (!isObject(source) || !isObject(source.columns)) return null;
  const columns = new Map<string, Column>();
  for (const name of Object.keys(source.columns)) {
    const column = source.columns[name];
    if (isColumn(column)) columns.set(name, column as Column);
  }
  return columns;
}

export function checkSource(source: Loose, report: Report): void {
  checkName(source.name, 'source name', report);
  checkCommon(source, report);
  if (typeof source.topic !== 'string' || !TOPIC_PATTERN.test(source.topic) || /^\.\.?$/.test(source.topic)) {
    report(`topic ${show(source.topic)} is not a topic name: 1 to 236 letters, digits, '.', '_' and '-'`);
  }
  checkDuration(source.dedupeHorizonMs, 'dedupeHorizon', 0, report);
  checkDuration(source.maxFutureMs, 'maxFuture', 0, report);
  checkDuration(source.latenessMs, 'lateness', 0, report);
  if (!isObject(source.columns)) {
    report('columns must be an object of columns by name');
    return;
  }
  if (Object.keys(source.columns).length === 0) report('has no columns');
  checkColumns(source.columns, 'column', report);
  checkEventTime(source, source.columns, report);
  checkEventId(source, source.columns, report);
  if (source.batch !== undefined) checkBatch(source.batch as Loose, source.columns, report);
}

const EVERY_MIN_MS = 1_000;
const SQL_OPTIONS = ['sql', 'setup'];

/** What only a batch source has. */
function checkBatch({ from, key, effectiveTime, everyMs }: Loose, columns: Loose, report: Report): void {
  checkFrom(isObject(from) ? from : {}, report);
  const names = Array.isArray(key) ? (key as unknown[]) : [];
  if (names.length === 0) report('key must name the column, or columns, that say what a row is about');
  for (const name of names) {
    const column = typeof name === 'string' ? ownColumn(columns, name) : null;
    if (column === null) report(`key ${show(name)} is not a column of the source`);
    else if (!ID_TYPES.includes(column.type))
      report(`key '${String(name)}' must be a string, integer or long, not ${show(column.type)}`);
    else if (column.nullable === true) report(`key '${String(name)}' must not be nullable`);
    else if (name === effectiveTime)
      report(`key '${String(name)}' is the effective time, which is no part of it`);
  }
  if (everyMs !== null) checkDuration(everyMs, 'every', EVERY_MIN_MS, report);
}

function checkFrom(from: Loose, report: Report): void {
  const isText = (value: unknown): boolean =>
    typeof value === 'string' && value.trim() !== '' && !value.includes('\0');
  if ('path' in from ? !isText(from.path) : !isText(from.sql)) {
    report("from must be the path of files, 'customers.parquet', or a query, { sql: 'SELECT …' }");
  } else if (!('path' in from)) {
    for (const problem of unknownOptions('from', from, SQL_OPTIONS)) report(problem);
    if (from.setup !== undefined && !isText(from.setup))
      report('setup of from must be SQL that is run before the query');
  }
}

function ownColumn(columns: Loose, name: string): Loose | null {
  const column = Object.hasOwn(columns, name) ? columns[name] : null;
  return isObject(column) ? column : null;
}

/** What its builder calls it. */
const timeName = ({ batch }: Loose): string => (batch === undefined ? 'eventTime' : 'effectiveTime');

function checkEventTime(source: Loose, columns: Loose, report: Report): void {
  const { eventTime } = source;
  if (typeof eventTime !== 'string' || !Object.hasOwn(columns, eventTime)) {
    report(`${timeName(source)} ${show(eventTime)} is not a column of the source`);
    return;
  }
  const column = ownColumn(columns, eventTime);
  if (column === null) return;
  if (column.type !== 'timestamp')
    report(`${timeName(source)} '${eventTime}' must be a timestamp, not ${show(column.type)}`);
  if (column.nullable === true) report(`${timeName(source)} '${eventTime}' must not be nullable`);
}

function checkEventId(source: Loose, columns: Loose, report: Report): void {
  const { eventId } = source;
  if (eventId === null) return;
  if (typeof eventId !== 'string' || !Object.hasOwn(columns, eventId)) {
    report(`eventId ${show(eventId)} is not a column of the source`);
    return;
  }
  const column = ownColumn(columns, eventId);
  if (column === null) return;
  if (!ID_TYPES.includes(column.type)) {
    report(`eventId '${eventId}' must be a string, integer or long, not ${show(column.type)}`);
  }
  if (column.nullable === true) report(`eventId '${eventId}' must not be nullable`);
}
