import { formatDuration } from '../windows/duration.ts';
import { checkInput } from './check-on-demand.ts';
import { checkCommon, checkDuration, checkName, isColumn, placeName } from './check-parts.ts';
import type { Report } from './definition-error.ts';
import { DEADLINE_MAX_MS } from './feature-service.ts';
import { isObject, kindOf, type Loose } from './loose.ts';
import type { Column } from './types.ts';

export function checkService(service: Loose, report: Report): void {
  checkName(service.name, 'service name', report);
  checkCommon(service, report);
  checkTimes(service, report);
  if (!Array.isArray(service.features)) {
    report('features must be a list of views, features and on-demand features');
    return;
  }
  if (service.features.length === 0) report('has no features');
  const names = new Set<string>();
  for (const [index, item] of service.features.entries()) {
    if (kindOf(item) !== 'feature_view') checkInput(item, `item ${index + 1}`, report);
    for (const name of outputNames(item)) {
      if (names.has(name)) report(`two features are called '${name}'`);
      names.add(name);
    }
  }
  checkRequestColumns(service.features, report);
}

function checkTimes({ deadlineMs, staleForMs }: Loose, report: Report): void {
  if (
    deadlineMs !== undefined &&
    checkDuration(deadlineMs, 'deadline', 1, report) &&
    (deadlineMs as number) > DEADLINE_MAX_MS
  ) {
    const given = formatDuration(deadlineMs as number);
    report(`deadline is ${given}: at most ${formatDuration(DEADLINE_MAX_MS)} is possible`);
  }
  if (staleForMs !== undefined) checkDuration(staleForMs, 'staleFor', 0, report);
}

function outputNames(item: unknown): string[] {
  const kind = kindOf(item);
  if (kind === 'feature_view') {
    const { features } = item as Loose;
    return isObject(features) ? Object.keys(features) : [];
  }
  const name = kind === 'feature_reference' || kind === 'on_demand_feature' ? (item as Loose).name : null;
  return typeof name === 'string' ? [name] : [];
}

/** One request column means one thing within a service. */
function checkRequestColumns(items: readonly unknown[], report: Report): void {
  const declared = new Map<string, { readonly column: Column; readonly by: string }>();
  const seen = new Set<unknown>();
  const visit = (item: unknown): void => {
    if (kindOf(item) !== 'on_demand_feature' || seen.has(item)) return;
    seen.add(item);
    const { inputs, request, name } = item as Loose;
    if (isObject(inputs)) for (const input of Object.values(inputs)) visit(input);
    if (!isObject(request)) return;
    for (const [columnName, value] of Object.entries(request)) {
      if (!isColumn(value)) continue;
      const column = value as Column;
      const before = declared.get(columnName);
      if (before === undefined) declared.set(columnName, { column, by: placeName(name) });
      else if (before.column.type !== column.type || before.column.nullable !== column.nullable) {
        const is = ({ type, nullable }: Column) => `${nullable ? 'nullable ' : ''}${type}`;
        report(
          `request column '${columnName}' is ${is(before.column)} for ${before.by} and ${is(column)} for ${placeName(name)}`,
        );
      }
    }
  };
  for (const item of items) visit(item);
}
