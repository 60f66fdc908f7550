/**
 * One partition of a source, applied to all its views: the lanes with their metrics, log lines and readiness.
 */
import type { FastifyBaseLogger } from 'fastify';
import { type Clock, WallClock } from '../engine/clock.ts';
import type { CompiledSource, CompiledView } from '../engine/definitions/compiled.ts';
import type { LogGap } from '../engine/store/log-gap.ts';
import type { DeadLetters } from '../ingest/dead-letter.ts';
import type { RecordDecoder } from '../ingest/decoding/record-decoder.ts';
import { UnknownSchemaError } from '../ingest/decoding/registry-record-decoder.ts';
import type { LogReader } from '../ingest/log/event-log.ts';
import type { ConsumerOptions } from '../ingest/partition-consumer.ts';
import { PartitionLanes } from '../ingest/partition-lanes.ts';
import type { StateWriting, WriteCounts } from '../ingest/view-writer.ts';
import type { Metrics } from '../serve/metrics.ts';
import { tracedBetween } from '../serve/tracing.ts';
import { deferred } from './deferred.ts';
import { Freshness } from './freshness.ts';
import { reasonOf } from './reason-of.ts';
import type { ViewBindings } from './view-bindings.ts';

/** What others want to know of a partition's progress; views are as bound. All calls are synchronous and must not throw. */
export interface IngestListener {
  /** @param appendedMs append time of the last record applied; null where only markers were passed */
  applied?(chunk: {
    readonly views: readonly CompiledView[];
    readonly partition: number;
    readonly nextOffset: number;
    readonly maxEventTimeMs: number;
    readonly appendedMs: number | null;
  }): void;
  positioned?(views: readonly CompiledView[], partition: number, nextOffset: number): void;
  /** What a view lacks of the partition for good, as far as a window may ask for it. */
  missing?(view: CompiledView, partition: number, gaps: readonly LogGap[]): void;
  /** The partition is not consumed any more, for good. */
  stopped?(error: unknown): void;
}

export interface IngestPartitionOptions {
  readonly source: CompiledSource;
  readonly partition: number;
  readonly log: LogReader;
  readonly writing: StateWriting;
  readonly deadLetters: DeadLetters;
  readonly metrics: Metrics;
  readonly listener: IngestListener;
  readonly bindings: ViewBindings;
  /** What to apply, see `PartitionLanes`. @default what the bindings say */
  readonly views?: () => readonly CompiledView[];
  readonly logger?: FastifyBaseLogger;
  /** @default records are JSON */
  readonly decoder?: RecordDecoder;
  readonly consumer?: Partial<ConsumerOptions>;
  /** See `PartitionLanes`. @default 0 */
  readonly lingerMs?: number;
  /** Processing time. @default the machine's clock */
  readonly wallClock?: Clock;
}

export class IngestPartition {
  readonly source: CompiledSource;
  readonly partition: number;
  readonly #options: IngestPartitionOptions;
  readonly #lanes: PartitionLanes;
  readonly #opened = deferred<void>();
  readonly #freshness: Freshness;
  #failing: string | null = null;

