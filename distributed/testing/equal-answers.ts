/** Answers over HTTP: their windows' bounds, and what two engines may answer differently. */
import type { Bounds } from '../../engine/testing/oracle.ts';
import type { JsonValue } from '../../serve/json-value.ts';

export interface FeatureRow {
  readonly features?: Readonly<Record<string, JsonValue>>;
  readonly metadata?: {
    readonly features: Readonly<
      Record<
        string,
        {
          readonly status: string;
          readonly window?: AnsweredWindow;
          readonly windows?: readonly AnsweredWindow[];
        }
      >
    >;
  };
}

export interface AnsweredWindow {
  readonly after: string | null;
  readonly until: string;
}

export function boundsOf({ after, until }: AnsweredWindow): Bounds {
  return { fromMs: after === null ? null : Date.parse(after), toMs: Date.parse(until) };
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
