/**
 * How far the log has been applied, seen from a process that does not apply it: the watermarks in the store and the
 * ends of the log, looked at again and again. What `catching_up`, `wait=applied`, lag metrics and the event clock
 * are made of where ingest is somewhere else.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { Clock } from '../engine/clock.ts';
import type { CompiledSource, CompiledView } from '../engine/definitions/compiled.ts';
import { withGap } from '../engine/store/log-gap.ts';
import type { ShardMark } from '../engine/store/shard-mark.ts';
import type { ShardLook, TileStore, Watermark, WatermarkName } from '../engine/store/tile-store.ts';
import type { EventClock } from '../ingest/event-clock.ts';
import type { IngestProgress } from '../ingest/ingest-progress.ts';
import type { LogEnds, LogInfo } from '../ingest/log/event-log.ts';
import type { OpenGaps } from '../ingest/open-gaps.ts';
import { reasonOf } from '../roles/reason-of.ts';
import type { ViewBindings } from '../roles/view-bindings.ts';

export interface FollowedSource {
  readonly source: CompiledSource;
  readonly log: LogInfo;
  /** Where this process applies the source; null: elsewhere. */
  readonly ingest: () => FollowedIngest | null;
}

/** Consumers of this process, as far as a store that loses writes is concerned. */
export interface FollowedIngest {
  /** What they have applied and moved watermarks to; views as bound. */
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
  readonly store: Pick<TileStore, 'look'>;
  readonly shards: number;
  /** Read before the watermarks of what they say is active, and adopted together with these. */
  readonly bindings: ViewBindings;
  readonly progress: IngestProgress;
  /** Told what the watermarks say is missing. */
  readonly gaps: OpenGaps;
  /** Moved along with the watermarks; null: now is the machine's time. */
  readonly eventClock: EventClock | null;
  /** Processing time. */
  readonly clock: Clock;
  /** Time that only goes on, ms, for how long looks take. @default that of the process */
  readonly monotonicMs?: () => number;
  /** Called before every look that nobody waits for; what it throws goes to `onError`, and the look is left out. */
  readonly beforeLook: () => Promise<void>;
  /** Pause between looks, ms. */
  readonly idleMs: number;
  /** Pause while somebody waits for events to be applied, ms. */
  readonly awaitedMs: number;
  /** Why looks fail: once, until that changes or a complete look comes back. */
  readonly onError: (error: unknown) => void;
}

/** A view's position over all shards. */
interface Position {
  readonly nextOffset: number;
  /** Of the shard that is furthest: the log had records up to there. */
  readonly highestOffset: number;
  readonly appendedMs: number;
}

/** Of the namespace that is read, by partition. */
interface SeenPositions {
  readonly bound: CompiledView;
  readonly positions: readonly Position[];
}

/** A failed look may be a hiccup: it counts when it is this old, or when the next one failed, too. */
const FAILED_FOR_MS = 1_000;
/** So may one that takes long; the log and the store have time limits of their own, beyond this. */
const LOOKS_FOR_MS = 2_000;

export class LogPositions {
  readonly #options: LogPositionsOptions;
  readonly #monotonicMs: () => number;
  /** View → what the last look saw. */
  readonly #positions = new Map<CompiledView, SeenPositions>();
  readonly #partitions = new Map<CompiledSource, number>();
  /** Name of the source → shard → its mark when the positions were seen. */
  readonly #marks = new Map<string, (ShardMark | null)[]>();
  /** Name of the source → when the last complete look at the ends of its log began, and at the watermarks after them. */
  readonly #seenMs = new Map<string, number>();
  /** Sources whose logs the last look at ends could not look at. */
  #unseen: ReadonlyMap<CompiledSource, unknown> = new Map();
  /** When the last look at ends began. */
  #endsSeenMs = Number.NEGATIVE_INFINITY;
  /** Of the looks since the last complete one. Times of this process's own clock, ms. */
  #failure: { readonly error: unknown; readonly sinceMs: number; readonly again: boolean } | null = null;
  #lookingSinceMs: number | null = null;
  /** What `onError` was told last, and is the case still. */
  #told: string | null = null;

  constructor(options: LogPositionsOptions) {
    this.#options = options;
    this.#monotonicMs = options.monotonicMs ?? (() => performance.now());
  }

  /**
   * Whether the last complete look at some source is older than the lag bound, so that nothing of it can be said to be fresh.
   * One that left out the ends of the log does not count: it says nothing of what came behind them.
   */
  get isBlind(): boolean {
    return this.#options.sources.some(({ source }) => this.#isBlindTo(source.name));
  }

  /** Whether values of the view may lack what they should have, as far as this process knows (C9). */
  isCatchingUp(view: CompiledView): boolean {
    return this.#isBlindTo(view.source.name) || this.#options.progress.isCatchingUp(view);
  }

  #isBlindTo(source: string): boolean {
    const { clock, progress } = this.#options;
    return clock.nowMs() - (this.#seenMs.get(source) ?? Number.NEGATIVE_INFINITY) > progress.lagBoundMs;
  }

