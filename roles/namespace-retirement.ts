/**
 * Removes what no view is read from any more: first its watermarks, so that whoever comes to point at it again applies
 * the log anew and says so, then its states. Any number of processes may do it at once.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { Clock } from '../engine/clock.ts';
import type { CompiledView } from '../engine/definitions/compiled.ts';
import type { TileStore } from '../engine/store/tile-store.ts';
import { removed, type ViewBinding } from './view-binding.ts';
import type { ViewBindings } from './view-bindings.ts';

export interface NamespaceRetirementOptions {
  readonly views: readonly CompiledView[];
  /** Not adopted here: whoever serves adopts a binding together with the positions of what it reads. */
  readonly bindings: Pick<ViewBindings, 'read' | 'write'>;
  readonly store: Pick<TileStore, 'dropWatermarks' | 'dropStates' | 'incarnation'>;
  readonly shards: number;
  /** Processing time. */
  readonly clock: Clock;
  /** @param left the binding without what was removed, as it is in the store */
  readonly onRemoved: (view: CompiledView, states: number, left: ViewBinding) => void;
  readonly onError: (error: unknown) => void;
  /** As `REMOVED_AFTER_MS`, for clocks that run faster. @default that */
  readonly removedAfterMs?: number;
}

const LOOK_EVERY_MS = 10_000;
/** Between the end of its time and its removal, ms: every process has stopped applying it by then. */
export const REMOVED_AFTER_MS = 60_000;

export class NamespaceRetirement {
  readonly #options: NamespaceRetirementOptions;

  constructor(options: NamespaceRetirementOptions) {
    this.#options = options;
  }

  /** Looks until the signal aborts. Never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.remove(signal).catch(this.#options.onError);
      await delay(LOOK_EVERY_MS, undefined, { signal }).catch(() => {});
    }
  }

  /** Removes what is to be removed by now. */
  async remove(signal?: AbortSignal): Promise<void> {
    const { views, bindings, clock, onRemoved, removedAfterMs = REMOVED_AFTER_MS } = this.#options;
    const found = await bindings.read(views);
    for (const [v, view] of views.entries()) {
      for (const { namespace, untilMs } of found[v]!.retiring) {
        if (clock.nowMs() < untilMs + removedAfterMs || signal?.aborted) continue;
        const states = await this.#drop(namespace, signal);
        // In use again, or not done: the next look finds it.
        if (states === null) continue;
        const [now] = await bindings.read([view]);
        const left = await bindings.write(view, removed(now!, namespace));
        if (left !== null) onRemoved(view, states, left);
      }
    }
  }

  /** @returns states removed; null: not all of them */
  async #drop(namespace: string, signal: AbortSignal | undefined): Promise<number | null> {
    const { store, shards } = this.#options;
    let states = 0;
    for (let shard = 0; shard < shards; shard++) {
      await store.dropWatermarks(shard, namespace);
      // A cursor says nothing to a server that was started again, or has taken over: it would pass over states.
      for (let from: string | null = null; ; ) {
        const incarnation = await store.incarnation(shard);
        if (from === incarnation) break;
        const dropped = await this.#dropOnce(shard, namespace, signal);
        if (dropped === null) return null;
        states += dropped;
        from = incarnation;
      }
    }
    return states;
  }

  /** One pass over a shard. @returns states removed; null: not all of them */
  async #dropOnce(shard: number, namespace: string, signal: AbortSignal | undefined): Promise<number | null> {
    let states = 0;
    for (let cursor: string | null = null; ; ) {
      if (signal?.aborted) return null;
      const startedMs = performance.now();
      const step = await this.#options.store.dropStates({ shard, namespace, cursor });
      if (step === null) return null;
      states += step.dropped;
      if (step.cursor === null) return states;
      cursor = step.cursor;
      // As long again: others have the store, too.
      await delay(performance.now() - startedMs, undefined, signal === undefined ? {} : { signal }).catch(
        () => {},
      );
    }
  }
}
