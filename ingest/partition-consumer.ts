/**
 * Applies one partition of a source's log to a set of views.
 *
 * Everything it knows is in the log and the store: it starts at the lowest watermark of its views, applies a
 * bounded chunk, moves the watermarks, and goes on. When a watermark cannot be moved (another owner moved it,
 * or the store came back from an earlier moment) it reads them again and rewinds. Any number of consumers of
 * one partition end in the right values; one is enough.
 */
import { type Clock, WallClock } from '../engine/clock.ts';
import type { CompiledSource, CompiledView } from '../engine/definitions/compiled.ts';
import type { LogGap } from '../engine/store/log-gap.ts';
import type { UnappliedOffsets } from '../engine/store/unapplied-offsets.ts';
import { knownAppendTime } from './append-time.ts';
import { ChunkOrigins } from './chunk-origins.ts';
import type { ConsumerObserver } from './consumer-observer.ts';
import type { DeadLetters } from './dead-letter.ts';
import { jsonRecordDecoder } from './decoding/json-record.ts';
import type { RecordDecoder } from './decoding/record-decoder.ts';
import { isWithinReach } from './gap-reach.ts';
import { isSameRecord, type LastRecord, lastRecordOf, UNKNOWN_RECORD } from './last-record.ts';
import type { LogEnds, LogReader } from './log/event-log.ts';
import { LogGapError } from './partition-stopped.ts';
import {
  highestApplied,
  highestEventTimeMs,
  lowestOffset,
  missingOf,
  PartitionWatermarks,
  type WatermarkCursor,
} from './partition-watermarks.ts';
import { RecordRouter } from './record-router.ts';
import { checkEnd, madeAgain } from './replaced-log.ts';
import { recordFrom } from './single-record.ts';
import { type RowWriter, type StateWriting, ViewWriter, type WriteCounts } from './view-writer.ts';

export interface ConsumerOptions {
  /** Records applied before the watermarks move. Default 2,000. */
  readonly chunkRecords: number;
  /** Bytes of records likewise. Default 4 MiB. */
  readonly chunkBytes: number;
  /**
   * What to do where records were gone before they were applied and a window may still ask for them: stop the partition,
   * or go on and mark the values that may lack them. Default `continue`.
   */
  readonly onGap: 'stop' | 'continue';
}

export const DEFAULT_CONSUMER_OPTIONS: ConsumerOptions = {
  chunkRecords: 2_000,
  chunkBytes: 4 * 1024 * 1024,
  onGap: 'continue',
};

export class PartitionConsumer {
  readonly partition: number;
  readonly views: readonly CompiledView[];
  readonly #source: CompiledSource;
  readonly #log: LogReader;
  readonly #writing: StateWriting;
  readonly #writers: readonly RowWriter[];
  readonly #deadLetters: DeadLetters;
  readonly #observer: ConsumerObserver;
  readonly #options: ConsumerOptions;
  readonly #watermarks: PartitionWatermarks;
  readonly #router: RecordRouter;
  readonly #wallClock: Clock;
  readonly #isRead: (view: CompiledView) => boolean;
  #cursors: WatermarkCursor[] | null = null;

