import type { CompiledFeature, CompiledView } from './compiled.ts';

/**
 * The view with only what some of its features need: partial aggregates that are there for others would be kept up for
 * nothing. Not for states in a store, whose tiles hold all of them; the rows are the same. Values have no age: whoever asks for
 * them so knows no statuses.
 *
 * @param features of the view
 */
export function narrowedView(view: CompiledView, features: readonly CompiledFeature[]): CompiledView {
  const used = new Set(
    features.flatMap(({ partials, presence }) => (presence === null ? partials : [...partials, presence])),
  );
  const places = new Map([...used].sort((a, b) => a - b).map((index, place) => [index, place]));
  const isUsed = (_: unknown, index: number): boolean => used.has(index);
  const narrow = view.narrow.filter(isUsed);
  const wide = view.wide.filter((partial, w) => isUsed(partial, view.narrow.length + w));
  const partials = [...narrow, ...wide];
  const own = features.map((feature) => ({
    ...feature,
    partials: feature.partials.map((index) => places.get(index)!),
    maxAge: null,
    presence: feature.presence === null ? null : places.get(feature.presence)!,
  }));
  const ordered = partials.some((partial) => partial.ordered === true);
  return { ...view, features: own, partials, narrow, wide, ordered };
}
