/**
 * Which values may lack what a gap in the log has taken. Missing records are known by the times of their append only: their
 * events may be as late as any, but no further ahead than the source's `maxFuture`.
 */
import type { CompiledView } from '../engine/definitions/compiled.ts';
import type { LogGap } from '../engine/store/log-gap.ts';
import { retentionMs } from '../engine/tiles/state-update.ts';

/** Whether some window that the view may be asked for from now on reaches back to an event of the gap. */
export function isWithinReach(view: CompiledView, gap: LogGap, nowMs: number): boolean {
  return view.keepsForever || latestMs(view, gap) >= nowMs - retentionMs(view);
}

/** Whether a window may lack an event of the gap. @param fromMs the window's old edge, exclusive; null: it has none */
export function mayLack(view: CompiledView, gap: LogGap, fromMs: number | null): boolean {
  return fromMs === null || fromMs < latestMs(view, gap);
}

function latestMs({ source }: CompiledView, { untilMs }: LogGap): number {
  return untilMs + source.maxFutureMs;
}