  constructor(args: {
    source: CompiledSource;
    views: readonly CompiledView[];
    partition: number;
    log: LogReader;
    writing: StateWriting;
    deadLetters: DeadLetters;
    observer: ConsumerObserver;
    /** @default records are JSON */
    decoder?: RecordDecoder;
    options?: Partial<ConsumerOptions>;
    /** Processing time. @default the machine's clock */
    wallClock?: Clock;
    /** Whether values are made of the view: what others lack stops nobody. @default of each */
    isRead?: (view: CompiledView) => boolean;
  }) {
    this.partition = args.partition;
    this.views = args.views;
    this.#source = args.source;
    this.#log = args.log;
    this.#writing = args.writing;
    const { writerOf = (view) => new ViewWriter(view, args.writing) } = args.writing;
    this.#writers = args.views.map((view) => writerOf(view));
    this.#deadLetters = args.deadLetters;
    this.#observer = args.observer;
    this.#options = { ...DEFAULT_CONSUMER_OPTIONS, ...args.options };
    this.#wallClock = args.wallClock ?? new WallClock();
    this.#isRead = args.isRead ?? (() => true);
    this.#watermarks = new PartitionWatermarks(args);
    this.#router = new RecordRouter({
      source: args.source,
      views: args.views,
      shards: args.writing.shards,
      decoder: args.decoder ?? jsonRecordDecoder(),
    });
  }

  /** The next offset to read; null before the watermarks were read. */
  get nextOffset(): number | null {
    return this.#cursors === null ? null : lowestOffset(this.#cursors);
  }

  /** Forgets its position; the next step reads the watermarks again. For use after any failed step. */
  reset(): void {
    this.#cursors = null;
  }

  /**
   * Applies one chunk. Returns the number of records taken; 0 when there were none.
   * When it throws, nothing is known of how far it came: `reset()` and step again.
   */
  async step(): Promise<number> {
    this.#cursors ??= await this.#open();
    const cursors = this.#cursors;
    const fromOffset = lowestOffset(cursors);
    const startedMs = performance.now();
    const { records, nextOffset: readTo } = await this.#log.read({
      partition: this.partition,
      fromOffset,
      maxRecords: this.#options.chunkRecords,
      maxBytes: this.#options.chunkBytes,
    });
    if (records.length === 0) {
      if (readTo > fromOffset) await this.#passMarkers(cursors, readTo);
      else this.#observer.caughtUp(this.partition, fromOffset);
      return 0;
    }
    const origins = new ChunkOrigins(cursors);
    const { rows, deadLetters, maxEventTimeMs, taken, events } = await this.#router.route(
      records,
      cursors,
      origins,
    );
    if (deadLetters.length > 0) await this.#deadLetters.write(deadLetters);
    const counts = new Map<CompiledView, WriteCounts>();
    // Views are independent: together they share the store's commits.
    await Promise.all(
      this.#writers.map(async (writer) => {
        counts.set(writer.view, await writer.apply(rows.get(writer.view)!));
      }),
    );
    this.#observer.rowsWritten?.(counts);

    const nextOffset = taken < records.length ? records[taken]!.offset : readTo;
    const last = lastRecordOf(records[taken - 1]!);
    const unapplied = (cursor: WatermarkCursor): UnappliedOffsets => origins.unappliedAfter(cursor);
    if (!(await this.#watermarks.move(cursors, { nextOffset, maxEventTimeMs, last, unapplied }))) {
      this.#cursors = null;
      return taken;
    }
    this.#observer.chunkApplied({
      views: this.views,
      partition: this.partition,
      nextOffset,
      maxEventTimeMs: highestEventTimeMs(cursors),
      records: taken,
      appendedMs: last.appendedMs,
      deadLetters,
      events,
      tookMs: performance.now() - startedMs,
    });
    return taken;
  }

  /** Waits for records beyond the current position. */
  async waitForRecords(signal: AbortSignal): Promise<void> {
    await this.#log.waitFor(this.partition, this.nextOffset ?? 0, signal);
  }

  async #open(): Promise<WatermarkCursor[]> {
    const cursors = await this.#watermarks.read(await this.#log.identity(this.partition));
    // The log's ends after the watermarks: another owner may have moved them meanwhile, with the log.
    const ends = await this.#log.ends(this.partition);
    const { startOffset, endOffset } = ends;
    const appliedTo = highestApplied(cursors);
    for (const { name, nextOffset } of cursors) checkEnd(name, nextOffset, endOffset);
    for (const [nextOffset, last] of new Map(cursors.map((cursor) => [cursor.nextOffset, cursor.last]))) {
      if (nextOffset > startOffset) await this.#checkApplied(nextOffset - 1, last);
    }
    if (!(await this.#passMissing(cursors, ends))) return this.#open();
    const nextOffset = lowestOffset(cursors);
    this.#observer.positioned(this.partition, nextOffset, missingOf(cursors), appliedTo);
    return cursors;
  }

  /**
   * Records before the log's start that were not applied: the watermarks pass them and say so from then on, as nothing may
   * ever come behind them that would. False where another owner moved one meanwhile.
   */
  async #passMissing(cursors: readonly WatermarkCursor[], ends: LogEnds): Promise<boolean> {
    const { startOffset } = ends;
    const behind = cursors.filter(({ nextOffset }) => nextOffset < startOffset);
    if (behind.length === 0) return true;
    const untilMs = await this.#firstHeldMs(ends);
    const gapOf = ({ nextOffset, last }: WatermarkCursor): LogGap => ({
      fromOffset: nextOffset,
      toOffset: startOffset,
      afterMs: knownAppendTime(last.appendedMs),
      untilMs,
    });
    const nowMs = this.#writing.clock.nowMs();
    const lacking = behind.filter((cursor) => isWithinReach(cursor.view, gapOf(cursor), nowMs));
    // Once for all views and shards: it is the log that has the gap.
    const gap = gapOf(behind.reduce((a, b) => (b.nextOffset < a.nextOffset ? b : a)));
    // What was gone before the store was filled, and no window asks for, is nobody's loss.
    if (lacking.length > 0 || gap.fromOffset > 0) this.#observer.gap(this.partition, gap);
    const stopping = lacking.filter(({ view }) => this.#isRead(view));
    if (stopping.length > 0 && this.#options.onGap === 'stop') {
      const views = [...new Set(stopping.map(({ view }) => view.name))].join(', ');
      throw new LogGapError(
        `records ${gap.fromOffset} to ${startOffset - 1} of source ${this.#source.name}, partition ` +
          `${this.partition}, were gone before they were applied, and may be missing in ${views}. To go on without ` +
          'them, start with --on-gap continue: values that may lack them say so',
      );
    }
    // The record before the start is not known.
    const unapplied = (cursor: WatermarkCursor): UnappliedOffsets =>
      cursor.unapplied.changed({ added: [[cursor.nextOffset, startOffset]], removed: new Set() });
    const target = { nextOffset: startOffset, maxEventTimeMs: -1, last: UNKNOWN_RECORD, gapOf, unapplied };
    return this.#watermarks.move(cursors, target);
  }

  /** Append time of the first record the log holds. Where that does not show: now, before which all was appended. */
  async #firstHeldMs({ startOffset, endOffset }: LogEnds): Promise<number> {
    const first = startOffset < endOffset ? await recordFrom(this.#log, this.partition, startOffset) : null;
    return knownAppendTime(first?.appendedMs ?? -1) ?? this.#wallClock.nowMs();
  }

  /** The record applied last must be the one the watermark was moved for. */
  async #checkApplied(offset: number, last: LastRecord): Promise<void> {
    if (last.appendedMs < 0) return;
    const found = await recordFrom(this.#log, this.partition, offset);
    if (found === null) throw new Error(`the record applied last, at offset ${offset}, could not be read`);
    if (found === undefined || found.offset !== offset || isSameRecord(found, last)) return;
    throw madeAgain({ source: this.#source.name, partition: this.partition }, offset);
  }

  /** Nothing but transaction markers up to `nextOffset`: the watermarks pass them. */
  async #passMarkers(cursors: readonly WatermarkCursor[], nextOffset: number): Promise<void> {
    const moved = await this.#watermarks.move(cursors, { nextOffset, maxEventTimeMs: -1, last: null });
    if (!moved) {
      this.#cursors = null;
      return;
    }
    this.#observer.chunkApplied({
      views: this.views,
      partition: this.partition,
      nextOffset,
      maxEventTimeMs: highestEventTimeMs(cursors),
      records: 0,
      appendedMs: null,
      deadLetters: [],
      events: [],
      tookMs: 0,
    });
  }
}
