/** A checked feature view → what ingest, compaction and serve run on. */
import { operationRegistry } from '../aggregators/operation-registry.ts';
import { ofRowsOrValues } from '../aggregators/operations/partial-request.ts';
import type {
  ColumnNeed,
  ColumnType,
  FeatureValue,
  Operation,
  PartialAggregate,
  PartialColumn,
  PartialRequest,
} from '../aggregators/partial-aggregate.ts';
import { partialKey, partialRegistry } from '../aggregators/partial-registry.ts';
import { conditional } from '../aggregators/partials/conditional.ts';
import { grouped } from '../aggregators/partials/grouped.ts';
import { hash64 } from '../hash64.ts';
import type { NewestRowsSpec } from '../tiles/newest-rows.ts';
import type { ColumnStorage } from '../tiles/row-block.ts';
import { newEdgeOffsetMs, reachMs } from '../windows/window-reach.ts';
import { canonicalJson } from './canonical-json.ts';
import { columnsOfView, completeParams } from './check-view.ts';
import type { CompiledFeature, CompiledView, StoredColumn } from './compiled.ts';
import { keyReader, projectorOf } from './project-event.ts';
import type { Column, Feature, FeatureView } from './types.ts';

/** Raise when the meaning of stored bytes changes without any definition changing. */
const STATE_FORMAT = 4;

const STORAGE: Readonly<Record<ColumnType, ColumnStorage>> = {
  string: 'text',
  long: 'long',
  integer: 'number',
  double: 'number',
  boolean: 'number',
  timestamp: 'number',
};

const byText = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

/** Partials that ask of a column only which rows have a value, and the kind that takes every row. */
const OF_EVERY_ROW: ReadonlyMap<string, string> = new Map([
  ['count', 'row_count'],
  ['gaps', 'gaps'],
  ['decayed_count', 'decayed_count'],
  ['first_time', 'first_time'],
  ['last_time', 'last_time'],
]);

/** Of a column without nulls every row has a value: no need to keep it to know that. */
function simplify(request: PartialRequest, columns: ReadonlyMap<string, Column>): PartialRequest {
  const kind = OF_EVERY_ROW.get(request.kind);
  return kind !== undefined && request.column !== null && !columns.get(request.column)!.nullable
    ? { ...request, kind, column: null }
    : request;
}

/** What a view keeps of its rows, once for all features that need it. */
interface PlannedPartial {
  readonly key: string;
  /** Boolean column of the rows that count; null: all. */
  readonly where: string | null;
  readonly of: PartialRequest | PlannedGroups;
}

/** The partials of features with the same secondary key and condition are kept together: a value is stored once. */
interface PlannedGroups {
  readonly by: string;
  readonly max: number;
  /** By key, ascending. */
  readonly inner: readonly PartialRequest[];
}

interface PlannedFeature {
  readonly name: string;
  readonly feature: Feature;
  readonly operation: Operation;
  readonly params: readonly number[];
  readonly requests: readonly PartialRequest[];
  /** Of the time of the newest row, where the value's age counts. */
  readonly newest: PartialRequest | null;
}

const ROW_COUNT: PartialRequest = { kind: 'row_count', column: null, need: 'value', params: [] };

function plan(view: FeatureView, columns: ReadonlyMap<string, Column>): PlannedFeature[] {
  return Object.entries(view.features).map(([name, feature]) => {
    const operation = operationRegistry.get(feature.operation)!;
    const params = completeParams(feature.params, operation)!;
    const requests = operation
      .partials(feature.column, params, feature.orderBy)
      .map((request) => simplify(request, columns));
    const newest =
      feature.maxAgeMs === undefined ? null : simplify(ofRowsOrValues('last_time', feature.column), columns);
    return { name, feature, operation, params, requests, newest };
  });
}

const conditionally = (key: string, where: string | null): string =>
  where === null ? key : `${key} where ${where}`;

const plainKey = (request: PartialRequest, where: string | null): string =>
  conditionally(partialKey(request), where);

/** Of the features that share groups: `by(country,64) where failed`. */
const groupsName = ({ by, where }: Feature): string =>
  conditionally(`by(${by!.column},${by!.max})`, where ?? null);

