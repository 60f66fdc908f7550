/**
 * Applies one partition of a source's log to a set of views.
 *
 * Everything it knows is in the log and the store: it starts at the lowest watermark of its views, applies a
 * bounded chunk, moves the watermarks, and goes on. When a watermark cannot be moved (another owner moved it,
 * or the store came back from an earlier moment) it reads them again and rewinds. Any number of consumers of
 * one partition end in the right values; one is enough.
 */
import type { CompiledSource, CompiledView } from '../engine/definitions/compiled.ts';
import { decodeEvent } from '../engine/definitions/decode-event.ts';
import { type EventId, positionEventId, textEventId } from '../engine/event-id.ts';
import type { MoveWatermark, Watermark, WatermarkName } from '../engine/store/tile-store.ts';
import type { IncomingRow } from '../engine/tiles/state-update.ts';
import type { DeadLetter, DeadLetters } from './dead-letter.ts';
import { jsonRecordDecoder } from './decoding/json-record.ts';
import type { RecordDecoder } from './decoding/record-decoder.ts';
import type { LogReader, LogRecord } from './log/event-log.ts';
import { type StateWriting, ViewWriter, type WriteCounts } from './view-writer.ts';

export interface ConsumerOptions {
  /** Records applied before the watermarks move. Default 2,000. */
  readonly chunkRecords: number;
  /** Bytes of records likewise. Default 4 MiB. */
  readonly chunkBytes: number;
}

export const DEFAULT_CONSUMER_OPTIONS: ConsumerOptions = { chunkRecords: 2_000, chunkBytes: 4 * 1024 * 1024 };

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
  /** Watermarks were (re-)read; `nextOffset` is where the consumer goes on. */
  positioned(partition: number, nextOffset: number): void;
  /** Records between the watermark and the start of the log are gone. */
  gap(partition: number, fromOffset: number, toOffset: number): void;
}

/** The log is not the one the watermarks were written for, or ends before them. Never retryable. */
export class LogReplacedError extends Error {
  override readonly name = 'LogReplacedError';
}

/** A log that is read over the network may need several tries to show a record that is there. */
const LAST_APPLIED_TRIES = 40;

const START_AFRESH =
  'Restore it; or, to start afresh, use another store (the data directory, or --redis-prefix).';

interface Cursor {
  readonly view: CompiledView;
  readonly shard: number;
  readonly name: WatermarkName;
  token: string;
  nextOffset: number;
  maxEventTimeMs: number;
  appendedMs: number;
  incarnation: string;
}

