import type { CompiledFeature } from './compiled.ts';

/**
 * Type of a feature's value as the catalogue shows it: a column type, `T[]`, `map<T>` by the text of a secondary key, or
 * `pair` of a value and how often it was there. An array for a series, of maps for a secondary key.
 */
export function resultTypeOf({ operation, type, groups, window }: CompiledFeature): string {
  const single = operation.resultType(type);
  const grouped = groups === null ? single : `map<${single}>`;
  return window.kind === 'series' ? `${grouped}[]` : grouped;
}
