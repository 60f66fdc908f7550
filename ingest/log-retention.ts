/** Keeps event logs small: drops what no window can reach any more and every view has applied. */
import type { Clock } from '../engine/clock.ts';
import type { CompiledSource } from '../engine/definitions/compiled.ts';
import type { EventLog } from './log/event-log.ts';

export interface LogRetention {
  /** Records are kept at least this long after their append, ms, unless the log is too large. */
  readonly minAgeMs: number;
  /** Value bytes per partition beyond which the oldest applied records go, needed or not. */
  readonly maxBytes: number;
}

export const DEFAULT_LOG_RETENTION: LogRetention = { minAgeMs: 86_400_000, maxBytes: 2 * 1024 ** 3 };

/** Truncates every partition of a source's log. Returns the number of records dropped. */
export async function truncateLog(args: {
  source: CompiledSource;
  log: EventLog;
  /** What windows count back from. */
  clock: Clock;
  /** Processing time. */
  wallClock: Clock;
  retention: LogRetention;
  /** Below this offset every view has applied the partition; asked before and after the store was flushed. */
  appliedOffset(partition: number): number;
  /** Returns when what was applied before the call survives a power failure. */
  storeFlushed(): Promise<void>;
}): Promise<number> {
  const { source, log, retention } = args;
  let dropped = 0;
  const partitions = await log.partitions();
  const applied = Array.from({ length: partitions }, (_, partition) => args.appliedOffset(partition));
  // A store that falls back after a power failure reads on from where it fell to: that must be there still.
  await args.storeFlushed();
  for (const [partition, flushedOffset] of applied.entries()) {
    // A rebuild may have begun meanwhile, which needs what everyone else has applied.
    const beforeOffset = Math.min(flushedOffset, args.appliedOffset(partition));
    dropped += await log.truncate({
      partition,
      // A lifetime window needs every event: Infinity.
      keepEventTimeMs: Math.max(0, args.clock.nowMs() - source.retentionMs),
      keepAppendedMs: Math.max(0, args.wallClock.nowMs() - retention.minAgeMs),
      maxBytes: retention.maxBytes,
      beforeOffset,
    });
  }
  return dropped;
}

/** Dead letters are kept for the minimum age and within the size limit. */
export async function truncateDeadLetters(args: {
  log: EventLog;
  wallClock: Clock;
  retention: LogRetention;
}): Promise<number> {
  const { endOffset } = await args.log.ends(0);
  const keepAppendedMs = Math.max(0, args.wallClock.nowMs() - args.retention.minAgeMs);
  return args.log.truncate({
    partition: 0,
    keepEventTimeMs: 1,
    keepAppendedMs,
    maxBytes: args.retention.maxBytes,
    beforeOffset: endOffset,
  });
}
