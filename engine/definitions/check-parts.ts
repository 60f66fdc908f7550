/** Checks shared by all kinds of definitions. They take anything and report; they never throw. */
import { type DurationError, formatDuration, parseDurationMs } from '../windows/duration.ts';
import { reportBuilderProblems } from './builder-problems.ts';
import { COLUMN_TYPES } from './column-value.ts';
import type { Report } from './definition-error.ts';
import { isObject, type Loose } from './loose.ts';
import { NAME_PATTERN } from './types.ts';

/** How a value that should not be there is named in a message. Names and numbers are shown, nothing else. */
export function show(value: unknown): string {
  if (typeof value === 'string') return `'${value.length > 80 ? `${value.slice(0, 80)}…` : value}'`;
  if (value === null || value === undefined || typeof value === 'number' || typeof value === 'boolean') {
    return String(value);
  }
  if (typeof value === 'bigint') return `${value}n`;
  if (Array.isArray(value)) return 'a list';
  return `a value of type ${typeof value}`;
}

export function isName(value: unknown): value is string {
  return typeof value === 'string' && NAME_PATTERN.test(value) && value !== '__proto__';
}

export function checkName(value: unknown, what: string, report: Report): void {
  if (isName(value)) return;
  report(
    value === '__proto__'
      ? `${what} '__proto__' is reserved`
      : `${what} ${show(value)} is not a name: 1 to 64 letters, digits and _, not beginning with a digit`,
  );
}

/** `customer_spend` in places, whatever the name is. */
export const placeName = (value: unknown): string =>
  typeof value === 'string' && value !== '' ? value.slice(0, 80) : '(without a name)';

/** 20 years of 365.25 days. */
export const DURATION_MAX_MS = 7305 * 86_400_000;

/** A whole number of milliseconds from `minMs` to 20 years. */
export function checkDuration(value: unknown, what: string, minMs: number, report: Report): boolean {
  if (typeof value === 'string') {
    try {
      parseDurationMs(value);
    } catch (error) {
      report(`${what}: ${(error as DurationError).message}`);
      return false;
    }
  }
  if (value === undefined) {
    report(`${what} is missing: write a duration such as '7d', or a number of milliseconds`);
    return false;
  }
  if (typeof value !== 'number' || Number.isNaN(value)) {
    report(`${what} must be a number of milliseconds, not ${show(value)}`);
    return false;
  }
  if (value < minMs)
    report(`${what} is ${formatDurationLoose(value)}: it must be at least ${formatDuration(minMs)}`);
  else if (value > DURATION_MAX_MS)
    report(`${what} is ${formatDurationLoose(value)}: at most 20 years (7305d) are possible`);
  else if (!Number.isInteger(value)) report(`${what} must be a whole number of milliseconds, not ${value}`);
  else return true;
  return false;
}

const formatDurationLoose = (ms: number): string =>
  Number.isInteger(ms) && ms >= 0 ? formatDuration(ms) : `${ms}ms`;

/** What every definition has: what its builder found, and how it is described. */
export function checkCommon(definition: Loose, report: Report): void {
  reportBuilderProblems(definition, report);
  for (const field of ['description', 'owner'] as const) {
    const value = definition[field];
    if (value !== undefined && typeof value !== 'string') report(`${field} must be text`);
  }
  const { tags } = definition;
  if (tags !== undefined && !(Array.isArray(tags) && tags.every((tag) => typeof tag === 'string'))) {
    report('tags must be a list of texts');
  }
}

export function isColumn(value: unknown): boolean {
  return isObject(value) && COLUMN_TYPES.includes(value.type as never) && typeof value.nullable === 'boolean';
}

/** Names and types of the columns of a source or of request data. */
export function checkColumns(columns: Loose, what: string, report: Report): void {
  for (const name of Object.keys(columns)) {
    checkName(name, what, report);
    const column = columns[name];
    if (!isObject(column)) {
      report(
        `${what} '${name}' must be made with string(), integer(), long(), double(), boolean() or timestamp()`,
      );
      continue;
    }
    if (!COLUMN_TYPES.includes(column.type as never)) {
      report(`${what} '${name}' has unknown type ${show(column.type)}; types are ${COLUMN_TYPES.join(', ')}`);
    }
    if (typeof column.nullable !== 'boolean') report(`${what} '${name}': nullable must be true or false`);
    reportBuilderProblems(column, (problem) => report(`${what} '${name}': ${problem}`));
  }
}
