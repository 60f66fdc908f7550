/**
 * The log as one simulated process reads it: every read is a step of its own, fails, or is short; some offsets hold no
 * record, and retention may have dropped what is asked for.
 * Some of the `MUTATIONS` are planted here.
 */
import type { LogChunk, LogEnds, LogReader, LogRecord, ReadArgs } from '../ingest/log/event-log.ts';
import type { MemoryEventLog } from '../ingest/log/memory-event-log.ts';
import { LostReplyError } from './faulty-store.ts';
import type { Mutation } from './mutations.ts';
import type { Actor, Scheduler } from './scheduler.ts';

export class FaultyLog implements LogReader {
  readonly source: string;
  readonly #log: MemoryEventLog;
  readonly #scheduler: Scheduler;
  readonly #actor: Actor;
  readonly #isHole: (partition: number, offset: number) => boolean;
  readonly #onRecord: (record: LogRecord) => void;
  readonly #fate: () => 'fails' | 'short' | null;
  readonly #mutation: Mutation | null;
  #firstEnds: LogEnds | null = null;

  constructor(args: {
    log: MemoryEventLog;
    scheduler: Scheduler;
    actor: Actor;
    isHole: (partition: number, offset: number) => boolean;
    /** The process has got the record. */
    onRecord: (record: LogRecord) => void;
    /** What becomes of the next read. */
    fate: () => 'fails' | 'short' | null;
    mutation: Mutation | null;
  }) {
    this.source = args.log.source;
    this.#log = args.log;
    this.#scheduler = args.scheduler;
    this.#actor = args.actor;
    this.#isHole = args.isHole;
    this.#onRecord = args.onRecord;
    this.#fate = args.fate;
    this.#mutation = args.mutation;
  }

  partitions(): Promise<number> {
    return this.#log.partitions();
  }

  async identity(partition: number): Promise<string> {
    this.#firstEnds = await this.#log.ends(partition);
    return this.#log.identity(partition);
  }

  async ends(partition: number): Promise<LogEnds> {
    const ends = await this.#log.ends(partition);
    if (this.#mutation === 'gap_silent') return { ...ends, startOffset: 0 };
    if (this.#mutation !== 'end_before_watermark') return ends;
    // Opening asks for the identity before the watermarks, and for the ends after: it gets those of before.
    return this.#firstEnds ?? ends;
  }

  async read(args: ReadArgs): Promise<LogChunk> {
    await this.#scheduler.gate(this.#actor);
    const fate = this.#fate();
    if (fate === 'fails') throw new LostReplyError('simulated read');
    const { startOffset } = await this.#log.ends(args.partition);
    if (args.fromOffset < startOffset && this.#mutation !== 'gap_silent') {
      throw new LostReplyError(`offset ${args.fromOffset} is out of range: the log begins at ${startOffset}`);
    }
    const fromOffset = Math.max(args.fromOffset, startOffset);
    const { records, nextOffset } = await this.#log.read({
      ...args,
      fromOffset,
      ...(fate === 'short' ? { maxRecords: 1 } : {}),
    });
    const held = records.filter(({ partition, offset }) => !this.#isHole(partition, offset));
    for (const record of held) this.#onRecord(record);
    return {
      records: held.map((record) => ({
        ...record,
        originOffset: this.#mutation === 'dlq_identity' ? null : record.originOffset,
        // The log in memory has no tombstones.
        value: record.value!.length === 0 ? null : record.value,
      })),
      nextOffset,
    };
  }

  async waitFor(partition: number, offset: number, signal: AbortSignal): Promise<void> {
    await this.#log.waitFor(partition, offset, signal);
  }
}
