/** A checked feature service → its read plan. */

import type { CompiledService, CompiledView } from './compiled.ts';
import { referencesOf } from './feature-service.ts';
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

  // Plain JavaScript may name a whole view, which `featureService` would have expanded.
  const items = (service.features as readonly (FeatureView | FeatureReference | OnDemandFeature)[]).flatMap(
    (item) => (item.kind === 'feature_view' ? referencesOf(item) : [item]),
  );
  const output = items.map((item) => {
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
  });
}
