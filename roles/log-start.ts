/** Where a log that is read in place begins: its first record tells, as append times ascend, unless it is the very first there was. */
import type { LogEnds, LogReader } from '../ingest/log/event-log.ts';
import { OffsetOutOfRangeError } from '../ingest/log/log-errors.ts';

/** Where a log begins. */
export interface LogStart {
  readonly ends: readonly LogEnds[];
  /**
   * By partition: the first offset held that was appended at the time asked for or later; any above the start will do, and
   * where nothing was dropped anything.
   */
  readonly firstWithin: readonly number[];
}

type Log = Pick<LogReader, 'ends' | 'read'>;

export async function logStart(log: Log, partitions: number, fromMs: number): Promise<LogStart> {
  const numbers = Array.from({ length: partitions }, (_, partition) => partition);
  const ends = await Promise.all(numbers.map((partition) => log.ends(partition)));
  const firstWithin = await Promise.all(
    ends.map(async ({ startOffset }, partition) => {
      if (startOffset === 0) return 0;
      const appendedMs = await firstAppendedMs(log, partition, startOffset);
      return appendedMs !== null && appendedMs < fromMs ? startOffset + 1 : startOffset;
    }),
  );
  return { ends, firstWithin };
}

/** null: there is none, or retention takes it in this moment. */
async function firstAppendedMs(log: Log, partition: number, fromOffset: number): Promise<number | null> {
  try {
    const { records } = await log.read({ partition, fromOffset, maxRecords: 1, maxBytes: 1 });
    return records[0]?.appendedMs ?? null;
  } catch (error) {
    if (error instanceof OffsetOutOfRangeError) return null;
    throw error;
  }
}
