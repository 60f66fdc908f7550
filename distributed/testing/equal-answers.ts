/** Whether an answered value is what the oracle says, and what two engines may answer differently. */
import type { FeatureValue } from '../../engine/aggregators/partial-aggregate.ts';
import type { CompiledFeature } from '../../engine/definitions/compiled.ts';
import { type JsonValue, toJson } from '../../serve/json-value.ts';

/** Variances and higher moments are exact but for a few roundings and, below 1e−146, underflow. */
const SPREAD_TOLERANCE = 1e-12;

export function isRight(
  { operation, params }: CompiledFeature,
  expected: FeatureValue,
  got: JsonValue | undefined,
  /** Of `oracleTolerance`. */
  tolerance = 0,
): boolean {
  if (typeof expected === 'number' && typeof got === 'number') {
    if (tolerance > 0) return Math.abs(got - expected) <= tolerance;
    if (/^(var|stddev)_|^skew$|^kurtosis$/.test(operation.name)) {
      return Math.abs(got - expected) <= SPREAD_TOLERANCE * Math.abs(expected);
    }
    // Beyond its declared bound a distinct count is an estimate, never below what is certain.
    if (operation.name === 'distinct_count' && expected > params[0]!) {
      return got > params[0]! && Math.abs(got - expected) <= 2 + 0.1 * expected;
    }
  }
  return JSON.stringify(toJson(expected)) === JSON.stringify(got);
}

export interface FeatureRow {
  readonly features?: Readonly<Record<string, JsonValue>>;
  readonly metadata?: {
    readonly features: Readonly<
      Record<string, { readonly status: string; readonly window?: { readonly after: string | null } }>
    >;
  };
}

/**
 * An answer without its coarse values: how far the old edge of a `resolution` reaches back depends on how rows came
 * to lie in tiles. Everything else must be equal to the last byte.
 */
export function withoutCoarse(
  rows: readonly FeatureRow[],
  others: readonly FeatureRow[],
): readonly unknown[] {
  return rows.map((row, i) => {
    const { features, metadata } = row;
    if (features === undefined || metadata === undefined) return row;
    const isCoarse = (name: string): boolean =>
      [metadata, others[i]?.metadata].some((of) => of?.features[name]?.status === 'coarse');
    const without = <T>(record: Readonly<Record<string, T>>): [string, T][] =>
      Object.entries(record).filter(([name]) => !isCoarse(name));
    return {
      ...row,
      features: without(features),
      metadata: { ...metadata, features: without(metadata.features) },
    };
  });
}
