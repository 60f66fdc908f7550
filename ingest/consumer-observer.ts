import type { CompiledView } from '../engine/definitions/compiled.ts';
import type { LogGap } from '../engine/store/log-gap.ts';
import type { DeadLetter } from './dead-letter.ts';
import type { WriteCounts } from './view-writer.ts';

/** Of an event that could be decoded. */
export interface EventTimes {
  /** Of its record; of a copy, that of the copy. */
  readonly offset: number;
  /** Processing time of its append, ms; ≤ 0 where the record does not say. */
  readonly appendedMs: number;
  readonly eventTimeMs: number;
  /** Whether it is a dead letter that was replayed, and tells nothing of how fast anything is. */
  readonly isCopy: boolean;
}

/** What a consumer tells whoever watches it. All calls are synchronous and must not throw. */
export interface ConsumerObserver {
  /**
   * Rows of a chunk are in the store, whether or not its watermarks then move: where another owner was faster, they are found
   * there as written already by whoever comes next, and this is the only time that they count as applied.
   */
  rowsWritten?(counts: ReadonlyMap<CompiledView, WriteCounts>): void;
  /** A chunk is in the store and its watermarks have moved. */
  chunkApplied(chunk: {
    readonly views: readonly CompiledView[];
    readonly partition: number;
    readonly nextOffset: number;
    readonly maxEventTimeMs: number;
    readonly records: number;
    /** Append time of the chunk's last record, ms; null when the chunk only moved watermarks. */
    readonly appendedMs: number | null;
    readonly deadLetters: readonly DeadLetter[];
    /** In the order of the log. */
    readonly events: readonly EventTimes[];
    /** How long it took from the first record read, ms. */
    readonly tookMs: number;
  }): void;
  /** The consumer stands at the durable end of the log. */
  caughtUp(partition: number, nextOffset: number): void;
  /**
   * Watermarks were (re-)read; `nextOffset` is where the consumer goes on.
   * @param missing what each view lacks of the partition for good
   * @param appliedTo the furthest that one of the views had come before; null: none has applied a record yet
   */
  positioned(
    partition: number,
    nextOffset: number,
    missing: ReadonlyMap<CompiledView, readonly LogGap[]>,
    appliedTo: number | null,
  ): void;
  /**
   * Records between a watermark and the start of the log are gone. Said before the watermarks pass them, so that a crash
   * in between cannot keep it quiet; another opening, here or in the next process, may then find them again.
   */
  gap(partition: number, gap: LogGap): void;
}
