import type { CompiledView } from '../engine/definitions/compiled.ts';
import type { LogGap } from '../engine/store/log-gap.ts';
import type { DeadLetter } from './dead-letter.ts';
import type { WriteCounts } from './view-writer.ts';

/** What a consumer tells whoever watches it. All calls are synchronous and must not throw. */
export interface ConsumerObserver {
  /** A chunk is in the store and its watermarks have moved. */
  chunkApplied(chunk: {
    readonly views: readonly CompiledView[];
    readonly partition: number;
    readonly nextOffset: number;
    readonly maxEventTimeMs: number;
    readonly records: number;
    /** Append time of the chunk's last record, ms; null when the chunk only moved watermarks. */
    readonly appendedMs: number | null;
    readonly counts: ReadonlyMap<CompiledView, WriteCounts>;
    readonly deadLetters: readonly DeadLetter[];
  }): void;
  /** The consumer stands at the durable end of the log. */
  caughtUp(partition: number, nextOffset: number): void;
  /**
   * Watermarks were (re-)read; `nextOffset` is where the consumer goes on.
   * @param missing what each view lacks of the partition for good
   */
  positioned(
    partition: number,
    nextOffset: number,
    missing: ReadonlyMap<CompiledView, readonly LogGap[]>,
  ): void;
  /**
   * Records between a watermark and the start of the log are gone. Said before the watermarks pass them, so that a crash
   * in between cannot keep it quiet; another opening, here or in the next process, may then find them again.
   */
  gap(partition: number, gap: LogGap): void;
}