export class PartitionConsumer {
  readonly partition: number;
  readonly views: readonly CompiledView[];
  readonly #source: CompiledSource;
  readonly #log: LogReader;
  readonly #writing: StateWriting;
  readonly #writers: readonly ViewWriter[];
  readonly #deadLetters: DeadLetters;
  readonly #observer: ConsumerObserver;
  readonly #options: ConsumerOptions;
  readonly #decoder: RecordDecoder;
  readonly #decode: ReturnType<typeof decodeEvent>;
  #cursors: Cursor[] | null = null;
  #identity = '';

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
  }) {
    this.partition = args.partition;
    this.views = args.views;
    this.#source = args.source;
    this.#log = args.log;
    this.#writing = args.writing;
    this.#writers = args.views.map((view) => new ViewWriter(view, args.writing));
    this.#deadLetters = args.deadLetters;
    this.#observer = args.observer;
    this.#options = { ...DEFAULT_CONSUMER_OPTIONS, ...args.options };
    this.#decoder = args.decoder ?? jsonRecordDecoder();
    // Keys are bounded at the door and per view: a view added later must not make accepted events undecodable.
    this.#decode = decodeEvent(args.source);
  }

  /** The next offset to read; null before the watermarks were read. */
  get nextOffset(): number | null {
    return this.#cursors === null ? null : Math.min(...this.#cursors.map((cursor) => cursor.nextOffset));
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
    const fromOffset = Math.min(...cursors.map((cursor) => cursor.nextOffset));
    const { records, nextOffset } = await this.#log.read({
      partition: this.partition,
      fromOffset,
      maxRecords: this.#options.chunkRecords,
      maxBytes: this.#options.chunkBytes,
    });
    if (records.length === 0) {
      if (nextOffset > fromOffset) await this.#passGap(cursors, nextOffset);
      else this.#observer.caughtUp(this.partition, fromOffset);
      return 0;
    }
    await this.#decoder.prepare(records.map(({ value }) => value));
    const { rows, deadLetters, maxEventTimeMs } = this.#route(records, cursors);
    if (deadLetters.length > 0) await this.#deadLetters.write(deadLetters);
    const counts = new Map<CompiledView, WriteCounts>();
    // Views are independent: together they share the store's commits.
    await Promise.all(
      this.#writers.map(async (writer) => {
        counts.set(writer.view, await writer.apply(rows.get(writer.view)!));
      }),
    );

    const last = records[records.length - 1]!;
    if (!(await this.#moveWatermarks(cursors, nextOffset, maxEventTimeMs, last.appendedMs))) {
      this.#cursors = null;
      return records.length;
    }
    this.#observer.chunkApplied({
      views: this.views,
      partition: this.partition,
      nextOffset,
      maxEventTimeMs: Math.max(...cursors.map((cursor) => cursor.maxEventTimeMs)),
      records: records.length,
      appendedMs: last.appendedMs,
      counts,
      deadLetters,
    });
    return records.length;
  }

  /** Waits for records beyond the current position. */
  async waitForRecords(signal: AbortSignal): Promise<void> {
    await this.#log.waitFor(this.partition, this.nextOffset ?? 0, signal);
  }

  async #open(): Promise<Cursor[]> {
    const { store, shards } = this.#writing;
    this.#identity = await this.#log.identity(this.partition);
    const { startOffset: firstOffset } = await this.#log.ends(this.partition);
    const names = this.views.map((view) => ({
      namespace: view.namespace,
      source: this.#source.name,
      partition: this.partition,
    }));
    const cursors: Cursor[] = [];
    for (let shard = 0; shard < shards; shard++) {
      // The incarnation first: should the store fall back in between, moving the watermark will fail.
      const incarnation = await store.incarnation(shard);
      const watermarks = await this.#watermarks(shard, names, incarnation, firstOffset);
      this.views.forEach((view, i) => {
        const { token, nextOffset, maxEventTimeMs, appendedMs } = watermarks[i]!;
        const name = names[i]!;
        cursors.push({ view, shard, name, incarnation, token, nextOffset, maxEventTimeMs, appendedMs });
      });
    }
    // The log's ends after the watermarks: another owner may have moved them meanwhile, with the log.
    const { startOffset, endOffset } = await this.#log.ends(this.partition);
    for (const cursor of cursors) {
      if (cursor.nextOffset > endOffset) {
        throw new LogReplacedError(
          `the log of source ${this.#source.name}, partition ${this.partition}, ends at ${endOffset} but was ` +
            `applied up to ${cursor.nextOffset}: it lost records or is another log. ${START_AFRESH}`,
        );
      }
    }
    // Once for all views and shards: it is the log that has the gap.
    const lowest = Math.min(...cursors.map((cursor) => cursor.nextOffset));
    if (lowest < startOffset) this.#observer.gap(this.partition, lowest, startOffset);
    for (const cursor of cursors) cursor.nextOffset = Math.max(cursor.nextOffset, startOffset);
    for (const [nextOffset, appendedMs] of new Map(cursors.map((c) => [c.nextOffset, c.appendedMs]))) {
      if (nextOffset > startOffset) await this.#checkLastApplied(nextOffset - 1, appendedMs);
    }
    this.#observer.positioned(this.partition, Math.min(...cursors.map((cursor) => cursor.nextOffset)));
    return cursors;
  }

  /**
   * The record applied last must be the one the watermark was moved for: a topic that was deleted and made again
   * under the same name may have grown past it meanwhile.
   */
  async #checkLastApplied(offset: number, appendedMs: number): Promise<void> {
    if (appendedMs < 0) return;
    const args = { partition: this.partition, fromOffset: offset, maxRecords: 1, maxBytes: 1 };
    for (let tries = 0; tries < LAST_APPLIED_TRIES; tries++) {
      const { records, nextOffset } = await this.#log.read(args);
      if (nextOffset === offset) continue;
      const found = records[0];
      if (found === undefined || found.offset !== offset || found.appendedMs === appendedMs) return;
      throw new LogReplacedError(
        `the log of source ${this.#source.name}, partition ${this.partition}, holds another record at offset ` +
          `${offset} than the one applied: it was deleted and made again. ${START_AFRESH}`,
      );
    }
    throw new Error(`the record applied last, at offset ${offset}, could not be read`);
  }

  /** Nothing but transaction markers up to `nextOffset`: the watermarks pass them. */
  async #passGap(cursors: readonly Cursor[], nextOffset: number): Promise<void> {
    const moved = await this.#moveWatermarks(cursors, nextOffset, -1, null);
    if (!moved) {
      this.#cursors = null;
      return;
    }
    this.#observer.chunkApplied({
      views: this.views,
      partition: this.partition,
      nextOffset,
      maxEventTimeMs: Math.max(...cursors.map((cursor) => cursor.maxEventTimeMs)),
      records: 0,
      appendedMs: null,
      counts: new Map(),
      deadLetters: [],
    });
  }

  /**
   * The watermarks of a shard; those that are absent are made first. A consumer never moves a watermark *from*
   * absent past records it applied: the store could have been wiped in between and be just as absent again.
   */
  async #watermarks(
    shard: number,
    names: readonly WatermarkName[],
    incarnation: string,
    startOffset: number,
  ): Promise<Watermark[]> {
    const { store, newToken } = this.#writing;
    const present = await store.readWatermarks(shard, names);
    const absent = names.filter((_, i) => present[i] === null);
    if (absent.length > 0) {
      const next = {
        nextOffset: startOffset,
        maxEventTimeMs: -1,
        appendedMs: -1,
        clockMs: 0,
        logIdentity: this.#identity,
      };
      await store.moveWatermarks(
        absent.map((name) => ({
          shard,
          name,
          expected: null,
          incarnation,
          next: { ...next, token: newToken(null) },
        })),
      );
      return this.#watermarks(shard, names, await store.incarnation(shard), startOffset);
    }
    for (const watermark of present) {
      if (watermark!.logIdentity !== this.#identity) {
        throw new LogReplacedError(
          `the log of source ${this.#source.name}, partition ${this.partition}, is not the one this store was ` +
            `filled from. ${START_AFRESH}`,
        );
      }
    }
    return present as Watermark[];
  }

  /** Decodes records and sorts the rows by view and key. */
  #route(
    records: readonly LogRecord[],
    cursors: readonly Cursor[],
  ): {
    rows: Map<CompiledView, Map<string, IncomingRow[]>>;
    deadLetters: DeadLetter[];
    maxEventTimeMs: number;
  } {
    const rows = new Map(this.views.map((view) => [view, new Map<string, IncomingRow[]>()]));
    const from = new Map<CompiledView, number>();
    for (const { view, nextOffset } of cursors) {
      from.set(view, Math.min(from.get(view) ?? Number.POSITIVE_INFINITY, nextOffset));
    }
    const deadLetters: DeadLetter[] = [];
    let maxEventTimeMs = -1;
    for (const record of records) {
      const letter = (reason: DeadLetter['reason'], message: string, view: string | null): void => {
        deadLetters.push({ ...record, reason, message, source: this.#source.name, view });
      };
      const decoded = this.#decoder.decode(record.value);
      if (!decoded.ok) {
        letter(decoded.reason, decoded.message, null);
        continue;
      }
      const event = this.#decode(decoded.data);
      if (!event.ok) {
        letter('breaks_schema', event.message, null);
        continue;
      }
      // 0: the record does not say when it was appended.
      if (
        record.appendedMs > 0 &&
        event.eventTimeMs > record.appendedMs + this.#source.definition.maxFutureMs
      ) {
        letter('too_far_in_future', 'the event time is too far ahead of the time of its append', null);
        continue;
      }
      maxEventTimeMs = Math.max(maxEventTimeMs, event.eventTimeMs);
      const id = event.eventId ?? positionEventId(record.partition, record.offset);
      const dedupeId: EventId | null =
        event.eventId ?? (record.stamp === null ? null : textEventId(record.stamp));
      for (const [view, byKey] of rows) {
        if (record.offset < from.get(view)!) continue;
        let key: string | null;
        let values: IncomingRow['values'] | null;
        try {
          key = view.keyOf(event.row);
          if (key === null) continue;
          values = view.project(event.row);
        } catch (error) {
          const message =
            error instanceof Error ? error.message : 'the function threw something that is no Error';
          letter('filter_or_projection', message, view.name);
          continue;
        }
        if (values === null) continue;
        const row = {
          partition: record.partition,
          offset: record.offset,
          appendedMs: record.appendedMs,
          timeMs: event.eventTimeMs,
          id,
          dedupeId,
          values,
        };
        const sameKey = byKey.get(key);
        if (sameKey === undefined) byKey.set(key, [row]);
        else sameKey.push(row);
      }
    }
    return { rows, deadLetters, maxEventTimeMs };
  }

  async #moveWatermarks(
    cursors: readonly Cursor[],
    nextOffset: number,
    maxEventTimeMs: number,
    /** null: as it was. */
    appendedMs: number | null,
  ): Promise<boolean> {
    const moves: MoveWatermark[] = [];
    const moving: Cursor[] = [];
    for (const cursor of cursors) {
      if (cursor.nextOffset >= nextOffset) continue;
      moving.push(cursor);
      moves.push({
        shard: cursor.shard,
        name: cursor.name,
        expected: cursor.token,
        incarnation: cursor.incarnation,
        next: {
          nextOffset,
          token: this.#writing.newToken(cursor.token),
          maxEventTimeMs: Math.max(cursor.maxEventTimeMs, maxEventTimeMs),
          appendedMs: appendedMs ?? cursor.appendedMs,
          clockMs: this.#writing.clock.nowMs(),
          logIdentity: this.#identity,
        },
      });
    }
    const moved = await this.#writing.store.moveWatermarks(moves);
    moves.forEach((move, i) => {
      if (!moved[i]) return;
      moving[i]!.token = move.next.token;
      moving[i]!.nextOffset = nextOffset;
      moving[i]!.maxEventTimeMs = move.next.maxEventTimeMs;
      moving[i]!.appendedMs = move.next.appendedMs;
    });
    return moved.every(Boolean);
  }
}