  /**
   * The mark of a shard when the view's positions were seen. A read that finds that the shard has lost something since must
   * not take these positions for its own.
   */
  seenMark(view: CompiledView, shard: number): ShardMark | null {
    return this.#marks.get(view.source.name)?.[shard] ?? null;
  }

  /**
   * Why looks do not come back as they should; null: they do, or a single one may have been a hiccup. Answers within
   * some 2 s of an outage, long before nobody may call values fresh any more.
   */
  get failing(): { readonly error: unknown } | null {
    const nowMs = this.#monotonicMs();
    const failure = this.#failure;
    if (failure !== null && (failure.again || nowMs - failure.sinceMs > FAILED_FOR_MS)) return failure;
    if (this.#lookingSinceMs !== null && nowMs - this.#lookingSinceMs > LOOKS_FOR_MS) {
      return { error: new Error(`Kafka or Redis has not answered for ${LOOKS_FOR_MS / 1_000} s`) };
    }
    return null;
  }

  /**
   * One look at everything that can be looked at; where somebody waits for events to be applied, it may leave out the ends
   * of the log, which are known. One at a time: see `run`. @throws what the log or the store throws
   */
  async look(): Promise<void> {
    const [unseen] = await this.#look();
    if (unseen !== undefined) throw unseen;
  }

  /** Returns why logs could not be looked at; everything else was. @throws what the store throws: nothing is seen then */
  async #look(): Promise<readonly unknown[]> {
    const { progress, clock, idleMs } = this.#options;
    const withEnds = !progress.isAwaited || clock.nowMs() - this.#endsSeenMs >= idleMs;
    this.#lookingSinceMs = this.#monotonicMs();
    try {
      await this.#lookAtAll(withEnds);
      const unseen = [...this.#unseen.values()];
      if (unseen.length === 0) this.#failure = null;
      else if (withEnds) this.#failed(unseen.length === 1 ? unseen[0] : allOf(unseen));
      return unseen;
    } catch (error) {
      this.#failed(error);
      throw error;
    } finally {
      this.#lookingSinceMs = null;
    }
  }

