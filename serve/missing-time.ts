/** What a value may lack because records were gone from the log before they were applied. */
import type { CompiledView } from '../engine/definitions/compiled.ts';
import type { LogGap } from '../engine/store/log-gap.ts';
import { mayLack } from '../ingest/gap-reach.ts';

/** Between these times the missing records were appended. */
export interface MissingTime {
  /** ms; null: not known since when. */
  readonly afterMs: number | null;
  /** ms */
  readonly untilMs: number;
}

/** What a window may lack; null: nothing. @param fromMs its old edge, exclusive; null: it has none */
export function missingTime(
  view: CompiledView,
  gaps: readonly LogGap[],
  fromMs: number | null,
): MissingTime | null {
  return gaps.filter((gap) => mayLack(view, gap, fromMs)).reduce<MissingTime | null>(bothMissing, null);
}

export function bothMissing(a: MissingTime | null, b: MissingTime | null): MissingTime | null {
  if (a === null || b === null) return a ?? b;
  const known = a.afterMs !== null && b.afterMs !== null;
  return {
    afterMs: known ? Math.min(a.afterMs, b.afterMs) : null,
    untilMs: Math.max(a.untilMs, b.untilMs),
  };
}
