/**
 * Keeps one partition of a source applied to all its views.
 *
 * Views at (nearly) the same position share a *lane*, that is one consumer. A view that is new starts at the
 * log's beginning in a lane of its own, so that it does not hold the others back; lanes take turns, and join
 * when one has caught up with another.
 */
import { setTimeout as delay, setImmediate as immediate } from 'node:timers/promises';
import type { Clock } from '../engine/clock.ts';
import type { CompiledSource, CompiledView } from '../engine/definitions/compiled.ts';
import { type LogGap, withGap } from '../engine/store/log-gap.ts';
import type { ConsumerObserver } from './consumer-observer.ts';
import type { DeadLetters } from './dead-letter.ts';
import type { RecordDecoder } from './decoding/record-decoder.ts';
import type { LogReader } from './log/event-log.ts';
import { MissingRecords } from './missing-records.ts';
import { type ConsumerOptions, DEFAULT_CONSUMER_OPTIONS, PartitionConsumer } from './partition-consumer.ts';
import { PartitionStoppedError } from './partition-stopped.ts';
import type { StateWriting } from './view-writer.ts';

export interface LaneObserver extends Omit<ConsumerObserver, 'positioned' | 'gap'> {
  /** Records are gone that some view had not applied; each is said once, however often a lane comes upon it. */
  gap(partition: number, gap: LogGap): void;
  /** These views go on at `nextOffset`. @param appliedTo see `ConsumerObserver` */
  positioned(
    views: readonly CompiledView[],
    partition: number,
    nextOffset: number,
    appliedTo: number | null,
  ): void;
  /** What a view lacks of the partition for good, as far as a window may ask for it. */
  missing(view: CompiledView, partition: number, gaps: readonly LogGap[]): void;
  /** A step failed; it is tried again unless `final`. */
  failed(error: unknown, final: boolean): void;
  /** A step went well after a failure. */
  recovered(): void;
}

const FIRST_BACKOFF_MS = 100;
const LAST_BACKOFF_MS = 5_000;
/** How often a lane without records looks whether there are other views to apply. */
const VIEWS_EVERY_MS = 500;

export interface PartitionLanesOptions {
  readonly source: CompiledSource;
  readonly partition: number;
  readonly log: LogReader;
  readonly writing: StateWriting;
  readonly deadLetters: DeadLetters;
  readonly observer: LaneObserver;
  /** What to apply; looked at before every turn, and another array makes the lanes anew. @default the source's views */
  readonly views?: () => readonly CompiledView[];
  /** @default records are JSON */
  readonly decoder?: RecordDecoder;
  readonly consumer?: Partial<ConsumerOptions>;
  /** Processing time. @default the machine's clock */
  readonly wallClock?: Clock;
  /** See `PartitionConsumer`. @default of each */
  readonly isRead?: (view: CompiledView) => boolean;
  /**
   * Awaited between two lanes: a store in memory never leaves the microtasks, and everyone else must get a turn.
   * @default the next macrotask
   */
  readonly giveWay?: () => Promise<unknown>;
  /**
   * Records that come within so many ms of the end of a turn wait until then, so that a trickle is not a chunk for each of
   * them; after a longer silence they wait for nothing. @default 0
   */
  readonly lingerMs?: number;
}

export class PartitionLanes {
  readonly #options: PartitionLanesOptions;
  readonly #chunkRecords: number;
  readonly #missing = new MissingRecords();
  #lanes: PartitionConsumer[] | null = null;
  /** Of the lanes. */
  #views: readonly CompiledView[] = [];
  #failures = 0;

  constructor(options: PartitionLanesOptions) {
    this.#options = options;
    this.#chunkRecords = options.consumer?.chunkRecords ?? DEFAULT_CONSUMER_OPTIONS.chunkRecords;
  }

  /** Applies until the signal aborts; the step under way is finished. Never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        const atRest = await this.step();
        if (this.#failures > 0) this.#options.observer.recovered();
        this.#failures = 0;
        if (!atRest) continue;
        const { lingerMs = 0 } = this.#options;
        const notBeforeMs = performance.now() + lingerMs;
        await this.#wait(this.#lanes![0]!, signal);
        const earlyMs = notBeforeMs - performance.now();
        if (earlyMs > 0 && !signal.aborted) await delay(earlyMs);
      } catch (error) {
        // On the way out nothing is tried again: the partition may be another's by now.
        if (signal.aborted) return;
        const final = error instanceof PartitionStoppedError;
        this.#options.observer.failed(error, final);
        if (final) return;
        const backoffMs = Math.min(LAST_BACKOFF_MS, FIRST_BACKOFF_MS * 2 ** Math.min(this.#failures++, 10));
        await delay(backoffMs, undefined, { signal }).catch(() => {});
      }
    }
  }

  /** Until there are records, or other views to apply. */
  async #wait(lane: PartitionConsumer, signal: AbortSignal): Promise<void> {
    const { views = () => this.#views } = this.#options;
    while (!signal.aborted && views() === this.#views) {
      const waiting = new AbortController();
      const end = (): void => waiting.abort();
      const timer = setTimeout(end, VIEWS_EVERY_MS);
      signal.addEventListener('abort', end, { once: true });
      try {
        await lane.waitForRecords(waiting.signal);
      } finally {
        clearTimeout(timer);
        signal.removeEventListener('abort', end);
      }
      if (!waiting.signal.aborted) return;
    }
  }

