/**
 * Events pushed over HTTP (or by the CLI) into the log of one source.
 *
 * 1. Each event is decoded; what cannot be used is listed as rejected.
 * 2. Known repetitions of an id are counted as duplicates and not written again. An event that is still being
 *    written counts as known: its repetition is acknowledged only when the first is durable, and fails with it.
 * 3. The rest is appended in one call, all or nothing, and durable before the push is acknowledged. A source
 *    without event ids gets one stamped on every event, so that redelivery cannot double it.
 * 4. With `wait: 'applied'` the push waits until every view of the source has applied what the log then holds.
 */
import { randomUUID } from 'node:crypto';
import { setImmediate as immediate } from 'node:timers/promises';
import type { Clock } from '../engine/clock.ts';
import type { CompiledSource } from '../engine/definitions/compiled.ts';
import { type DecodedEvent, type DecodeResult, decodeEvent } from '../engine/definitions/decode-event.ts';
import { toJsonValue } from '../engine/definitions/to-json-value.ts';
import { LinkedList } from '../engine/linked-list.ts';
import type { IngestProgress } from './ingest-progress.ts';
import type { AppendRecord, LogReader, LogWriter } from './log/event-log.ts';
import { AppendQueueFullError, RecordTooLargeError } from './log/kafka/kafka-errors.ts';
import { LogClosedError, LogFullError } from './log/log-errors.ts';
import type { PushBudget } from './push-budget.ts';
import { PushError } from './push-error.ts';
import { type IdKey, type KnownId, PushIds } from './push-ids.ts';
import { endsShort, type LogShortfall } from './replaced-log.ts';

/** An event that was not even read: a line that is no JSON, for instance. */
export interface UnreadableEvent {
  readonly ok: false;
  readonly code: string;
  readonly column: string | null;
  readonly message: string;
}

export interface RejectedEvent {
  /** Position in the push, from 0. */
  readonly index: number;
  readonly code: string;
  readonly column: string | null;
  readonly message: string;
}

export interface PushResult {
  readonly accepted: number;
  /** Repetitions of an id, as far as known by now. */
  readonly duplicates: number;
  readonly rejected: readonly RejectedEvent[];
}

export interface PushOptions {
  /** `durable`: flushed to disk. `applied`: also visible to reads with T ≥ the event's time. @default 'durable' */
  readonly wait?: 'durable' | 'applied';
  /** Checks and counts only. @default false */
  readonly dryRun?: boolean;
  /** Size of the request, for the limit of bytes in flight. @default 200 per event */
  readonly bytes?: number;
}

export interface PushGatewayOptions {
  readonly source: CompiledSource;
  readonly log: LogWriter;
  readonly progress: IngestProgress;
  /** Processing time. */
  readonly clock: Clock;
  readonly budget: PushBudget;
  /** Ids remembered. */
  readonly recentIds: number;
  /** How long `wait: 'applied'` waits, ms. */
  readonly appliedTimeoutMs: number;
}

export const TOO_FAR_IN_FUTURE = 'too_far_in_future';

const DEFAULT_EVENT_BYTES = 200;
/** Events decoded before others get a turn on the thread: some 2 ms. */
const SLICE_EVENTS = 500;
const REFILL_CHUNK = { maxRecords: 2_000, maxBytes: 4 * 1024 * 1024 };

/** An event to be written, and what to do about its id. */
interface Accepted {
  readonly event: DecodedEvent;
  readonly key: IdKey | null;
  readonly known: KnownId;
}

export class PushGateway {
  readonly source: CompiledSource;
  readonly #options: PushGatewayOptions;
  readonly #ids: PushIds;
  readonly #decode: (data: unknown) => DecodeResult;
  readonly #inFlight = new LinkedList<Promise<unknown>>();
  #nextPartition = 0;
  #closed = false;
  #isFull = false;

