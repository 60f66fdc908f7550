/** Where an embedded log begins: its first record tells, as append times ascend, unless it is the very first there was. */
import type { LogReader } from '../ingest/log/event-log.ts';
import type { LogStart } from '../roles/log-reach-watch.ts';

export async function logStart(log: LogReader, partitions: number, fromMs: number): Promise<LogStart> {
  const numbers = Array.from({ length: partitions }, (_, partition) => partition);
  const ends = await Promise.all(numbers.map((partition) => log.ends(partition)));
  const firstWithin = await Promise.all(
    numbers.map(async (partition) => {
      const { startOffset } = ends[partition]!;
      if (startOffset === 0) return 0;
      const { records } = await log.read({ partition, fromOffset: startOffset, maxRecords: 1, maxBytes: 1 });
      return records[0] !== undefined && records[0].appendedMs < fromMs ? startOffset + 1 : startOffset;
    }),
  );
  return { ends, firstWithin };
}
