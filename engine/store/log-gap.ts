/**
 * A stretch of a log partition that was gone before it was applied. It is part of the watermark that passed it: so it
 * falls back and comes again together with what is applied, and every process sees it, also after a restart.
 */
export interface LogGap {
  readonly fromOffset: number;
  /** Exclusive. */
  readonly toOffset: number;
  /** Append time of the last record applied before it, ms; null: not known, or none was. */
  readonly afterMs: number | null;
  /** Append time of the first record behind it, or of its discovery where there was none, ms. */
  readonly untilMs: number;
}

/** Of one watermark. */
export const GAPS_MAX = 8;

/**
 * The gaps and one more, ascending and apart from each other. Where they become too many, the two with the fewest records
 * between them count as one: what is said to be missing then is more than what is, never less.
 */
export function withGap(gaps: readonly LogGap[], gap: LogGap): LogGap[] {
  const apart: LogGap[] = [];
  let one = gap;
  for (const other of gaps) {
    if (other.toOffset < gap.fromOffset || other.fromOffset > gap.toOffset) apart.push(other);
    else one = joined(one, other);
  }
  const all = [...apart, one].sort((a, b) => a.fromOffset - b.fromOffset);
  while (all.length > GAPS_MAX) {
    let nearest = 1;
    const apartBy = (i: number): number => all[i]!.fromOffset - all[i - 1]!.toOffset;
    for (let i = 2; i < all.length; i++) if (apartBy(i) < apartBy(nearest)) nearest = i;
    all.splice(nearest - 1, 2, joined(all[nearest - 1]!, all[nearest]!));
  }
  return all;
}

function joined(a: LogGap, b: LogGap): LogGap {
  return {
    fromOffset: Math.min(a.fromOffset, b.fromOffset),
    toOffset: Math.max(a.toOffset, b.toOffset),
    afterMs: a.afterMs === null || b.afterMs === null ? null : Math.min(a.afterMs, b.afterMs),
    untilMs: Math.max(a.untilMs, b.untilMs),
  };
}