/** Everything to be kept, by the name under which features look for it. */
function planPartials(features: readonly PlannedFeature[]): Map<string, PlannedPartial> {
  const planned = new Map<string, PlannedPartial>();
  const groups = new Map<
    string,
    { readonly feature: Feature; readonly inner: Map<string, PartialRequest> }
  >();
  for (const { feature, requests, newest } of features) {
    const where = feature.where ?? null;
    if (feature.by !== undefined) {
      const name = groupsName(feature);
      const { inner } = groups.get(name) ?? { inner: new Map<string, PartialRequest>() };
      groups.set(name, { feature, inner });
      for (const request of requests) inner.set(partialKey(request), request);
      continue;
    }
    const further = [...(where === null ? [] : [ROW_COUNT]), ...(newest === null ? [] : [newest])];
    for (const request of [...requests, ...further]) {
      const key = plainKey(request, where);
      planned.set(key, { key, where, of: request });
    }
  }
  for (const [name, { feature, inner }] of groups) {
    const { column: by, max } = feature.by!;
    const keys = [...inner.keys()].sort(byText);
    planned.set(name, {
      key: conditionally(`by(${by},${max})[${keys.join(';')}]`, feature.where ?? null),
      where: feature.where ?? null,
      of: { by, max, inner: keys.map((key) => inner.get(key)!) },
    });
  }
  return planned;
}

const columnKey = (name: string, need: string): string => `${need === 'hash' ? '#' : ''}${name}`;

/** In an order that does not depend on the order of the features, so that moving one keeps the state. */
function storedColumns(
  partials: Iterable<PlannedPartial>,
  columns: ReadonlyMap<string, Column>,
): StoredColumn[] {
  const stored = new Map<string, Omit<StoredColumn, 'storage'>>();
  const store = (name: string | null | undefined, need: ColumnNeed): void => {
    if (name === null || name === undefined) return;
    const { type } = columns.get(name)!;
    stored.set(columnKey(name, need), { name, type, need });
  };
  for (const { where, of } of partials) {
    store(where, 'value');
    if ('inner' in of) store(of.by, 'value');
    for (const { column, need, orderBy } of requestsOf(of)) {
      store(column, need);
      store(orderBy, 'value');
    }
  }
  // A value comes before its hash, which the rows need not hold then.
  const order = (a: Omit<StoredColumn, 'storage'>, b: Omit<StoredColumn, 'storage'>): number =>
    byText(a.name, b.name) || byText(b.need, a.need);
  return [...stored.values()].sort(order).map((column) => {
    const { name, type, need } = column;
    const beside = type === 'string' && stored.has(columnKey(name, 'value')) ? 'text_hash' : 'number';
    return Object.freeze({ ...column, storage: need === 'hash' ? beside : STORAGE[type] });
  });
}

const requestsOf = (of: PlannedPartial['of']): readonly PartialRequest[] => ('inner' in of ? of.inner : [of]);

/** Makes the partials over the columns that are stored. */
class PartialMaker {
  readonly #columns: readonly StoredColumn[];
  readonly #indexes: ReadonlyMap<string, number>;

  constructor(columns: readonly StoredColumn[]) {
    this.#columns = columns;
    this.#indexes = new Map(columns.map(({ name, need }, index) => [columnKey(name, need), index]));
  }

  make({ key, where, of }: PlannedPartial): PartialAggregate {
    const inner =
      'inner' in of
        ? grouped({
            key,
            by: this.column(of.by, 'value'),
            max: of.max,
            inner: of.inner.map((request) => this.#plain(partialKey(request), request)),
          })
        : this.#plain(key, of);
    return where === null ? inner : conditional(key, inner, this.column(where, 'value').column);
  }

  #plain(key: string, { kind, column, need, orderBy, params }: PartialRequest): PartialAggregate {
    return partialRegistry.get(kind)!({
      key,
      ...(column === null ? NO_COLUMN : this.column(column, need)),
      ...(orderBy === undefined ? {} : { orderBy: this.column(orderBy, 'value') }),
      params,
    });
  }

  column(name: string, need: ColumnNeed): PartialColumn {
    const column = this.#indexes.get(columnKey(name, need))!;
    const { storage, type } = this.#columns[column]!;
    // Where a hash comes from is nothing to a partial.
    return { column, storage: storage === 'text_hash' ? 'number' : storage, type };
  }
}

const NO_COLUMN: PartialColumn = { column: -1, storage: 'number', type: 'integer' };

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

const NO_GROUPS: ReadonlyMap<string, FeatureValue> = new Map<string, FeatureValue>();