  constructor(options: IngestPartitionOptions) {
    const { source, partition, log, writing, deadLetters, decoder, consumer, bindings } = options;
    const { wallClock, lingerMs, views = () => bindings.applied(source) } = options;
    this.source = source;
    this.partition = partition;
    this.#options = options;
    this.#freshness = new Freshness({
      source: source.name,
      latenessMs: source.definition.latenessMs,
      clock: writing.clock,
      wallClock: wallClock ?? new WallClock(),
      metrics: options.metrics,
    });
    this.#lanes = new PartitionLanes({
      source,
      partition,
      log,
      writing,
      deadLetters,
      views,
      isRead: (view) => bindings.isActive(view),
      observer: {
        rowsWritten: (counts) => this.#rowsWritten(counts),
        chunkApplied: (chunk) => this.#chunkApplied(chunk),
        // Said of one lane; each view's own position is reported when it moves or is read.
        caughtUp: () => {},
        positioned: (views, at, nextOffset, appliedTo) => {
          if (this.#areRead(views)) this.#freshness.positioned(appliedTo);
          options.listener.positioned?.(views, at, nextOffset);
          this.#opened.resolve();
        },
        missing: (view, at, gaps) => options.listener.missing?.(view, at, gaps),
        gap: (at, gap) => this.#gap(at, gap),
        failed: (error, final) => this.#failed(error, final),
        recovered: () => this.#recovered(),
      },
      ...(decoder === undefined ? {} : { decoder }),
      ...(consumer === undefined ? {} : { consumer }),
      ...(wallClock === undefined ? {} : { wallClock }),
      ...(lingerMs === undefined ? {} : { lingerMs }),
    });
  }

  /** Resolves when the consumers have found their positions. */
  get opened(): Promise<void> {
    return this.#opened.promise;
  }

  /** Why the partition is not consumed as it should; null: it is. */
  get failing(): string | null {
    return this.#failing;
  }

  /** Applies until the signal aborts. Never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    await this.#lanes.run(signal);
    // Taken away or stopping: it is another's to say. One that stopped for good stays paused.
    if (signal.aborted) this.#setPaused(false);
  }

  #rowsWritten(counts: ReadonlyMap<CompiledView, WriteCounts>): void {
    const { metrics } = this.#options;
    for (const [view, { applied, redelivered, duplicate, tooLate, ...writes }] of this.#countedOnce(counts)) {
      const { conflicts, coarsened, created } = writes;
      const outcomes = { applied, redelivered, duplicate, too_late: tooLate };
      for (const [outcome, n] of Object.entries(outcomes)) {
        metrics.count('millrace_events_applied_total', { view: view.name, outcome }, n);
      }
      metrics.count('millrace_write_conflicts_total', { view: view.name }, conflicts);
      metrics.count('millrace_states_coarsened_total', { view: view.name }, coarsened);
      metrics.count('millrace_states_created_total', { view: view.name }, created);
    }
  }

  #chunkApplied({
    views,
    partition,
    nextOffset,
    maxEventTimeMs,
    appendedMs,
    deadLetters,
    events,
    records,
    tookMs,
  }: Parameters<ConstructorParameters<typeof PartitionLanes>[0]['observer']['chunkApplied']>[0]): void {
    const { listener, metrics } = this.#options;
    listener.applied?.({ views, partition, nextOffset, maxEventTimeMs, appendedMs });
    const nowMs = performance.now();
    tracedBetween('millrace.apply', nowMs - tookMs, nowMs, {
      'millrace.source': this.source.name,
      'millrace.partition': partition,
      'millrace.records': records,
    });
    // After the listener: a clock that follows the events has moved.
    if (this.#areRead(views)) this.#freshness.applied(events, nextOffset);
    for (const { reason } of deadLetters) {
      metrics.count('millrace_dead_letters_total', { source: this.source.name, reason });
    }
  }

  /**
   * An event of a view counts once, in however many namespaces it is kept: where it is read. Just after a switch that one may
   * have had events from the rebuild, or from a lane of its own, that came to the former one only now: then it counts there.
   * One that is being built says nothing, as what it catches up with was counted long ago.
   */
  #countedOnce(counts: ReadonlyMap<CompiledView, WriteCounts>): ReadonlyMap<CompiledView, WriteCounts> {
    const { bindings } = this.#options;
    const counted = new Map<CompiledView, WriteCounts>();
    for (const [bound, own] of counts) {
      const view = bindings.definition(bound);
      if (!counts.has(bindings.active(view))) continue;
      if (bindings.binding(view).building?.namespace === bound.namespace) continue;
      const other = counted.get(view);
      if (other === undefined || own.applied > other.applied) counted.set(view, own);
    }
    return counted;
  }

  #areRead(views: readonly CompiledView[]): boolean {
    return views.some((view) => this.#options.bindings.isActive(view));
  }

  #gap(partition: number, { fromOffset, toOffset, afterMs, untilMs }: LogGap): void {
    const { metrics, logger } = this.#options;
    const labels = { source: this.source.name };
    metrics.count('millrace_log_gap_records_total', labels, toOffset - fromOffset);
    logger?.error(
      { ...labels, partition, fromOffset, toOffset, afterMs, untilMs },
      'records were gone before they were applied',
    );
  }

  #failed(error: unknown, final: boolean): void {
    const { metrics, logger, listener } = this.#options;
    const labels = { source: this.source.name };
    metrics.count('millrace_consumer_errors_total', labels);
    const reason = reasonOf(error);
    this.#failing = `source ${this.source.name}, partition ${this.partition}: ${reason}`;
    this.#setPaused(true, error instanceof UnknownSchemaError ? error.ids.length : 0);
    logger?.error(
      { ...labels, partition: this.partition, final, reason },
      final ? 'a consumer stopped' : 'a consumer failed; it is tried again',
    );
    if (final) listener.stopped?.(error);
  }

  #recovered(): void {
    this.#failing = null;
    this.#setPaused(false);
    this.#options.logger?.info(
      { source: this.source.name, partition: this.partition },
      'a consumer has recovered',
    );
  }

  #setPaused(paused: boolean, schemasMissing = 0): void {
    const { metrics } = this.#options;
    const labels = { source: this.source.name, partition: this.partition };
    metrics.set('millrace_partition_paused', labels, paused ? 1 : 0);
    metrics.set('millrace_schemas_missing', labels, schemasMissing);
  }
}
