import type { LogReader, LogRecord } from './log/event-log.ts';

/** A log that is read over the network may need several tries to show a record that is there. */
const READ_TRIES = 40;

/**
 * The first record at an offset or behind it: undefined where nothing but transaction markers follows, null where the log
 * did not show it.
 */
export async function recordFrom(
  log: LogReader,
  partition: number,
  fromOffset: number,
): Promise<LogRecord | undefined | null> {
  for (let tries = 0; tries < READ_TRIES; tries++) {
    const { records, nextOffset } = await log.read({ partition, fromOffset, maxRecords: 1, maxBytes: 1 });
    if (nextOffset !== fromOffset) return records[0];
  }
  return null;
}
