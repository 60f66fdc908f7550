/**
 * Keeps one partition of a source applied to all its views.
 *
 * Views at (nearly) the same position share a *lane*, that is one consumer. A view that is new starts at the
 * log's beginning in a lane of its own, so that it does not hold the others back; lanes take turns, and join
 * when one has caught up with another.
 */
import { setTimeout as delay, setImmediate as immediate } from 'node:timers/promises';
import type { CompiledSource, CompiledView } from '../engine/definitions/compiled.ts';
import type { DeadLetters } from './dead-letter.ts';
import type { RecordDecoder } from './decoding/record-decoder.ts';
import type { LogReader } from './log/event-log.ts';
import {
  type ConsumerObserver,
  type ConsumerOptions,
  DEFAULT_CONSUMER_OPTIONS,
  LogReplacedError,
  PartitionConsumer,
} from './partition-consumer.ts';
import type { StateWriting } from './view-writer.ts';

export interface LaneObserver extends Omit<ConsumerObserver, 'positioned'> {
  /** These views go on at `nextOffset`. */
  positioned(views: readonly CompiledView[], partition: number, nextOffset: number): void;
  /** A step failed; it is tried again unless `final`. */
  failed(error: unknown, final: boolean): void;
  /** A step went well after a failure. */
  recovered(): void;
}

const FIRST_BACKOFF_MS = 100;
const LAST_BACKOFF_MS = 5_000;

export interface PartitionLanesOptions {
  readonly source: CompiledSource;
  readonly partition: number;
  readonly log: LogReader;
  readonly writing: StateWriting;
  readonly deadLetters: DeadLetters;
  readonly observer: LaneObserver;
  /** @default records are JSON */
  readonly decoder?: RecordDecoder;
  readonly consumer?: Partial<ConsumerOptions>;
}

export class PartitionLanes {
  readonly #options: PartitionLanesOptions;
  readonly #chunkRecords: number;
  #lanes: PartitionConsumer[] | null = null;
  #failures = 0;

  constructor(options: PartitionLanesOptions) {
    this.#options = options;
    this.#chunkRecords = options.consumer?.chunkRecords ?? DEFAULT_CONSUMER_OPTIONS.chunkRecords;
  }

  /** Applies until the signal aborts; the step under way is finished. Never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        const idle = await this.#turn();
        if (this.#failures > 0) this.#options.observer.recovered();
        this.#failures = 0;
        if (idle) await this.#lanes![0]!.waitForRecords(signal);
      } catch (error) {
        // On the way out nothing is tried again: the partition may be another's by now.
        if (signal.aborted) return;
        const final = error instanceof LogReplacedError;
        this.#options.observer.failed(error, final);
        if (final) return;
        this.#lanes = null;
        const backoffMs = Math.min(LAST_BACKOFF_MS, FIRST_BACKOFF_MS * 2 ** Math.min(this.#failures++, 10));
        await delay(backoffMs, undefined, { signal }).catch(() => {});
      }
    }
  }

  /** Steps every lane once. Returns true where there was nothing to do and the only lane can wait. */
  async #turn(): Promise<boolean> {
    this.#lanes ??= await this.#open();
    const lanes = this.#lanes;
    let taken = 0;
    for (const lane of lanes) {
      taken += await lane.step();
      // A store in memory never leaves the microtasks: everyone else must get a turn.
      await immediate();
    }
    if (lanes.length === 1) return taken === 0;
    this.#lanes = this.#join(lanes);
    return false;
  }

  async #open(): Promise<PartitionConsumer[]> {
    const { source, partition, writing } = this.#options;
    const positions = await storedPositions({ source, partition, writing });
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
    const { source, partition, log, writing, deadLetters, observer, consumer, decoder } = this.#options;
    return new PartitionConsumer({
      source,
      views,
      partition,
      log,
      writing,
      deadLetters,
      observer: {
        chunkApplied: (chunk) => observer.chunkApplied(chunk),
        caughtUp: (at, nextOffset) => observer.caughtUp(at, nextOffset),
        positioned: (at, nextOffset) => {
          if (!silent) observer.positioned(views, at, nextOffset);
          silent = false;
        },
        gap: (at, from, to) => observer.gap(at, from, to),
      },
      ...(decoder === undefined ? {} : { decoder }),
      ...(consumer === undefined ? {} : { options: consumer }),
    });
  }
}

export interface StoredPosition {
  readonly nextOffset: number;
  /** −1 when no event was applied. */
  readonly maxEventTimeMs: number;
  readonly clockMs: number;
}

/** The lowest stored position of each view over the shards; 0 where there is none. */
export async function storedPositions(args: {
  source: CompiledSource;
  partition: number;
  writing: Pick<StateWriting, 'store' | 'shards'>;
}): Promise<Map<CompiledView, StoredPosition>> {
  const { source, partition, writing } = args;
  const positions = new Map<CompiledView, StoredPosition>();
  const names = source.views.map((view) => ({ namespace: view.namespace, source: source.name, partition }));
  for (let shard = 0; shard < writing.shards; shard++) {
    const watermarks = await writing.store.readWatermarks(shard, names);
    source.views.forEach((view, i) => {
      const watermark = watermarks[i] ?? null;
      const former = positions.get(view);
      const nextOffset = watermark?.nextOffset ?? 0;
      positions.set(view, {
        nextOffset: Math.min(nextOffset, former?.nextOffset ?? nextOffset),
        maxEventTimeMs: Math.max(watermark?.maxEventTimeMs ?? -1, former?.maxEventTimeMs ?? -1),
        clockMs: Math.max(watermark?.clockMs ?? 0, former?.clockMs ?? 0),
      });
    });
  }
  return positions;
}
