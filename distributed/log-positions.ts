/**
 * How far the log has been applied, seen from a process that does not apply it: the watermarks in the store and the
 * ends of the log, looked at again and again. What `catching_up`, `wait=applied`, lag metrics and the event clock
 * are made of where ingest is somewhere else.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { Clock } from '../engine/clock.ts';
import type { CompiledSource, CompiledView } from '../engine/definitions/compiled.ts';
import type { TileStore, Watermark, WatermarkName } from '../engine/store/tile-store.ts';
import type { EventClock } from '../ingest/event-clock.ts';
import type { IngestProgress } from '../ingest/ingest-progress.ts';
import type { LogInfo } from '../ingest/log/event-log.ts';

export interface FollowedSource {
  readonly source: CompiledSource;
  readonly log: LogInfo;
  /** Where this process applies the source; null: elsewhere. */
  readonly ingest: () => FollowedIngest | null;
}

/** Consumers of this process, as far as a store that loses writes is concerned. */
export interface FollowedIngest {
  /** What they have applied and moved watermarks to. */
  applied(): readonly {
    readonly view: CompiledView;
    readonly partition: number;
    readonly nextOffset: number;
  }[];
  /** The store has lost that: go back. A consumer finds out by itself only when the next record comes. */
  fellBack(partition: number): void;
}

export interface LogPositionsOptions {
  readonly sources: readonly FollowedSource[];
  readonly store: Pick<TileStore, 'readWatermarks'>;
  readonly shards: number;
  readonly progress: IngestProgress;
  /** Moved along with the watermarks; null: now is the machine's time. */
  readonly eventClock: EventClock | null;
  /** Processing time. */
  readonly clock: Clock;
  /** Called before every look that nobody waits for; what it throws goes to `onError`, and the look is left out. */
  readonly beforeLook: () => Promise<void>;
  /** Pause between looks, ms. */
  readonly idleMs: number;
  /** Pause while somebody waits for events to be applied, ms. */
  readonly awaitedMs: number;
  readonly onError: (error: unknown) => void;
}

/** A view's position over all shards. */
interface Position {
  readonly nextOffset: number;
  readonly appendedMs: number;
}

/** A failed look may be a hiccup: it counts when it is this old, or when the next one failed, too. */
const FAILED_FOR_MS = 1_000;
/** So may one that takes long; the log and the store have time limits of their own, beyond this. */
const LOOKS_FOR_MS = 2_000;

export class LogPositions {
  readonly #options: LogPositionsOptions;
  /** View → partition → what the last look saw. */
  readonly #positions = new Map<CompiledView, Position[]>();
  readonly #partitions = new Map<CompiledSource, number>();
  #seenMs = Number.NEGATIVE_INFINITY;
  #endsSeenMs = Number.NEGATIVE_INFINITY;
  /** Of the looks since the last complete one. Times of this process's own clock, ms. */
  #failure: { readonly error: unknown; readonly sinceMs: number; readonly again: boolean } | null = null;
  #lookingSinceMs: number | null = null;

  constructor(options: LogPositionsOptions) {
    this.#options = options;
  }

  /** Processing time of the last complete look; −∞ before the first. */
  get seenMs(): number {
    return this.#seenMs;
  }

  /**
   * Why looks do not come back as they should; null: they do, or a single one may have been a hiccup. Answers within
   * some 2 s of an outage, long before nobody may call values fresh any more.
   */
  get failing(): { readonly error: unknown } | null {
    const nowMs = performance.now();
    const failure = this.#failure;
    if (failure !== null && (failure.again || nowMs - failure.sinceMs > FAILED_FOR_MS)) return failure;
    if (this.#lookingSinceMs !== null && nowMs - this.#lookingSinceMs > LOOKS_FOR_MS) {
      return { error: new Error(`Kafka or Redis has not answered for ${LOOKS_FOR_MS / 1_000} s`) };
    }
    return null;
  }

  /** The first look. @throws what the log or the store throws */
  async open(): Promise<void> {
    await this.#look(true);
  }

