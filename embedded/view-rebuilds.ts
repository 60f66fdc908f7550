/**
 * Rebuilds in the embedded engine: its directory is locked, so the running process makes them, beside everything else. The
 * log is read in place, in lanes of their own.
 */
import type { FastifyBaseLogger } from 'fastify';
import type { Clock } from '../engine/clock.ts';
import type { CompiledSource, CompiledView } from '../engine/definitions/compiled.ts';
import type { LogGap } from '../engine/store/log-gap.ts';
import { StoreFullError, StoreUnavailableError } from '../engine/store/store-errors.ts';
import type { DeadLetters } from '../ingest/dead-letter.ts';
import type { EventLog } from '../ingest/log/event-log.ts';
import type { StateWriting } from '../ingest/view-writer.ts';
import { driveRebuild, type Filling } from '../roles/drive-rebuild.ts';
import { IngestPartition } from '../roles/ingest-partition.ts';
import { checkReachOf, LogTooShortError } from '../roles/log-reach.ts';
import { reasonOf } from '../roles/reason-of.ts';
import { RebuildDeadLetters } from '../roles/rebuild-dead-letters.ts';
import { DEFAULT_GRACE_MS } from '../roles/view-binding.ts';
import type { ViewBindings } from '../roles/view-bindings.ts';
import { abortRebuild, type RebuildLook, ViewRebuild } from '../roles/view-rebuild.ts';
import { ApiError, type ApiErrorCode } from '../serve/error-catalogue.ts';
import { Metrics } from '../serve/metrics.ts';
import type { RebuildStatus, ViewRebuildsApi } from '../serve/rebuild-status.ts';

export interface RebuiltSource {
  readonly source: CompiledSource;
  readonly log: EventLog;
  readonly partitions: number;
  readonly letters: DeadLetters;
}

export interface ViewRebuildsOptions {
  readonly sources: readonly RebuiltSource[];
  readonly bindings: ViewBindings;
  readonly writing: StateWriting;
  /** Processing time. */
  readonly wallClock: Clock;
  /** What the namespace being built lacks for good. */
  readonly missing: (bound: CompiledView, partition: number, gaps: readonly LogGap[]) => void;
  /** Of the engine: dead letters are counted. */
  readonly metrics: Metrics;
  readonly logger?: FastifyBaseLogger;
  /** The engine stops. */
  readonly signal: AbortSignal;
}

/** One that this process drives, or did. */
interface Driven {
  /** The one being filled. */
  readonly namespace: string;
  look: RebuildLook;
  /** Letters that it has written. */
  deadLetters: number;
  /** Why it cannot go on; null: it can. */
  failure: string | null;
  isOver: boolean;
  /** Never rejects. */
  done: Promise<void>;
}

const LOOK_EVERY_MS = 200;
const NOT_LOOKED: RebuildLook = {
  ...{ state: 'filling', appliedRecords: 0, totalRecords: 0 },
  ...{ nextOffsets: [], awaited: [] },
};
const NONE: RebuildStatus = {
  ...{ state: 'none', applied_records: 0, total_records: 0 },
  ...{ dead_letters: 0, reason: null },
};

export class ViewRebuilds implements ViewRebuildsApi {
  readonly #options: ViewRebuildsOptions;
  /** The last one of each view. */
  readonly #driven = new Map<CompiledView, Driven>();
  /** Of those that are not over. */
  readonly #driving = new Set<Promise<void>>();

  constructor(options: ViewRebuildsOptions) {
    this.#options = options;
  }

  /** Goes on with those that were under way when the engine ended. */
  async resume(): Promise<void> {
    for (const { source } of this.#options.sources) {
      for (const view of source.views)
        if (this.#isBuilding(view)) await this.start(view, { acceptGap: false });
    }
  }

  /** Begins one, unless one is under way; goes on with one that failed. @throws ApiError `log_too_short`, `store_full` */
  async start(view: CompiledView, { acceptGap }: { readonly acceptGap: boolean }): Promise<RebuildStatus> {
    const rebuilt = this.#options.sources.find(({ source }) => source.name === view.source.name)!;
    const rebuild = await this.#begin(view, rebuilt, acceptGap).catch(rethrow);
    if (acceptGap) {
      this.#options.logger?.warn(
        { view: view.name },
        'a rebuild may lack what the log has lost: that was accepted',
      );
    }
    // Those who ask at the same moment get here with one and the same namespace, one after the other.
    const last = this.#driven.get(view);
    if (last === undefined || last.isOver || last.namespace !== rebuild.building.namespace) {
      this.#drive(rebuild, view, rebuilt);
    }
    return this.status(view);
  }

  status(view: CompiledView): RebuildStatus {
    const driven = this.#driven.get(view);
    if (driven === undefined) return NONE;
    const { look, failure, deadLetters } = driven;
    return {
      state: failure === null ? look.state : 'failed',
      applied_records: look.appliedRecords,
      total_records: look.totalRecords,
      dead_letters: deadLetters,
      reason: failure,
    };
  }

