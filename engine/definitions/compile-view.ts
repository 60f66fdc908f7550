/** A checked feature view → what ingest, compaction and serve run on. */
import { operationRegistry } from '../aggregators/operation-registry.ts';
import type { ColumnType, Operation, PartialRequest } from '../aggregators/partial-aggregate.ts';
import { partialKey, partialRegistry } from '../aggregators/partial-registry.ts';
import { hash64 } from '../hash64.ts';
import type { ColumnStorage } from '../tiles/row-block.ts';
import { canonicalJson } from './canonical-json.ts';
import { columnsOfView, completeParams } from './check-view.ts';
import type { CompiledFeature, CompiledView, StoredColumn } from './compiled.ts';
import { keyReader, projectorOf } from './project-event.ts';
import type { Column, Feature, FeatureView } from './types.ts';

/** Raise when the meaning of stored bytes changes without any definition changing. */
const STATE_FORMAT = 1;

const STORAGE: Readonly<Record<ColumnType, ColumnStorage>> = {
  string: 'text',
  long: 'long',
  integer: 'number',
  double: 'number',
  boolean: 'number',
  timestamp: 'number',
};

const byText = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

/** Kinds that ask of a column only which rows have a value, and the kind that takes all rows. */
const ALL_ROWS: Readonly<Record<string, string>> = {
  count: 'row_count',
  decayed_count: 'decayed_count',
  first_time: 'first_time',
  last_time: 'last_time',
};

/** A column without nulls has a value in every row: no need to keep it to see that. */
function simplify(request: PartialRequest, columns: ReadonlyMap<string, Column>): PartialRequest {
  const { kind, column } = request;
  return Object.hasOwn(ALL_ROWS, kind) && column !== null && !columns.get(column)!.nullable
    ? { ...request, kind: ALL_ROWS[kind]!, column: null }
    : request;
}

interface PlannedFeature {
  readonly name: string;
  readonly feature: Feature;
  readonly operation: Operation;
  readonly params: readonly number[];
  readonly requests: readonly PartialRequest[];
}

function plan(view: FeatureView, columns: ReadonlyMap<string, Column>): PlannedFeature[] {
  return Object.entries(view.features).map(([name, feature]) => {
    const operation = operationRegistry.get(feature.operation)!;
    const params = completeParams(feature.params, operation)!;
    const requests = operation.partials(feature.column, params).map((request) => simplify(request, columns));
    return { name, feature, operation, params, requests };
  });
}

const columnKey = (name: string, need: string): string => `${need === 'hash' ? '#' : ''}${name}`;

/** In an order that does not depend on the order of the features, so that moving one keeps the state. */
function storedColumns(
  requests: readonly PartialRequest[],
  columns: ReadonlyMap<string, Column>,
): StoredColumn[] {
  const stored = new Map<string, StoredColumn>();
  for (const { column: name, need } of requests) {
    if (name === null) continue;
    const { type } = columns.get(name)!;
    const storage = need === 'hash' ? 'number' : STORAGE[type];
    stored.set(columnKey(name, need), Object.freeze({ name, type, need, storage }));
  }
  return [...stored.keys()].sort(byText).map((key) => stored.get(key)!);
}

/** What the state of a view is for (C11). Not in it: descriptions, feature names, defaults, function texts. */
function fingerprintOf(
  view: FeatureView,
  columns: readonly StoredColumn[],
  partialKeys: readonly string[],
  declared: ReadonlyMap<string, Column>,
): string {
  const { source } = view;
  const windows = new Set(Object.values(view.features).map(({ window }) => canonicalJson(window)));
  return canonicalJson({
    format: STATE_FORMAT,
    // Two views that differ only in their functions must not share state: functions cannot be compared.
    view: view.name,
    version: view.version,
    filtered: view.filter !== null,
    source: source.name,
    entity: view.entity.name,
    keyColumn: view.keyColumn,
    eventTime: source.eventTime,
    eventId:
      source.eventId === null ? null : { name: source.eventId, type: source.columns[source.eventId]!.type },
    columns: columns.map(({ name, type, need }) => ({
      name,
      type,
      need,
      nullable: declared.get(name)!.nullable,
      projected: Object.hasOwn(view.project, name),
    })),
    partials: partialKeys,
    windows: [...windows].sort(byText),
    resolutionMs: view.resolutionMs,
    asOfRetentionMs: view.asOfRetentionMs,
    dedupeHorizonMs: source.dedupeHorizonMs,
  });
}

export function compileView(view: FeatureView): CompiledView {
  const declared: ReadonlyMap<string, Column> = columnsOfView(view as never)!;
  const planned = plan(view, declared);
  const requests = planned.flatMap((feature) => feature.requests);
  const columns = storedColumns(requests, declared);
  const columnIndexes = new Map(columns.map(({ name, need }, index) => [columnKey(name, need), index]));

  const byKey = new Map(requests.map((request) => [partialKey(request), request]));
  const partialKeys = [...byKey.keys()].sort(byText);
  const partialIndexes = new Map(partialKeys.map((key, index) => [key, index]));
  const partials = partialKeys.map((key) => {
    const { kind, column, need, params } = byKey.get(key)!;
    const index = column === null ? -1 : columnIndexes.get(columnKey(column, need))!;
    const stored = columns[index];
    return partialRegistry.get(kind)!({
      key,
      column: index,
      storage: stored?.storage ?? 'number',
      type: stored?.type ?? 'integer',
      params,
    });
  });

  const features = planned.map(
    ({ name, feature, operation, params, requests }): CompiledFeature =>
      Object.freeze({
        name,
        operation,
        type: feature.column === null ? null : declared.get(feature.column)!.type,
        params,
        window: feature.window,
        partials: requests.map((request) => partialIndexes.get(partialKey(request))!),
        empty: feature.default === undefined ? operation.empty : feature.default,
      }),
  );

  const fingerprint = fingerprintOf(view, columns, partialKeys, declared);
  const windows = features.map(({ window }) => window);
  return Object.freeze({
    definition: view,
    name: view.name,
    source: view.source,
    entity: view.entity,
    namespace: hash64(fingerprint).toString(16).padStart(16, '0'),
    fingerprint,
    columns,
    storages: columns.map(({ storage }) => storage),
    partials,
    features,
    longestWindowMs: Math.max(0, ...windows.map((w) => (w.kind === 'sliding' ? w.offsetMs + w.sizeMs : 0))),
    hasLifetime: windows.some(({ kind }) => kind === 'lifetime'),
    lifetimeOffsetMs: Math.max(0, ...windows.map((w) => (w.kind === 'lifetime' ? w.offsetMs : 0))),
    asOfRetentionMs: view.asOfRetentionMs,
    resolutionMs: view.resolutionMs,
    latenessMs: view.source.latenessMs,
    dedupeHorizonMs: view.source.dedupeHorizonMs,
    keyOf: keyReader(view),
    project: projectorOf(view, columns),
  });
}
