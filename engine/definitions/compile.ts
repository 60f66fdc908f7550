/**
 * A feature repo, checked as a whole and turned into what runs.
 *
 * 1. Walk: from the given definitions to everything they refer to (a service brings its views, a view its
 *    source and entity), each object once.
 * 2. Check: every definition by itself, then names and cycles across them. Nothing stops at a problem.
 * 3. Build, only if no problem was found: from here on the definitions are what their types say.
 */
import { checkCycles, checkOnDemand } from './check-on-demand.ts';
import { checkCommon, checkName, placeName } from './check-parts.ts';
import { checkService } from './check-service.ts';
import { checkSource } from './check-source.ts';
import { checkView } from './check-view.ts';
import { compileService } from './compile-service.ts';
import { compileView } from './compile-view.ts';
import type { CompiledRepo, CompiledSource, CompiledView } from './compiled.ts';
import { DefinitionError, ProblemList } from './definition-error.ts';
import { isObject, type Loose } from './loose.ts';
import type { Entity, FeatureService, FeatureView, StreamSource } from './types.ts';

const KINDS = {
  stream_source: 'source',
  entity: 'entity',
  feature_view: 'view',
  on_demand_feature: 'on-demand feature',
  feature_service: 'service',
} as const;

type Kind = keyof typeof KINDS;

type Found = Readonly<Record<Kind, Loose[]>>;

/** Values that repos export beside definitions: parts of them, to be ignored. */
const PARTS: readonly unknown[] = ['feature', 'feature_reference', 'aggregation'];

const valuesOf = (record: unknown): unknown[] =>
  Array.isArray(record) ? record : isObject(record) ? Object.values(record) : [];

function walk(definitions: Iterable<unknown>, problems: ProblemList): Found {
  const found: Found = {
    stream_source: [],
    entity: [],
    feature_view: [],
    on_demand_feature: [],
    feature_service: [],
  };
  const seen = new Set<unknown>();
  const visit = (value: unknown): void => {
    if (!isObject(value) || seen.has(value)) return;
    seen.add(value);
    const { kind } = value;
    if (kind === 'feature_reference') visit(value.view);
    if (typeof kind !== 'string' || !Object.hasOwn(KINDS, kind)) return;
    found[kind as Kind].push(value);
    if (kind === 'feature_view') {
      visit(value.source);
      visit(value.entity);
    } else if (kind === 'on_demand_feature') for (const input of valuesOf(value.inputs)) visit(input);
    else if (kind === 'feature_service') for (const item of valuesOf(value.features)) visit(item);
  };
  for (const value of definitions) {
    visit(value);
    if (isObject(value) && typeof value.kind === 'string') {
      if (!Object.hasOwn(KINDS, value.kind) && !PARTS.includes(value.kind)) {
        problems.add(
          'repo',
          `unknown kind of definition '${value.kind.slice(0, 80)}'; kinds are ${Object.keys(KINDS).join(', ')}`,
        );
      }
    }
  }
  if (Object.values(found).every((list) => list.length === 0)) problems.add('repo', 'has no definitions');
  return found;
}

function checkNamesDiffer(definitions: readonly Loose[], kind: Kind, problems: ProblemList): void {
  const names = new Set<unknown>();
  for (const { name } of definitions) {
    if (typeof name !== 'string') continue;
    if (names.has(name)) {
      problems.add(`${KINDS[kind]} ${placeName(name)}`, 'two different definitions have this name');
    }
    names.add(name);
  }
}

function checkTopicsDiffer(sources: readonly Loose[], problems: ProblemList): void {
  const owners = new Map<unknown, Loose>();
  for (const source of sources) {
    const owner = owners.get(source.topic);
    if (owner === undefined) owners.set(source.topic, source);
    else if (owner.name !== source.name && typeof source.topic === 'string') {
      problems.add(
        `source ${placeName(source.name)}`,
        `topic '${source.topic}' is also the topic of source ${placeName(owner.name)}`,
      );
    }
  }
}

/** Runs a check; a definition that throws when it is looked at (a getter, a proxy) is a problem like others. */
function guarded(place: string, problems: ProblemList, check: () => void): void {
  try {
    check();
  } catch (error) {
    problems.add(place, `cannot be read: ${error instanceof Error ? error.message : String(error)}`);
  }
}

function check(definitions: Iterable<unknown>): Found {
  const problems = new ProblemList();
  let found: Found | null = null;
  guarded('repo', problems, () => {
    found = walk(definitions, problems);
  });
  if (found === null) throw new DefinitionError(problems.problems);
  const all: Found = found;
  const each = (kind: Kind, checkOne: (definition: Loose, place: string) => void): void => {
    for (const definition of all[kind]) {
      guarded(KINDS[kind], problems, () =>
        checkOne(definition, `${KINDS[kind]} ${placeName(definition.name)}`),
      );
    }
    guarded(KINDS[kind], problems, () => checkNamesDiffer(all[kind], kind, problems));
  };
  each('stream_source', (source, place) => checkSource(source, problems.at(place)));
  each('entity', (entity, place) => {
    checkName(entity.name, 'entity name', problems.at(place));
    checkCommon(entity, problems.at(place));
  });
  each('feature_view', (view) => checkView(view, problems));
  each('on_demand_feature', (feature, place) => checkOnDemand(feature, problems.at(place)));
  each('feature_service', (service, place) => checkService(service, problems.at(place)));
  guarded('repo', problems, () => checkTopicsDiffer(all.stream_source, problems));
  guarded('repo', problems, () => checkCycles(all.on_demand_feature, problems));
  if (problems.problems.length > 0) throw new DefinitionError(problems.problems);
  return all;
}

/**
 * How long the log must keep events, so that a new view can be filled from it. A window without an old edge
 * needs them all: `Infinity`.
 */
function retentionOf(views: readonly CompiledView[]): number {
  return Math.max(
    0,
    ...views.map((view) =>
      view.keepsForever
        ? Number.POSITIVE_INFINITY
        : view.asOfRetentionMs + view.longestWindowMs + (view.resolutionMs ?? 0),
    ),
  );
}

/**
 * Checks and compiles a feature repo. Values that are no definitions (helpers, constants, parts such as a
 * single feature) are ignored, so that all exports of a module can be given.
 *
 * @example compileRepo(Object.values(await import('./features.ts')))
 * @throws DefinitionError listing every problem found
 */
export function compileRepo(definitions: Iterable<unknown>): CompiledRepo {
  const found = check(definitions);
  const compiledViews = new Map<FeatureView, CompiledView>();
  for (const view of found.feature_view as unknown as FeatureView[])
    compiledViews.set(view, compileView(view));
  const views = [...compiledViews.values()];
  const sources = (found.stream_source as unknown as StreamSource[]).map((definition): CompiledSource => {
    const own = views.filter(({ source }) => source === definition);
    return Object.freeze({ definition, name: definition.name, views: own, retentionMs: retentionOf(own) });
  });
  const services = (found.feature_service as unknown as FeatureService[]).map((service) =>
    compileService(service, compiledViews),
  );
  const entities = found.entity as unknown as Entity[];
  return Object.freeze({
    sources: new Map(sources.map((source) => [source.name, source])),
    entities: new Map(entities.map((entity) => [entity.name, entity])),
    views: new Map(views.map((view) => [view.name, view])),
    services: new Map(services.map((service) => [service.name, service])),
  });
}
