/** Dead letters of the embedded engine: a log of their own beside the source's. */
import { setImmediate as immediate } from 'node:timers/promises';
import type { Clock } from '../engine/clock.ts';
import type { CompiledSource } from '../engine/definitions/compiled.ts';
import { decodeEvent } from '../engine/definitions/decode-event.ts';
import { jsonRecordDecoder } from './decoding/json-record.ts';
import type {
  LetterEnd,
  LetterMark,
  LetterOrigin,
  LetterShelf,
  RecordCopy,
  ShelfEntry,
} from './letter-shelf.ts';
import type { EventLog, LogReader, LogRecord } from './log/event-log.ts';
import { OffsetOutOfRangeError } from './log/log-errors.ts';
import { decodeLetter, encodeMark } from './log-dead-letters.ts';

const READ = { maxRecords: 1_000, maxBytes: 4 * 1024 * 1024 } as const;

/** The records of a partition up to where it ends at the call. */
export async function* recordsOf(log: LogReader, partition: number): AsyncGenerator<LogRecord> {
  const { startOffset, endOffset } = await log.ends(partition);
  for (let fromOffset = startOffset; fromOffset < endOffset; ) {
    try {
      const { records, nextOffset } = await log.read({ partition, fromOffset, ...READ });
      for (const record of records) if (record.offset < endOffset) yield record;
      fromOffset = nextOffset;
    } catch (error) {
      const { startOffset: now } = await log.ends(partition);
      // Retention has come this far meanwhile: what is gone is not asked for.
      if (!(error instanceof OffsetOutOfRangeError) || now <= fromOffset) throw error;
      fromOffset = now;
    }
    // A log on lmdb or in memory never leaves the microtasks: everyone else must get a turn.
    await immediate();
  }
}

export class LogLetterShelf implements LetterShelf {
  readonly source: string;
  readonly #log: EventLog;
  readonly #letters: EventLog;
  readonly #clock: Clock;
  readonly #eventTimeMs: (value: Uint8Array) => number | null;

  /** @param args.clock processing time */
  constructor(args: { source: CompiledSource; log: EventLog; letters: EventLog; clock: Clock }) {
    this.source = args.source.name;
    this.#log = args.log;
    this.#letters = args.letters;
    this.#clock = args.clock;
    const decoder = jsonRecordDecoder();
    const decode = decodeEvent(args.source);
    this.#eventTimeMs = (value) => {
      const decoded = decoder.decode(value);
      const event = decoded.ok ? decode(decoded.data) : decoded;
      return event.ok ? event.eventTimeMs : null;
    };
  }

  async *entries(): AsyncGenerator<ShelfEntry> {
    for await (const record of recordsOf(this.#letters, 0)) yield decodeLetter(record);
  }

  async original({ partition, offset }: LetterOrigin): Promise<LogRecord | null> {
    const { startOffset, endOffset } = await this.#log.ends(partition);
    if (offset < startOffset || offset >= endOffset) return null;
    const { records } = await this.#log.read({ partition, fromOffset: offset, maxRecords: 1, maxBytes: 1 });
    return records[0]?.offset === offset ? records[0] : null;
  }

  async fits(): Promise<boolean> {
    return true;
  }

  async append(copies: readonly RecordCopy[]): Promise<void> {
    const appendedMs = this.#clock.nowMs();
    await this.#log.append(
      copies.map(({ partition, originOffset, stamp, value }) => ({
        partition,
        originOffset,
        appendedMs,
        stamp,
        value,
        eventTimeMs: this.#eventTimeMs(value) ?? appendedMs,
      })),
    );
  }

  async mark(end: LetterEnd, marks: readonly LetterMark[]): Promise<void> {
    const appendedMs = this.#clock.nowMs();
    await this.#letters.append(
      marks.map((mark) => ({
        ...{ partition: 0, appendedMs, stamp: null, eventTimeMs: 0 },
        value: encodeMark(end, mark),
      })),
    );
  }
}
