/** Backfills in the embedded engine: the states come over HTTP, the rest is a rebuild. */
import type { CompiledView } from '../engine/definitions/compiled.ts';
import { StoreFullError, StoreUnavailableError } from '../engine/store/store-errors.ts';
import { LogReplacedError } from '../ingest/partition-stopped.ts';
import type { StateWriting } from '../ingest/view-writer.ts';
import { Backfill, BackfillLostError } from '../roles/backfill.ts';
import { LogTooShortError } from '../roles/log-reach.ts';
import { reasonOf } from '../roles/reason-of.ts';
import { DEFAULT_GRACE_MS } from '../roles/view-binding.ts';
import type { ViewBindings } from '../roles/view-bindings.ts';
import { OtherRebuildError } from '../roles/view-rebuild.ts';
import { ApiError, type ApiErrorCode } from '../serve/error-catalogue.ts';
import type { RebuildStatus } from '../serve/rebuild-status.ts';
import type { BackfillTerms, ViewBackfillsApi } from '../serve/view-backfills.ts';
import type { RebuiltSource, ViewRebuilds } from './view-rebuilds.ts';

export interface ViewBackfillsOptions {
  readonly sources: readonly RebuiltSource[];
  readonly bindings: ViewBindings;
  readonly writing: StateWriting;
  /** Processing time, ms. */
  readonly nowMs: () => number;
  /** They apply the log once the history is in. */
  readonly rebuilds: Pick<ViewRebuilds, 'start' | 'status'>;
}

export class ViewBackfills implements ViewBackfillsApi {
  readonly #options: ViewBackfillsOptions;
  /** Those that were begun since the engine was started, the last one of each view. */
  readonly #begun = new Map<CompiledView, Backfill>();

  constructor(options: ViewBackfillsOptions) {
    this.#options = options;
  }

  async begin(
    view: CompiledView,
    { positions, history, acceptGap }: Parameters<ViewBackfillsApi['begin']>[1],
  ): Promise<BackfillTerms> {
    const { sources, bindings, writing, nowMs, rebuilds } = this.#options;
    const { source, log } = sources.find((one) => one.source.name === view.source.name)!;
    const backfill = await told(
      Backfill.begin({
        ...{ source, view, bindings, writing, log, positions, history, acceptGap, nowMs },
        graceMs: DEFAULT_GRACE_MS,
      }),
    );
    await told(backfill.start());
    this.#begun.set(view, backfill);
    await rebuilds.start(view, { acceptGap });
    const { state } = await told(backfill.rebuild.look());
    return {
      namespace: backfill.rebuild.building.namespace,
      cut: backfill.cut,
      now_ms: writing.clock.nowMs(),
      resumed: backfill.rebuild.resumed,
      open: state === 'backfilling',
    };
  }

  async write(...[view, namespace, states]: Parameters<ViewBackfillsApi['write']>): Promise<number> {
    return told(this.#of(view, namespace).write(states));
  }

  async complete(...[view, namespace, ...ends]: Parameters<ViewBackfillsApi['complete']>): Promise<void> {
    await told(this.#of(view, namespace).complete(...ends));
  }

  async status(...[view, namespace]: Parameters<ViewBackfillsApi['status']>): Promise<RebuildStatus> {
    const [binding] = await told(this.#options.bindings.read([view]));
    const status = this.#options.rebuilds.status(view);
    if (binding!.active === namespace) return { ...status, state: 'switched' };
    if (binding!.building?.namespace !== namespace) return { ...status, state: 'given_up' };
    // Whoever knows the namespace was told it once it was driven, and an engine that is started again drives it before it listens.
    return status;
  }

  #of(view: CompiledView, namespace: string): Backfill {
    const backfill = this.#begun.get(view);
    if (backfill?.rebuild.building.namespace === namespace) return backfill;
    throw new ApiError(
      'backfill_lost',
      `no such backfill of view ${view.name} is under way here: begin again`,
    );
  }
}

/** What the caller can do something about, as it is told there. */
async function told<T>(work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    const code = codeOf(error);
    if (code === null) throw error;
    throw new ApiError(code, reasonOf(error), {}, { cause: error });
  }
}

function codeOf(error: unknown): ApiErrorCode | null {
  if (error instanceof BackfillLostError) return 'backfill_lost';
  if (error instanceof LogTooShortError) return 'log_too_short';
  if (error instanceof LogReplacedError) return 'history_of_other_log';
  if (error instanceof OtherRebuildError) return 'other_rebuild';
  if (error instanceof StoreFullError) return 'store_full';
  if (error instanceof StoreUnavailableError) return 'store_unavailable';
  return null;
}