  #failed(error: unknown): void {
    const former = this.#failure;
    this.#failure = { error, sinceMs: former?.sinceMs ?? this.#monotonicMs(), again: former !== null };
  }

  /** Looks until the signal aborts. Never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    const { progress, idleMs, awaitedMs } = this.#options;
    while (!signal.aborted) {
      if (progress.isAwaited) await delay(awaitedMs, undefined, { signal }).catch(() => {});
      else await this.#pause(signal);
      if (signal.aborted) return;
      try {
        // Where some log cannot be looked at, those who wait for others do not wait any longer for it.
        await this.#look();
        this.#tell();
      } catch {
        this.#tell();
        await delay(idleMs, undefined, { signal }).catch(() => {});
      }
    }
  }

  #tell(): void {
    const error = this.#failure?.error;
    const reason = this.#failure === null ? null : reasonOf(error);
    if (reason !== null && reason !== this.#told) this.#options.onError(error);
    this.#told = reason;
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

  /**
   * Ends first, bindings next, watermarks last, of each source. A log that cannot be looked at takes only its own source
   * away: a topic that was deleted is no reason to know nothing of the others. The store is that of all of them.
   */
  async #lookAtAll(withEnds: boolean): Promise<void> {
    const { sources, clock, eventClock, beforeLook, bindings } = this.#options;
    const nowMs = clock.nowMs();
    if (withEnds) {
      await beforeLook();
      await this.#lookAtAllEnds();
    }
    for (const followed of sources) {
      if (this.#unseen.has(followed.source)) continue;
      const { views } = followed.source;
      const found = withEnds ? await bindings.read(views) : views.map((view) => bindings.binding(view));
      const ingest = followed.ingest();
      // Before the watermarks are read: what is applied meanwhile is not lost.
      const applied = ingest?.applied() ?? [];
      const looks = await this.#lookAtShards(
        followed.source,
        found.map(({ active }) => active),
      );
      views.forEach((view, v) => {
        bindings.adopt(view, found[v]!);
      });
      const lost = this.#take(followed.source, looks);
      for (const partition of new Set([...lost, ...this.#behind(applied)])) ingest?.fellBack(partition);
      if (withEnds) this.#seenMs.set(followed.source.name, nowMs);
    }
    eventClock?.advance();
    if (withEnds) this.#endsSeenMs = nowMs;
  }

  /** At the same time: one that does not answer would otherwise keep the others waiting for each of its tries. */
  async #lookAtAllEnds(): Promise<void> {
    const { sources, clock } = this.#options;
    const unseen = new Map<CompiledSource, unknown>();
    const seenMs = clock.nowMs();
    const found = await Promise.allSettled(
      sources.map(async ({ log }) => {
        const partitions = Array.from({ length: await log.partitions() }, (_, partition) => partition);
        return Promise.all(partitions.map((partition) => log.ends(partition)));
      }),
    );
    // In the order of the definitions, whichever answered first: partitions are listed so.
    for (const [i, { source }] of sources.entries()) {
      const ends = found[i]!;
      if (ends.status === 'fulfilled') this.#endsSeen(source, ends.value, seenMs);
      else unseen.set(source, ends.reason);
    }
    this.#unseen = unseen;
  }

  #endsSeen(source: CompiledSource, ends: readonly LogEnds[], seenMs: number): void {
    const { progress } = this.#options;
    ends.forEach(({ startOffset, endOffset }, partition) => {
      if (partition < (this.#partitions.get(source) ?? 0)) {
        progress.endSeen(source.name, partition, endOffset, seenMs);
      } else {
        progress.track(
          source,
          partition,
          endOffset,
          new Map(source.views.map((view) => [view, startOffset])),
          seenMs,
        );
      }
      this.#checkEnd(source, partition, endOffset);
    });
    this.#partitions.set(source, Math.max(ends.length, this.#partitions.get(source) ?? 0));
  }

  /**
   * The positions are those that the look before saw, so this end was read after them: a log does not end before them. With
   * those of the same look it may, as watermarks move while it is under way.
   */
  #checkEnd(source: CompiledSource, partition: number, endOffset: number): void {
    let nextOffset = 0;
    for (const view of source.views) {
      const seen = this.#positions.get(view)?.positions[partition];
      nextOffset = Math.max(nextOffset, seen?.highestOffset ?? 0);
    }
    const shortfall = nextOffset > endOffset ? { endOffset, nextOffset } : null;
    this.#options.progress.setShortfall(source.name, partition, shortfall);
  }

  /** Partitions of which the store does not have what was applied. */
  #behind(applied: ReturnType<FollowedIngest['applied']>): number[] {
    return applied
      .filter(({ view, partition, nextOffset }) => {
        const seen = this.#positions.get(this.#options.bindings.definition(view));
        const stored = seen?.bound === view ? seen.positions[partition] : undefined;
        return stored !== undefined && stored.nextOffset < nextOffset;
      })
      .map(({ partition }) => partition);
  }

  /** Per shard; the watermarks by view, then by partition known so far. @param namespaces by view */
  async #lookAtShards(source: CompiledSource, namespaces: readonly string[]): Promise<ShardLook[]> {
    const { store, shards } = this.#options;
    const partitions = this.#partitions.get(source) ?? 0;
    const names: WatermarkName[] = namespaces.flatMap((namespace) =>
      Array.from({ length: partitions }, (_, partition) => ({
        namespace,
        source: source.name,
        partition,
      })),
    );
    if (names.length === 0) return [];
    return Promise.all(Array.from({ length: shards }, (_, shard) => store.look(shard, names)));
  }

  /** Returns the partitions that stand before where the last look saw them. */
  #take(source: CompiledSource, looks: readonly ShardLook[]): Set<number> {
    const lost = new Set<number>();
    const { progress, gaps, eventClock, bindings } = this.#options;
    const partitions = looks.length === 0 ? 0 : (this.#partitions.get(source) ?? 0);
    this.#marks.set(
      source.name,
      looks.map(({ mark }) => mark),
    );
    source.views.forEach((view, v) => {
      const former = this.#positions.get(view);
      const bound = bindings.active(view);
      const positions: Position[] = [];
      for (let partition = 0; partition < partitions; partition++) {
        const marks = looks.map(({ watermarks }) => watermarks[v * partitions + partition] ?? null);
        for (const mark of marks) {
          if (mark !== null) eventClock?.restore(source.name, partition, mark.maxEventTimeMs, mark.clockMs);
        }
        gaps.set(view, partition, marks.flatMap((mark) => mark?.gaps ?? []).reduce(withGap, []));
        const position = positionOf(marks);
        positions.push(position);
        const before = former?.positions[partition];
        if (before !== undefined && position.nextOffset < before.nextOffset) {
          progress.positioned(view, partition, position.nextOffset);
          // Another namespace is behind: nothing that was applied is gone.
          if (former?.bound === bound) lost.add(partition);
        } else if (before === undefined || position.nextOffset > before.nextOffset) {
          const appendedMs = position.appendedMs < 0 ? null : position.appendedMs;
          progress.applied(view, partition, position.nextOffset, appendedMs);
        }
      }
      this.#positions.set(view, { bound, positions });
    });
    return lost;
  }
}

function allOf(errors: readonly unknown[]): AggregateError {
  return new AggregateError(errors, errors.map(reasonOf).join('; '));
}

/** A shard without a watermark has applied nothing. */
function positionOf(marks: readonly (Watermark | null)[]): Position {
  let lowest: Omit<Position, 'highestOffset'> | null = null;
  let highestOffset = 0;
  for (const mark of marks) {
    const { nextOffset, appendedMs } = mark ?? { nextOffset: 0, appendedMs: -1 };
    if (lowest === null || nextOffset < lowest.nextOffset) lowest = { nextOffset, appendedMs };
    highestOffset = Math.max(highestOffset, nextOffset);
  }
  return { ...(lowest ?? { nextOffset: 0, appendedMs: -1 }), highestOffset };
}