/** Where a feature finds its states. */
function placesOf(
  { feature, requests, newest }: PlannedFeature,
  byName: ReadonlyMap<string, PlannedPartial>,
  indexes: ReadonlyMap<string, number>,
  declared: ReadonlyMap<string, Column>,
): Pick<CompiledFeature, 'partials' | 'groups' | 'presence' | 'maxAge'> {
  const where = feature.where ?? null;
  if (feature.by === undefined) {
    return {
      partials: requests.map((request) => indexes.get(plainKey(request, where))!),
      groups: null,
      presence: where === null ? null : indexes.get(plainKey(ROW_COUNT, where))!,
      maxAge:
        newest === null ? null : { ms: feature.maxAgeMs!, partial: indexes.get(plainKey(newest, where))! },
    };
  }
  const name = groupsName(feature);
  const keys = requestsOf(byName.get(name)!.of).map(partialKey);
  return {
    partials: [indexes.get(name)!],
    groups: {
      inner: requests.map((request) => keys.indexOf(partialKey(request))),
      type: declared.get(feature.by.column)!.type,
    },
    presence: null,
    maxAge: null,
  };
}

/** Features over the last events share the rows that are remembered for them by their condition: '' for none. */
const newestKeys = (features: readonly PlannedFeature[]): string[] =>
  [
    ...new Set(
      features.flatMap(({ feature: { window, where = '' } }) =>
        window.kind === 'last_events' ? [where] : [],
      ),
    ),
  ].sort(byText);

function newestRowsOf(
  where: string,
  features: readonly PlannedFeature[],
  maker: PartialMaker,
): NewestRowsSpec {
  let count = 0;
  let withinMs: number | null = 0;
  for (const { feature } of features) {
    const { window } = feature;
    if (window.kind !== 'last_events' || (feature.where ?? '') !== where) continue;
    count = Math.max(count, window.count);
    withinMs = withinMs === null || window.withinMs === null ? null : Math.max(withinMs, window.withinMs);
  }
  return {
    count,
    bounded: withinMs !== null,
    condition: where === '' ? -1 : maker.column(where, 'value').column,
  };
}

export function compileView(view: FeatureView): CompiledView {
  const declared: ReadonlyMap<string, Column> = columnsOfView(view as never)!;
  const planned = plan(view, declared);
  const byName = planPartials(planned);
  const columns = storedColumns(byName.values(), declared);
  const ordered = [...byName].sort(([, a], [, b]) => byText(a.key, b.key));
  const partialKeys = ordered.map(([, { key }]) => key);
  const maker = new PartialMaker(columns);
  const made = ordered.map(([name, partial]) => ({ name, partial: maker.make(partial) }));
  const isWide = ({ partial }: { partial: PartialAggregate }): boolean => partial.wide === true;
  const placed = [...made.filter((one) => !isWide(one)), ...made.filter(isWide)];
  const indexes = new Map(placed.map(({ name }, index) => [name, index]));
  const partials = placed.map(({ partial }) => partial);

  const newest = newestKeys(planned);
  const newestRows = newest.map((where) => newestRowsOf(where, planned, maker));
  const features = planned.map((plannedFeature): CompiledFeature => {
    const { name, feature, operation, params } = plannedFeature;
    const own = feature.by === undefined ? operation.empty : NO_GROUPS;
    return Object.freeze({
      name,
      operation,
      type: feature.column === null ? null : declared.get(feature.column)!.type,
      params,
      window: feature.window,
      ...placesOf(plannedFeature, byName, indexes, declared),
      newestRows: feature.window.kind === 'last_events' ? newest.indexOf(feature.where ?? '') : -1,
      empty: feature.default === undefined ? own : feature.default,
    });
  });

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
    narrow: partials.filter((partial) => partial.wide !== true),
    wide: partials.filter((partial) => partial.wide === true),
    features,
    longestWindowMs: Math.max(0, ...windows.map(reachMs).filter(Number.isFinite)),
    largestOffsetMs: Math.max(0, ...windows.map(newEdgeOffsetMs)),
    ordered: partials.some(({ ordered = false }) => ordered),
    hasLifetime: windows.some(({ kind }) => kind === 'lifetime'),
    lifetimeOffsetMs: Math.max(0, ...windows.map((w) => (w.kind === 'lifetime' ? w.offsetMs : 0))),
    newestRows,
    keepsForever: windows.some((window) => reachMs(window) === Number.POSITIVE_INFINITY),
    asOfRetentionMs: view.asOfRetentionMs,
    resolutionMs: view.resolutionMs,
    maxStateBytes: view.maxStateBytes,
    latenessMs: view.source.latenessMs,
    dedupeHorizonMs: view.source.dedupeHorizonMs,
    hasEventIds: view.source.eventId !== null,
    keyOf: keyReader(view),
    project: projectorOf(view, columns),
  });
}