  constructor(options: PushGatewayOptions) {
    this.source = options.source;
    this.#options = options;
    this.#ids = new PushIds({
      max: options.recentIds,
      horizonMs: options.source.definition.dedupeHorizonMs,
    });
    this.#decode = decodeEvent(options.source, { checkKeys: true });
  }

  /** Whether the log had no room for what was pushed last. */
  get isFull(): boolean {
    return this.#isFull;
  }

  /** One event as JSON data → a typed row, or why not. */
  decode(data: unknown): DecodeResult {
    return this.#decode(data);
  }

  /** Whether the event's time is too far ahead of the processing time. */
  isTooFarInFuture(event: DecodedEvent, nowMs = this.#options.clock.nowMs()): boolean {
    return event.eventTimeMs > nowMs + this.source.definition.maxFutureMs;
  }

  /** Reads the newest ids from the log, so that a restart does not forget what was pushed just before. */
  async refill(log: LogReader): Promise<void> {
    if (this.source.definition.eventId === null) return;
    const { recentIds } = this.#options;
    const decode = decodeEvent(this.source);
    const partitions = await log.partitions();
    const text = new TextDecoder();
    for (let partition = 0; partition < partitions; partition++) {
      const { startOffset, endOffset } = await log.ends(partition);
      let offset = Math.max(startOffset, endOffset - Math.floor(recentIds / partitions));
      while (offset < endOffset) {
        const { records } = await log.read({ partition, fromOffset: offset, ...REFILL_CHUNK });
        if (records.length === 0) break;
        for (const { value } of records) {
          const event = decode(parse(text.decode(value!)));
          if (!event.ok || event.eventId === null) continue;
          const key = PushIds.key(event.eventId);
          if (this.#ids.find(key, event.eventTimeMs) === null) {
            this.#ids.add(key, { timeMs: event.eventTimeMs, pending: null });
          }
        }
        offset = records[records.length - 1]!.offset + 1;
        await immediate();
      }
    }
  }

  /** @throws PushError when nothing of the push is acknowledged */
  async push(events: readonly unknown[], options: PushOptions = {}): Promise<PushResult> {
    return this.pushDecoded(events.length, (index) => this.#decode(events[index]), options);
  }

  /**
   * As `push`, for events that are decoded one by one as they are needed.
   * @throws PushError when nothing of the push is acknowledged
   */
  async pushDecoded(
    count: number,
    eventAt: (index: number) => DecodeResult | UnreadableEvent,
    options: PushOptions = {},
  ): Promise<PushResult> {
    if (this.#closed)
      throw new PushError('shutting_down', 'the process is stopping and takes no more events');
    const release = this.#options.budget.reserve(options.bytes ?? count * DEFAULT_EVENT_BYTES, count);
    const pushing = this.#push(count, eventAt, options).finally(release);
    const node = this.#inFlight.add(pushing);
    try {
      return await pushing;
    } finally {
      this.#inFlight.remove(node);
    }
  }

  /** Takes no more pushes and resolves when those in flight are done. Idempotent. */
  async close(): Promise<void> {
    this.#closed = true;
    await Promise.allSettled(this.#inFlight);
  }

  async #push(
    count: number,
    eventAt: (index: number) => DecodeResult | UnreadableEvent,
    { wait = 'durable', dryRun = false }: PushOptions,
  ): Promise<PushResult> {
    if (!dryRun) this.#checkLog();
    const rejected: RejectedEvent[] = [];
    const accepted: Accepted[] = [];
    /** Ids of this very push; a dry run must leave no other trace. */
    const own = new PushIds({
      max: Number.POSITIVE_INFINITY,
      horizonMs: this.source.definition.dedupeHorizonMs,
    });
    /** Appends of other pushes that this one's duplicates depend on. */
    const others = new Set<Promise<void>>();
    let duplicates = 0;
    const appending = deferred();
    const nowMs = this.#options.clock.nowMs();
    try {
      for (let index = 0; index < count; index++) {
        if (index > 0 && index % SLICE_EVENTS === 0) await immediate();
        const event = eventAt(index);
        if (!event.ok) {
          rejected.push({ index, code: event.code, column: event.column, message: event.message });
          continue;
        }
        if (this.isTooFarInFuture(event, nowMs)) {
          rejected.push({ index, code: TOO_FAR_IN_FUTURE, ...this.#futureProblem() });
          continue;
        }
        const key = event.eventId === null ? null : PushIds.key(event.eventId);
        const known: KnownId = { timeMs: event.eventTimeMs, pending: appending.promise };
        if (key !== null) {
          const first = own.find(key, event.eventTimeMs) ?? this.#ids.find(key, event.eventTimeMs);
          if (first !== null) {
            duplicates++;
            if (first.pending !== null && first.pending !== appending.promise) others.add(first.pending);
            continue;
          }
          own.add(key, known);
          if (!dryRun) this.#ids.add(key, known);
        }
        accepted.push({ event, key, known });
      }
      if (dryRun) return { accepted: accepted.length, duplicates, rejected };
      await this.#append(accepted, nowMs);
      for (const { known } of accepted) known.pending = null;
      appending.resolve();
    } catch (error) {
      for (const { key, known } of accepted) if (key !== null) this.#ids.forget(key, known);
      appending.reject(error);
      throw error;
    }
    for (const other of others) await other;
    if (wait === 'applied' && accepted.length + duplicates > 0) await this.#waitUntilApplied();
    return { accepted: accepted.length, duplicates, rejected };
  }

  async #append(accepted: readonly Accepted[], appendedMs: number): Promise<void> {
    if (accepted.length === 0) return;
    const { log, progress } = this.#options;
    const records: AppendRecord[] = [];
    let offsets: number[];
    const before = progress.appliedOffsets(this.source.name);
    try {
      const partitions = await log.partitions();
      for (const { event } of accepted) {
        if (records.length > 0 && records.length % SLICE_EVENTS === 0) await immediate();
        const { row, eventTimeMs, eventId } = event;
        records.push({
          // An event and its repetition meet in one partition, where neither can overtake the other.
          partition:
            eventId === null
              ? this.#nextPartition++ % partitions
              : ((eventId.lo ^ eventId.hi) >>> 0) % partitions,
          appendedMs,
          stamp: eventId === null ? randomUUID() : null,
          value: Buffer.from(JSON.stringify(toJsonValue(row))),
          eventTimeMs,
        });
      }
      offsets = await log.append(records);
      this.#isFull = false;
    } catch (error) {
      this.#isFull = error instanceof LogFullError;
      throw asPushError(error);
    }
    const ends = new Map<number, number>();
    records.forEach(({ partition }, i) => {
      ends.set(partition, Math.max(ends.get(partition) ?? 0, offsets[i]! + 1));
    });
    for (const [partition, endOffset] of ends) progress.appended(this.source.name, partition, endOffset);
    records.forEach(({ partition }, i) => {
      const nextOffset = before[partition] ?? 0;
      // The log gave a place to the record that had been applied before it was sent: nobody has looked at its end since.
      if (offsets[i]! < nextOffset) throw this.#endsShort(partition, { endOffset: offsets[i]!, nextOffset });
    });
  }

  /** What the log takes then would be acknowledged, and never count. @throws {PushError} */
  #checkLog(): void {
    const short = this.#options.progress.shortLog(this.source.name);
    if (short !== null) throw this.#endsShort(short.partition, short);
  }

  #endsShort(partition: number, shortfall: LogShortfall): PushError {
    const cause = endsShort({ source: this.source.name, partition }, shortfall);
    return new PushError('log_unavailable', cause.message, { cause });
  }

  /** Waits for the ends of all partitions: where the first of a duplicate lies is not known. */
  async #waitUntilApplied(): Promise<void> {
    const { progress, appliedTimeoutMs } = this.#options;
    const timeout = AbortSignal.timeout(appliedTimeoutMs);
    await progress.waitUntilApplied(this.source.name, progress.ends(this.source.name), timeout);
    if (timeout.aborted) {
      throw new PushError(
        'not_applied_in_time',
        'the events are recorded, but were not applied to every view in time; pushing them again is safe where they have an event id',
      );
    }
  }

  #futureProblem(): { column: string; message: string } {
    const { eventTime, maxFutureMs } = this.source.definition;
    return {
      column: eventTime,
      message: `column '${eventTime}' is more than ${maxFutureMs} ms ahead of now`,
    };
  }
}

function asPushError(error: unknown): PushError {
  if (error instanceof PushError) return error;
  if (error instanceof LogFullError) {
    return new PushError('log_full', 'there is no room left for events: free some, then try again', {
      cause: error,
    });
  }
  if (error instanceof RecordTooLargeError) {
    return new PushError('event_too_large', error.message, { cause: error });
  }
  if (error instanceof AppendQueueFullError) {
    return new PushError('overloaded', 'too many events wait for the log: try again shortly', {
      cause: error,
    });
  }
  if (error instanceof LogClosedError) {
    return new PushError('shutting_down', 'the process is stopping and takes no more events', {
      cause: error,
    });
  }
  return new PushError('log_unavailable', 'the events could not be recorded', { cause: error });
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function deferred(): { promise: Promise<void>; resolve: () => void; reject: (error: unknown) => void } {
  let resolve!: () => void;
  let reject!: (error: unknown) => void;
  const promise = new Promise<void>((resolvePromise, rejectPromise) => {
    resolve = resolvePromise;
    reject = rejectPromise;
  });
  // Often nobody waits for it.
  promise.catch(() => {});
  return { promise, resolve, reject };
}
