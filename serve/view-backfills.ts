/** Backfills as they are asked for over HTTP: the states come from whoever reads the history. */
import type { CompiledView } from '../engine/definitions/compiled.ts';
import type { LogGap } from '../engine/store/log-gap.ts';
import type { UnappliedOffsets } from '../engine/store/unapplied-offsets.ts';
import type { BuiltState } from '../engine/tiles/state-builder.ts';
import type { RebuildStatus } from './rebuild-status.ts';

/** What the history says of one partition of the log. */
export interface AskedPosition {
  readonly nextOffset: number;
  readonly logIdentity: string | null;
  readonly gaps: readonly LogGap[];
}

export interface BackfillTerms {
  /** Names the backfill: whoever writes to it must say it. */
  readonly namespace: string;
  /** By partition: events of the history count below. */
  readonly cut: readonly number[];
  /** As the engine has it, ms. */
  readonly now_ms: number;
  readonly resumed: boolean;
  /** Whether states are still to be written. */
  readonly open: boolean;
}

export interface ViewBackfillsApi {
  /** Begins one, or goes on with the one that is under way. @throws ApiError */
  begin(
    view: CompiledView,
    asked: {
      readonly positions: readonly AskedPosition[] | null;
      /** What tells a history without positions from another one. */
      readonly history: string;
      readonly acceptGap: boolean;
    },
  ): Promise<BackfillTerms>;
  /** @returns how many were not there. @throws ApiError `backfill_lost` */
  write(
    view: CompiledView,
    namespace: string,
    states: readonly (BuiltState & { readonly key: string })[],
  ): Promise<number>;
  /** @throws ApiError `backfill_lost` */
  complete(
    view: CompiledView,
    namespace: string,
    newestMs: readonly number[],
    unapplied: readonly UnappliedOffsets[],
  ): Promise<void>;
  /** How far the one of that namespace is; another one, or none, is under way: it was given up. @throws ApiError */
  status(view: CompiledView, namespace: string): Promise<RebuildStatus>;
}