  /**
   * One turn: applies a chunk in every lane. Returns true where all views are in one lane and it has found nothing to do:
   * until there are records, or other views, another turn finds nothing either.
   * When it throws, nothing is known of how far it came; the next turn reads all positions anew.
   * @throws PartitionStoppedError where another turn cannot succeed; whatever log, store, decoder and dead letters throw
   */
  async step(): Promise<boolean> {
    const { source, views = () => source.views, giveWay = immediate } = this.#options;
    const wanted = views();
    if (wanted !== this.#views) this.#lanes = null;
    this.#views = wanted;
    try {
      this.#lanes ??= await this.#open();
      const lanes = this.#lanes;
      const before = lanes[0]!.nextOffset;
      let taken = 0;
      for (const lane of lanes) {
        taken += await lane.step();
        await giveWay();
      }
      // Chunks without a record only move watermarks: there may be more behind them.
      if (lanes.length === 1) return taken === 0 && before !== null && lanes[0]!.nextOffset === before;
      this.#lanes = this.#join(lanes);
      return false;
    } catch (error) {
      this.#lanes = null;
      throw error;
    }
  }

  async #open(): Promise<PartitionConsumer[]> {
    const { source, partition, writing } = this.#options;
    const positions = await storedPositions({ source, views: this.#views, partition, writing });
    const byOffset = new Map<number, CompiledView[]>();
    for (const [view, { nextOffset }] of positions) {
      byOffset.set(nextOffset, [...(byOffset.get(nextOffset) ?? []), view]);
    }
    return [...byOffset]
      .sort(([a], [b]) => b - a)
      .map(([, views]) => this.#consumer(views, { joined: false }));
  }

  /** Lanes less than a chunk apart become one, which starts at the lower position. */
  #join(lanes: readonly PartitionConsumer[]): PartitionConsumer[] {
    const groups: PartitionConsumer[][] = [];
    for (const lane of lanes) {
      const group = groups.at(-1);
      const near =
        group !== undefined &&
        lane.nextOffset !== null &&
        group[0]!.nextOffset !== null &&
        Math.abs(group[0]!.nextOffset - lane.nextOffset) <= this.#chunkRecords;
      if (near) group.push(lane);
      else groups.push([lane]);
    }
    return groups.map((group) =>
      group.length === 1
        ? group[0]!
        : this.#consumer(
            group.flatMap(({ views }) => views),
            { joined: true },
          ),
    );
  }

  #consumer(views: readonly CompiledView[], { joined }: { joined: boolean }): PartitionConsumer {
    // A joined lane starts at the lowest of its views' positions, and says so; the views are where they were.
    let silent = joined;
    const { source, partition, log, writing, deadLetters, observer } = this.#options;
    const { consumer, decoder, wallClock, isRead } = this.#options;
    return new PartitionConsumer({
      source,
      views,
      partition,
      log,
      writing,
      deadLetters,
      observer: {
        rowsWritten: (counts) => observer.rowsWritten?.(counts),
        chunkApplied: (chunk) => observer.chunkApplied(chunk),
        caughtUp: (at, nextOffset) => observer.caughtUp(at, nextOffset),
        positioned: (at, nextOffset, missing, appliedTo) => {
          for (const [view, gaps] of missing) observer.missing(view, at, gaps);
          if (!silent) observer.positioned(views, at, nextOffset, appliedTo);
          silent = false;
        },
        gap: (at, gap) => {
          for (const range of this.#missing.add(gap.fromOffset, gap.toOffset)) {
            observer.gap(at, { ...gap, ...range });
          }
        },
      },
      ...(decoder === undefined ? {} : { decoder }),
      ...(consumer === undefined ? {} : { options: consumer }),
      ...(wallClock === undefined ? {} : { wallClock }),
      ...(isRead === undefined ? {} : { isRead }),
    });
  }
}

export interface StoredPosition {
  readonly nextOffset: number;
  /** −1 when no event was applied. */
  readonly maxEventTimeMs: number;
  readonly clockMs: number;
  /** Over all shards. */
  readonly gaps: readonly LogGap[];
}

/** The lowest stored position of each view over the shards; 0 where there is none. */
export async function storedPositions(args: {
  source: CompiledSource;
  views: readonly CompiledView[];
  partition: number;
  writing: Pick<StateWriting, 'store' | 'shards'>;
}): Promise<Map<CompiledView, StoredPosition>> {
  const { source, views, partition, writing } = args;
  const positions = new Map<CompiledView, StoredPosition>();
  const names = views.map((view) => ({ namespace: view.namespace, source: source.name, partition }));
  for (let shard = 0; shard < writing.shards; shard++) {
    const watermarks = await writing.store.readWatermarks(shard, names);
    views.forEach((view, i) => {
      const watermark = watermarks[i] ?? null;
      const former = positions.get(view);
      const nextOffset = watermark?.nextOffset ?? 0;
      positions.set(view, {
        nextOffset: Math.min(nextOffset, former?.nextOffset ?? nextOffset),
        maxEventTimeMs: Math.max(watermark?.maxEventTimeMs ?? -1, former?.maxEventTimeMs ?? -1),
        clockMs: Math.max(watermark?.clockMs ?? 0, former?.clockMs ?? 0),
        gaps: (watermark?.gaps ?? []).reduce(withGap, former?.gaps ?? []),
      });
    });
  }
  return positions;
}
