/** Rebuilds as they are asked for over HTTP. */
import type { CompiledView } from '../engine/definitions/compiled.ts';
import type { Metrics } from './metrics.ts';

/** `failed`: it cannot go on by itself; asked for again it does, unless it is given up. */
export const REBUILD_STATES = [
  'none',
  'backfilling',
  'filling',
  'joined',
  'switched',
  'given_up',
  'failed',
] as const;

/** How far the last rebuild of a view is. */
export interface RebuildStatus {
  readonly state: (typeof REBUILD_STATES)[number];
  /** Of what the log holds. */
  readonly applied_records: number;
  readonly total_records: number;
  /** Records it could not use that the present state counts, or that nobody knows of: each has its letter. */
  readonly dead_letters: number;
  /** Why it has failed; null: it has not. */
  readonly reason: string | null;
}

export interface ViewRebuildsApi {
  /** Begins one, unless one is under way; goes on with one that failed. @throws ApiError `log_too_short`, `store_full` */
  start(view: CompiledView, options: { readonly acceptGap: boolean }): Promise<RebuildStatus>;
  status(view: CompiledView): RebuildStatus;
  /** Gives it up where one is under way. */
  abort(view: CompiledView): Promise<RebuildStatus>;
}

/** Gauges of a view that was ever rebuilt by this process. */
export function countRebuild(metrics: Metrics, view: string, status: RebuildStatus): void {
  if (status.state === 'none') return;
  metrics.set('millrace_rebuild_applied_records', { view }, status.applied_records);
  metrics.set('millrace_rebuild_records', { view }, status.total_records);
  for (const state of REBUILD_STATES) {
    if (state === 'none') continue;
    metrics.set('millrace_rebuild_state', { view, state }, state === status.state ? 1 : 0);
  }
}
