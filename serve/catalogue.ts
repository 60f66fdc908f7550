/** `GET /v1/catalog`: what the repo defines, for people and programs. */
import type {
  CompiledFeature,
  CompiledRepo,
  CompiledService,
  CompiledView,
} from '../engine/definitions/compiled.ts';
import { resultTypeOf } from '../engine/definitions/result-type.ts';
import type {
  Columns,
  Described,
  FeatureReference,
  OnDemandFeature,
  Window,
} from '../engine/definitions/types.ts';
import { formatDuration } from '../engine/windows/duration.ts';
import { toJson } from './json-value.ts';

interface Description {
  readonly description: string | null;
  readonly owner: string | null;
  readonly tags: readonly string[];
}

function descriptionOf(own: Described, parent?: Described): Description {
  return {
    description: own.description ?? null,
    owner: own.owner ?? parent?.owner ?? null,
    tags: own.tags ?? parent?.tags ?? [],
  };
}

function columnsOf(columns: Columns) {
  return Object.entries(columns).map(([name, { type, nullable }]) => ({ name, type, nullable }));
}

/** Lengths of time, each in ms and in words. */
function lengths(byName: Readonly<Record<string, number | null>>): Record<string, number | string | null> {
  return Object.fromEntries(
    Object.entries(byName).flatMap(([name, ms]) => [
      [name, ms === null ? null : formatDuration(ms)],
      [`${name}_ms`, ms],
    ]),
  );
}

function windowOf(window: Window) {
  const { kind } = window;
  switch (kind) {
    case 'sliding':
      return { kind, ...lengths({ size: window.sizeMs, offset: window.offsetMs }) };
    case 'lifetime':
      return { kind, ...lengths({ size: null, offset: window.offsetMs }) };
    case 'series': {
      const { startMs, endMs, sizeMs, stepMs } = window;
      return { kind, ...lengths({ start: startMs, end: endMs, size: sizeMs, step: stepMs }) };
    }
    case 'calendar':
      return { kind, unit: window.unit, time_zone: window.timeZone, week_start: window.weekStart };
    case 'last_events':
      return { kind, count: window.count, ...lengths({ within: window.withinMs }) };
  }
}

function paramsOf({ operation, params }: CompiledFeature): Record<string, number | null | readonly number[]> {
  const { params: declared, list } = operation;
  const named = declared.map(({ name }, i): [string, number | null] => [name, params[i] ?? null]);
  return {
    ...Object.fromEntries(named),
    ...(list === undefined ? {} : { [list.name]: params.slice(declared.length) }),
  };
}

function aggregateOf(view: CompiledView, feature: CompiledFeature) {
  const declared = view.definition.features[feature.name]!;
  return {
    name: feature.name,
    kind: 'aggregate',
    view: view.name,
    type: resultTypeOf(feature),
    aggregation: {
      operation: feature.operation.name,
      column: declared.column,
      params: paramsOf(feature),
      ...(declared.orderBy === undefined ? {} : { order_by: declared.orderBy }),
      ...(declared.where === undefined ? {} : { where: declared.where }),
      ...(declared.by === undefined ? {} : { by: declared.by }),
    },
    window: windowOf(feature.window),
    ...(declared.maxAgeMs === undefined ? {} : { max_age_ms: declared.maxAgeMs }),
    empty: toJson(feature.empty),
    ...descriptionOf(declared, view.definition),
  };
}

function onDemandOf(feature: OnDemandFeature) {
  return {
    name: feature.name,
    kind: 'on_demand',
    type: feature.type,
    inputs: Object.entries(feature.inputs).map(
      ([name, input]: [string, FeatureReference | OnDemandFeature]) => ({
        name,
        feature: input.name,
        view: input.kind === 'feature_reference' ? input.view.name : null,
      }),
    ),
    request: columnsOf(feature.request),
    ...descriptionOf(feature),
  };
}

function viewOf(view: CompiledView) {
  const { definition } = view;
  return {
    name: view.name,
    source: view.source.name,
    entity: view.entity.name,
    key_column: definition.keyColumn,
    version: definition.version,
    namespace: view.namespace,
    filtered: definition.filter !== null,
    projected: Object.keys(definition.project),
    resolution_ms: view.resolutionMs,
    max_state_bytes: view.maxStateBytes,
    as_of_retention_ms: view.asOfRetentionMs,
    features: view.features.map((feature) => aggregateOf(view, feature)),
    ...descriptionOf(definition),
  };
}

function serviceOf(service: CompiledService) {
  const onDemand = new Map(service.onDemand.map((feature) => [feature.name, feature]));
  return {
    name: service.name,
    entities: service.entities.map(({ name }) => name),
    request: columnsOf(service.request),
    features: service.output.map(({ name, view }) => {
      if (view === null) return onDemandOf(onDemand.get(name)!);
      return aggregateOf(view, view.features.find((feature) => feature.name === name)!);
    }),
    ...lengths({ deadline: service.deadlineMs, stale_for: service.staleForMs }),
    ...descriptionOf(service.definition),
  };
}

/** Plain JSON; made once, as definitions do not change while the process runs. */
export function catalogueOf(repo: CompiledRepo) {
  return {
    sources: [...repo.sources.values()].map(({ definition, name }) => ({
      name,
      topic: definition.topic,
      columns: columnsOf(definition.columns),
      event_time: definition.eventTime,
      event_id: definition.eventId,
      dedupe_horizon_ms: definition.dedupeHorizonMs,
      max_future_ms: definition.maxFutureMs,
      lateness_ms: definition.latenessMs,
      ...descriptionOf(definition),
    })),
    entities: [...repo.entities.values()].map((entity) => ({ name: entity.name, ...descriptionOf(entity) })),
    views: [...repo.views.values()].map(viewOf),
    services: [...repo.services.values()].map(serviceOf),
  };
}
