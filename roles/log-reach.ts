/** Whether a log still holds what the windows of a view can reach: a rebuilt view has nothing else. */
import type { CompiledSource, CompiledView } from '../engine/definitions/compiled.ts';
import type { LogGap } from '../engine/store/log-gap.ts';
import type { Watermark } from '../engine/store/tile-store.ts';
import { retentionMs } from '../engine/tiles/state-update.ts';
import { spellDuration } from '../engine/windows/duration.ts';
import { isWithinReach } from '../ingest/gap-reach.ts';
import type { LogEnds, LogReader } from '../ingest/log/event-log.ts';
import { logStart } from './log-start.ts';

/** The log lacks events within the reach of the view's windows. Not retryable; who accepts that can say so. */
export class LogTooShortError extends Error {
  override readonly name = 'LogTooShortError';
}

/**
 * How long before now a record may have been appended whose event some answer of the view counts, ms; Infinity where a window
 * has no old edge. It is `maxFuture` longer than events can lie back, as they may be so much ahead of their append: the same
 * as for a gap (`isWithinReach`).
 */
export function appendReachMs(view: CompiledView): number {
  return view.keepsForever ? Number.POSITIVE_INFINITY : retentionMs(view) + view.source.maxFutureMs;
}

/** The same of all views of a source, ms: for so long a log must keep records, so that a store can be filled from it. */
export function sourceAppendReachMs({ views }: CompiledSource): number {
  return Math.max(0, ...views.map(appendReachMs));
}

/**
 * Where the log's start is its very first record, nothing is missing; elsewhere some record must be older than the
 * reach, as appended: what was dropped before it is older still.
 * @param firstWithin by partition: the first offset appended within the reach
 * @throws LogTooShortError
 */
export function checkReach(
  view: CompiledView,
  ends: readonly LogEnds[],
  firstWithin: readonly number[],
): void {
  const [short] = shortPartitions(ends, firstWithin);
  if (short === undefined) return;
  const reach = appendReachMs(view);
  throw new LogTooShortError(
    `the log of source ${view.source.name}, partition ${short}, begins at offset ${ends[short]!.startOffset}, and holds ` +
      `no record older than the ${Number.isFinite(reach) ? `${spellDuration(reach)} that` : 'events that'} the windows of ` +
      `view ${view.name} reach back to, maxFuture included: a rebuilt view would lack events that the present one may still count`,
  );
}

/** Partitions that have lost records, and hold none from before the reach: as for `checkReach`. */
export function shortPartitions(ends: readonly LogEnds[], firstWithin: readonly number[]): number[] {
  return [...ends.keys()].filter((partition) => {
    const { startOffset } = ends[partition]!;
    return startOffset > 0 && (firstWithin[partition] ?? 0) <= startOffset;
  });
}

/** As `checkReach`, of a log that is read in place. @param nowMs what windows count back from. @throws LogTooShortError */
export async function checkReachOf(
  view: CompiledView,
  log: Pick<LogReader, 'ends' | 'read'>,
  partitions: number,
  nowMs: number,
): Promise<void> {
  const { ends, firstWithin } = await logStart(log, partitions, nowMs - appendReachMs(view));
  checkReach(view, ends, firstWithin);
}

/** Two namespaces of a view, on one partition of one shard, at one instant. */
export interface ShardPositions {
  /** null: nothing of the partition was applied. */
  readonly active: Watermark | null;
  readonly building: Watermark | null;
}

/**
 * Retention may take records that the active namespace had applied from under one that is being filled.
 * @param nowMs what windows count back from
 * @throws LogTooShortError where the one being filled lacks what the active one counts
 */
export function checkPassed(
  view: CompiledView,
  partition: number,
  { active, building }: ShardPositions,
  nowMs: number,
): void {
  if (active === null || building === null) return;
  const counted = { fromOffset: 0, toOffset: active.nextOffset };
  for (const gap of building.gaps ?? []) {
    if (!isWithinReach(view, gap, nowMs)) continue;
    const [lost] = without(overlap(gap, counted), active.gaps ?? []);
    if (lost === undefined) continue;
    throw new LogTooShortError(
      `the log of source ${view.source.name}, partition ${partition}, has lost records ${lost.fromOffset} to ` +
        `${lost.toOffset - 1} before they were applied anew: the rebuilt view ${view.name} would lack events that the ` +
        'present one may still count',
    );
  }
}

type Offsets = Pick<LogGap, 'fromOffset' | 'toOffset'>;

const overlap = (a: Offsets, b: Offsets): Offsets => ({
  fromOffset: Math.max(a.fromOffset, b.fromOffset),
  toOffset: Math.min(a.toOffset, b.toOffset),
});

/** What of a range is in none of the gaps. @param gaps ascending, apart from each other */
function without({ fromOffset, toOffset }: Offsets, gaps: readonly Offsets[]): Offsets[] {
  const left: Offsets[] = [];
  let at = fromOffset;
  for (const gap of gaps) {
    left.push({ fromOffset: at, toOffset: Math.min(gap.fromOffset, toOffset) });
    at = Math.max(at, gap.toOffset);
  }
  left.push({ fromOffset: at, toOffset });
  return left.filter((range) => range.fromOffset < range.toOffset);
}
