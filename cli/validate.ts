/** `millrace validate`: what a feature repo defines, or everything that is wrong with it. */
import type { CompiledFeature, CompiledRepo, CompiledView } from '../engine/definitions/compiled.ts';
import type { Column, StreamSource } from '../engine/definitions/types.ts';
import { formatDuration } from '../engine/windows/duration.ts';
import { formatByteSize } from './byte-size.ts';
import { describeAggregation } from './describe-aggregation.ts';
import { describeStateSizes } from './describe-state-sizes.ts';
import { describeWindow } from './describe-window.ts';
import { loadFeatureRepo } from './load-features.ts';
import type { Config } from './settings.ts';
import { textTable } from './text-table.ts';

/** @param rates events per key and day that states are estimated for */
export async function validate(config: Config, rates: readonly number[]): Promise<void> {
  const repo = await loadFeatureRepo(config.features);
  process.stdout.write(`${config.features} is valid\n\n${describeRepo(repo, rates)}\n`);
}

const describeType = ({ type, nullable }: Column): string => (nullable ? `${type}?` : type);

function describeFeature(view: CompiledView, feature: CompiledFeature): string[] {
  const definition = view.definition.features[feature.name]!;
  const stale =
    definition.maxAgeMs === undefined ? '' : `, stale after ${formatDuration(definition.maxAgeMs)}`;
  return [feature.name, describeAggregation(feature, definition), describeWindow(feature.window) + stale];
}

/** Each column once, with what of it is kept. */
function describeStored(columns: CompiledView['columns']): string {
  const kept = new Map<string, { readonly type: string; readonly needs: string[] }>();
  for (const { name, type, need } of columns) {
    const column = kept.get(name) ?? { type, needs: [] };
    kept.set(name, column);
    column.needs.push(need);
  }
  const texts = [...kept].map(([name, { type, needs }]) => {
    const hash = needs.includes('hash')
      ? needs.includes('value')
        ? ' and its hash'
        : ' (its hash only)'
      : '';
    return `${name} ${type}${hash}`;
  });
  return texts.join(', ') || 'none';
}

function describeView(view: CompiledView, rates: readonly number[]): string {
  const { version, resolutionMs } = view.definition;
  const lines = [
    `view ${view.name}: ${view.source.name} by ${view.entity.name}`,
    `  namespace ${view.namespace}, version ${version}, as-of retention ${formatDuration(view.asOfRetentionMs)}, ` +
      `${resolutionMs === null ? 'exact' : `resolution ${formatDuration(resolutionMs)}`}, ` +
      `at most ${formatByteSize(view.maxStateBytes)} per key`,
    `  stored columns: ${describeStored(view.columns)}`,
    textTable(
      view.features.map((feature) => describeFeature(view, feature)),
      '  ',
    ),
    ...describeStateSizes(view, rates),
  ];
  return lines.join('\n');
}

/** Where facts come from. */
function describeTable({ batch, eventTime }: StreamSource): string[] {
  if (batch === undefined) return [];
  const { from, key, effectiveTime, everyMs } = batch;
  return [
    `  facts: ${'sql' in from ? `of a query, ${from.sql.replaceAll(/\s+/g, ' ').trim()}` : `from ${from.path}`}; one for each ${key.join(', ')} and ${eventTime}, ` +
      `${effectiveTime === null ? 'which is when it was loaded' : 'from which on it holds'}; ` +
      `${everyMs === null ? 'loaded when asked to' : `loaded every ${formatDuration(everyMs)}`}`,
  ];
}

/** The repo as text: sources, views with their state's identity, services with what a request must give. */
export function describeRepo(repo: CompiledRepo, rates: readonly number[]): string {
  const sources = [...repo.sources.values()].map(({ name, definition }) => {
    const columns = Object.entries(definition.columns).map(
      ([column, type]) => `${column} ${describeType(type)}`,
    );
    return [
      `source ${name}: topic ${definition.topic}, event time ${definition.eventTime}, event id ${definition.eventId ?? 'none'}, dedupe horizon ` +
        `${formatDuration(definition.dedupeHorizonMs)}, max future ${formatDuration(definition.maxFutureMs)}, ` +
        `lateness ${formatDuration(definition.latenessMs)}`,
      `  columns: ${columns.join(', ')}`,
      ...describeTable(definition),
    ].join('\n');
  });
  const services = [...repo.services.values()].map((service) => {
    const request = Object.entries(service.request).map(([name, type]) => `${name} ${describeType(type)}`);
    return [
      `service ${service.name}`,
      `  entities: ${service.entities.map(({ name }) => name).join(', ') || 'none'}`,
      `  request data: ${request.join(', ') || 'none'}`,
      `  features: ${service.output.map(({ name }) => name).join(', ')}`,
    ].join('\n');
  });
  return [...sources, ...[...repo.views.values()].map((view) => describeView(view, rates)), ...services].join(
    '\n\n',
  );
}