  /** Looks until the signal aborts. Never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    const { progress, clock, idleMs, awaitedMs, onError } = this.#options;
    while (!signal.aborted) {
      if (progress.isAwaited) await delay(awaitedMs, undefined, { signal }).catch(() => {});
      else await this.#pause(signal);
      if (signal.aborted) return;
      try {
        // The ends that somebody waits for are known.
        await this.#look(!progress.isAwaited || clock.nowMs() - this.#endsSeenMs >= idleMs);
      } catch (error) {
        this.#failure = {
          error,
          sinceMs: this.#failure?.sinceMs ?? performance.now(),
          again: this.#failure !== null,
        };
        onError(error);
        await delay(idleMs, undefined, { signal }).catch(() => {});
      }
    }
  }

  /** Ends after the idle time, when somebody begins to wait, or when the signal aborts. */
  #pause(signal: AbortSignal): Promise<void> {
    const { progress, idleMs } = this.#options;
    return new Promise((resolve) => {
      const end = (): void => {
        clearTimeout(timer);
        signal.removeEventListener('abort', end);
        progress.onAwaited = null;
        resolve();
      };
      const timer = setTimeout(end, idleMs);
      signal.addEventListener('abort', end, { once: true });
      progress.onAwaited = end;
    });
  }

  async #look(withEnds: boolean): Promise<void> {
    this.#lookingSinceMs = performance.now();
    try {
      await this.#lookAtAll(withEnds);
      this.#failure = null;
    } finally {
      this.#lookingSinceMs = null;
    }
  }

  async #lookAtAll(withEnds: boolean): Promise<void> {
    const { sources, clock, eventClock, beforeLook } = this.#options;
    const nowMs = clock.nowMs();
    if (withEnds) await beforeLook();
    for (const followed of sources) {
      if (withEnds) await this.#lookAtEnds(followed);
      const ingest = followed.ingest();
      // Before the watermarks are read: what is applied meanwhile is not lost.
      const applied = ingest?.applied() ?? [];
      const lost = this.#take(followed.source, await this.#watermarks(followed.source));
      for (const partition of new Set([...lost, ...this.#behind(applied)])) ingest?.fellBack(partition);
    }
    eventClock?.advance();
    if (withEnds) this.#endsSeenMs = nowMs;
    this.#seenMs = nowMs;
  }

  async #lookAtEnds({ source, log }: FollowedSource): Promise<void> {
    const { progress } = this.#options;
    const partitions = await log.partitions();
    const ends = await Promise.all(Array.from({ length: partitions }, (_, partition) => log.ends(partition)));
    ends.forEach(({ startOffset, endOffset }, partition) => {
      if (partition < (this.#partitions.get(source) ?? 0)) {
        progress.appended(source.name, partition, endOffset);
      } else {
        progress.track(
          source,
          partition,
          endOffset,
          new Map(source.views.map((view) => [view, startOffset])),
        );
      }
    });
    this.#partitions.set(source, Math.max(partitions, this.#partitions.get(source) ?? 0));
  }

  /** Partitions of which the store does not have what was applied. */
  #behind(applied: ReturnType<FollowedIngest['applied']>): number[] {
    return applied
      .filter(({ view, partition, nextOffset }) => {
        const stored = this.#positions.get(view)?.[partition];
        return stored !== undefined && stored.nextOffset < nextOffset;
      })
      .map(({ partition }) => partition);
  }

  /** Per shard, per view, per partition known so far. */
  async #watermarks(source: CompiledSource): Promise<(Watermark | null)[][][]> {
    const { store, shards } = this.#options;
    const partitions = this.#partitions.get(source) ?? 0;
    const names: WatermarkName[] = source.views.flatMap((view) =>
      Array.from({ length: partitions }, (_, partition) => ({
        namespace: view.namespace,
        source: source.name,
        partition,
      })),
    );
    if (names.length === 0) return [];
    const read = await Promise.all(
      Array.from({ length: shards }, (_, shard) => store.readWatermarks(shard, names)),
    );
    return read.map((marks) => source.views.map((_, v) => marks.slice(v * partitions, (v + 1) * partitions)));
  }

  /** Returns the partitions that stand before where the last look saw them. */
  #take(source: CompiledSource, byShard: readonly (Watermark | null)[][][]): Set<number> {
    const lost = new Set<number>();
    const { progress, eventClock } = this.#options;
    const partitions = byShard[0]?.[0]?.length ?? 0;
    source.views.forEach((view, v) => {
      const former = this.#positions.get(view) ?? [];
      const positions: Position[] = [];
      for (let partition = 0; partition < partitions; partition++) {
        const marks = byShard.map((views) => views[v]![partition] ?? null);
        for (const mark of marks) {
          if (mark !== null) eventClock?.restore(source.name, partition, mark.maxEventTimeMs, mark.clockMs);
        }
        const position = lowest(marks);
        positions.push(position);
        const before = former[partition];
        if (before !== undefined && position.nextOffset < before.nextOffset) {
          progress.positioned(view, partition, position.nextOffset);
          lost.add(partition);
        } else if (before === undefined || position.nextOffset > before.nextOffset) {
          const appendedMs = position.appendedMs < 0 ? null : position.appendedMs;
          progress.applied(view, partition, position.nextOffset, appendedMs);
        }
      }
      this.#positions.set(view, positions);
    });
    return lost;
  }
}

/** A shard without a watermark has applied nothing. */
function lowest(marks: readonly (Watermark | null)[]): Position {
  let position: Position | null = null;
  for (const mark of marks) {
    const { nextOffset, appendedMs } = mark ?? { nextOffset: 0, appendedMs: -1 };
    if (position === null || nextOffset < position.nextOffset) position = { nextOffset, appendedMs };
  }
  return position ?? { nextOffset: 0, appendedMs: -1 };
}
