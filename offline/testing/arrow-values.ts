/** Values of an Arrow table of features as the engine has them. */
import type { FeatureValue } from '../../engine/aggregators/partial-aggregate.ts';

/**
 * @param type of the catalogue
 * @param column type of the aggregated column: of the values of pairs
 */
export function featureValueOf(type: string, column: string, value: unknown): FeatureValue {
  if (value === null || value === undefined) return null;
  if (type.endsWith('[]')) {
    return [...(value as Iterable<unknown>)].map((item) => featureValueOf(type.slice(0, -2), column, item));
  }
  if (type.startsWith('map<')) {
    const entries = [...(value as Iterable<[string, unknown]>)];
    return new Map(entries.map(([key, v]) => [key, featureValueOf(type.slice(4, -1), column, v)]));
  }
  switch (type) {
    case 'pair': {
      const pair = value as { readonly value: unknown; readonly count: bigint };
      return [featureValueOf(column, 'string', pair.value), Number(pair.count)];
    }
    case 'integer':
    case 'long': {
      const integer = value as bigint;
      return Number.isSafeInteger(Number(integer)) ? Number(integer) : integer;
    }
    default:
      return value as FeatureValue;
  }
}
