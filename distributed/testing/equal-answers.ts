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
          readonly truncated?: boolean;
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
 * An answer without the values that depend on how rows came to lie in tiles: coarse ones, by how far the old edge of
 * a `resolution` reaches back, and those of features in `approximate` that were truncated, by which values were left
 * out first. Everything else must be equal to the last byte.
 */
export function withoutVarying(
  rows: readonly FeatureRow[],
  others: readonly FeatureRow[],
  approximate: ReadonlySet<string>,
): readonly unknown[] {
  return rows.map((row, i) => {
    const { features, metadata } = row;
    if (features === undefined || metadata === undefined) return row;
    const varies = (name: string): boolean =>
      [metadata, others[i]?.metadata].some((of) => {
        const told = of?.features[name];
        return told?.status === 'coarse' || (told?.truncated === true && approximate.has(name));
      });
    const without = <T>(record: Readonly<Record<string, T>>): [string, T][] =>
      Object.entries(record).filter(([name]) => !varies(name));
    return {
      ...row,
      features: without(features),
      metadata: { ...metadata, features: without(metadata.features) },
    };
  });
}
