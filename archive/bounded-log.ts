/** A log as if it ended where it did at some moment: what is appended later is not there. */
import type { LogChunk, LogEnds, LogReader, ReadArgs } from '../ingest/log/event-log.ts';

export class BoundedLog implements LogReader {
  readonly source: string;
  readonly #log: LogReader;
  readonly #endOffsets: readonly number[];

  /** @param endOffsets by partition; others have nothing */
  constructor(log: LogReader, endOffsets: readonly number[]) {
    this.source = log.source;
    this.#log = log;
    this.#endOffsets = endOffsets;
  }

  async partitions(): Promise<number> {
    return this.#endOffsets.length;
  }

  identity(partition: number): Promise<string> {
    return this.#log.identity(partition);
  }

  /** One that has lost its end since has the end that is left: whoever has read beyond it must notice. */
  async ends(partition: number): Promise<LogEnds> {
    const { startOffset, endOffset } = await this.#log.ends(partition);
    const end = this.#endOf(partition);
    return { startOffset: Math.min(startOffset, end), endOffset: Math.min(endOffset, end) };
  }

  async read(args: ReadArgs): Promise<LogChunk> {
    const end = this.#endOf(args.partition);
    if (args.fromOffset >= end) return { records: [], nextOffset: args.fromOffset };
    const { records, nextOffset } = await this.#log.read(args);
    if (nextOffset <= end) return { records, nextOffset };
    return { records: records.filter(({ offset }) => offset < end), nextOffset: end };
  }

  async waitFor(partition: number, offset: number, signal: AbortSignal): Promise<void> {
    // Nothing comes there: until the signal aborts.
    const reached = offset < this.#endOf(partition) ? offset : Number.MAX_SAFE_INTEGER;
    await this.#log.waitFor(partition, reached, signal);
  }

  #endOf(partition: number): number {
    return this.#endOffsets[partition] ?? 0;
  }
}