  /** @throws ApiError `store_full` */
  async abort(view: CompiledView): Promise<RebuildStatus> {
    const { bindings, wallClock } = this.#options;
    const driven = this.#driven.get(view);
    const options = { view, bindings, nowMs: () => wallClock.nowMs() };
    if ((await abortRebuild(options).catch(rethrow)) && driven !== undefined) {
      // Its next look finds it given up; one that has failed does not look any more.
      await driven.done;
      driven.failure = null;
      driven.look = { ...driven.look, state: 'given_up' };
    }
    return this.status(view);
  }

  /** Below this offset no rebuild needs the log of the partition. */
  neededFrom(source: CompiledSource, partition: number): number {
    let from = Number.POSITIVE_INFINITY;
    for (const view of source.views) {
      const { building } = this.#options.bindings.binding(view);
      if (building === null) continue;
      const driven = this.#driven.get(view);
      // Nobody has looked yet: it may need all there is.
      const isSeen = driven !== undefined && driven.namespace === building.namespace;
      const applied = isSeen ? (driven.look.nextOffsets[partition] ?? 0) : 0;
      from = Math.min(from, Math.max(0, applied, building.cut?.[partition] ?? 0));
    }
    return from;
  }

  /** Those that wait for somebody: they keep the log from being shortened. A sentence each. */
  get warnings(): string[] {
    return [...this.#driven]
      .filter(([, { look, isOver }]) => look.state === 'backfilling' && !isOver)
      .map(
        ([{ name }]) =>
          `view ${name} is being filled from a history, and the log is kept for it: millrace backfill goes on with it, ` +
          'millrace rebuild --abort gives it up',
      );
  }

  /** Resolves when none is under way in this process. */
  async settled(): Promise<void> {
    await Promise.all(this.#driving);
  }

  #isBuilding(view: CompiledView): boolean {
    return this.#options.bindings.binding(view).building !== null;
  }

  #begin(view: CompiledView, rebuilt: RebuiltSource, acceptGap: boolean): Promise<ViewRebuild> {
    const { bindings, writing, wallClock } = this.#options;
    const { source, log, partitions } = rebuilt;
    return ViewRebuild.begin({
      ...{ source, view, bindings, writing, log, acceptGap },
      nowMs: () => wallClock.nowMs(),
      graceMs: DEFAULT_GRACE_MS,
      check: () => checkReachOf(view, log, partitions, writing.clock.nowMs()),
    });
  }

  #drive(rebuild: ViewRebuild, view: CompiledView, rebuilt: RebuiltSource): void {
    const { logger, signal } = this.#options;
    const driven: Driven = {
      namespace: rebuild.building.namespace,
      look: NOT_LOOKED,
      ...{ deadLetters: 0, failure: null, isOver: false, done: Promise.resolve() },
    };
    this.#driven.set(view, driven);
    const driving = driveRebuild(
      {
        rebuild,
        fill: async (failed) => this.#fill(rebuild.building, driven, rebuilt, failed),
        lookEveryMs: LOOK_EVERY_MS,
        waitsForHistory: true,
        onLook: (look) => {
          driven.look = look;
        },
        onTrouble: (error) =>
          logger?.error({ view: view.name, reason: reasonOf(error) }, 'a rebuild failed; it is tried again'),
      },
      signal,
    );
    driven.done = driving
      .then(
        (state) => logger?.info({ view: view.name, state }, 'a rebuild has ended'),
        (error: unknown) => {
          driven.failure = reasonOf(error);
          logger?.error({ view: view.name, reason: driven.failure }, 'a rebuild cannot go on');
        },
      )
      .finally(() => {
        driven.isOver = true;
        this.#driving.delete(driven.done);
      });
    this.#driving.add(driven.done);
  }

  #fill(
    building: CompiledView,
    driven: Driven,
    { source, log, partitions, letters }: RebuiltSource,
    failed: (error: unknown) => void,
  ): Filling {
    const { writing, bindings, missing, metrics, wallClock } = this.#options;
    const stop = new AbortController();
    const views = [building];
    const deadLetters = new RebuildDeadLetters({
      ...{ bindings, letters, store: writing.store, shards: writing.shards },
      view: bindings.definition(building),
      onWritten: (written) => {
        for (const { reason } of written) {
          metrics.count('millrace_dead_letters_total', { source: source.name, reason });
        }
      },
      onUnusable: (records) => {
        driven.deadLetters += records;
      },
    });
    // All other metrics of the engine are of what is read.
    const own = new Metrics();
    const ingests = Array.from(
      { length: partitions },
      (_, partition) =>
        new IngestPartition({
          ...{ source, partition, log, writing, bindings, deadLetters, wallClock },
          views: () => views,
          metrics: own,
          listener: { missing, stopped: failed },
        }),
    );
    const running = ingests.map((ingest) => ingest.run(stop.signal));
    return {
      failing: () => ingests.flatMap((ingest) => ingest.failing ?? []),
      stop: async () => {
        stop.abort();
        await Promise.all(running);
      },
    };
  }
}

/** @throws what the caller of the API can do something about, as it is told there */
function rethrow(error: unknown): never {
  const code = codeOf(error);
  if (code === null) throw error;
  throw new ApiError(code, reasonOf(error), {}, { cause: error });
}

function codeOf(error: unknown): ApiErrorCode | null {
  if (error instanceof LogTooShortError) return 'log_too_short';
  if (error instanceof StoreFullError) return 'store_full';
  if (error instanceof StoreUnavailableError) return 'store_unavailable';
  return null;
}
