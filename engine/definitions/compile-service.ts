/** A checked feature service → its read plan. */

import { parseDurationMs } from '../windows/duration.ts';
import type { CompiledService, CompiledView } from './compiled.ts';
import { DEFAULT_DEADLINE, referencesOf } from './feature-service.ts';
import type {
  Column,
  Entity,
  FeatureReference,
  FeatureService,
  FeatureView,
  OnDemandFeature,
} from './types.ts';

/** `views`: the compiled views by definition. */
export function compileService(
  service: FeatureService,
  views: ReadonlyMap<FeatureView, CompiledView>,
): CompiledService {
  const needed = new Map<CompiledView, Set<string>>();
  const entities = new Set<Entity>();
  const onDemand = new Set<OnDemandFeature>();
  const request: Record<string, Column> = Object.create(null);

  const need = (item: FeatureReference | OnDemandFeature): void => {
    if (item.kind === 'feature_reference') {
      const view = views.get(item.view)!;
      entities.add(view.entity);
      const names = needed.get(view);
      if (names === undefined) needed.set(view, new Set([item.name]));
      else names.add(item.name);
      return;
    }
    if (onDemand.has(item)) return;
    for (const input of Object.values(item.inputs)) need(input);
    // Inputs were added above: the set's order is a topological one.
    onDemand.add(item);
    for (const [name, column] of Object.entries(item.request)) request[name] = column;
  };

  const output = itemsOf(service).map((item) => {
    need(item);
    return Object.freeze(
      item.kind === 'feature_reference'
        ? { name: item.name, kind: 'aggregate' as const, view: views.get(item.view)! }
        : { name: item.name, kind: 'on_demand' as const, view: null },
    );
  });
  return Object.freeze({
    definition: service,
    name: service.name,
    entities: [...entities],
    request: Object.freeze(request),
    views: [...needed].map(([view, names]) =>
      Object.freeze({ view, features: view.features.filter(({ name }) => names.has(name)) }),
    ),
    onDemand: [...onDemand],
    output,
    deadlineMs: service.deadlineMs ?? parseDurationMs(DEFAULT_DEADLINE),
    staleForMs: service.staleForMs ?? 0,
  });
}

/**
 * The service with these of its features only, in its own order, and with what they need: views and features of views,
 * on-demand features, entities and request data.
 */
export function narrowService(service: CompiledService, names: ReadonlySet<string>): CompiledService {
  const { definition } = service;
  const views = new Map(service.views.map(({ view }) => [view.definition, view]));
  const features = itemsOf(definition).filter(({ name }) => names.has(name));
  return compileService({ ...definition, features }, views);
}

/** Plain JavaScript may name a whole view, which `featureService` would have expanded. */
function itemsOf({ features }: FeatureService): (FeatureReference | OnDemandFeature)[] {
  return (features as readonly (FeatureView | FeatureReference | OnDemandFeature)[]).flatMap((item) =>
    item.kind === 'feature_view' ? referencesOf(item) : [item],
  );
}
