/** A process's share of one source: the partitions its consumer group gives it, each applied by itself. */
import { setTimeout as delay } from 'node:timers/promises';
import type { FastifyBaseLogger } from 'fastify';
import type { Clock } from '../engine/clock.ts';
import type { CompiledSource, CompiledView } from '../engine/definitions/compiled.ts';
import type { DeadLetters } from '../ingest/dead-letter.ts';
import type { KafkaLogReader } from '../ingest/log/kafka/kafka-log-reader.ts';
import type { ConsumerOptions } from '../ingest/partition-consumer.ts';
import type { StateWriting } from '../ingest/view-writer.ts';
import { IngestPartition } from '../roles/ingest-partition.ts';
import { LoggedDeadLetters } from '../roles/logged-dead-letters.ts';
import type { ViewBindings } from '../roles/view-bindings.ts';
import type { Metrics } from '../serve/metrics.ts';
import type { Backend, ReadingApart } from './backend.ts';
import type { FollowedIngest } from './log-positions.ts';

export interface SourceIngestOptions {
  readonly source: CompiledSource;
  readonly backend: Backend;
  readonly writing: StateWriting;
  readonly bindings: ViewBindings;
  readonly metrics: Metrics;
  /** Processing time. */
  readonly wallClock: Clock;
  readonly onStalled: (error: Error) => void;
  /** A partition is not applied any more, for good. */
  readonly onStopped?: (error: unknown) => void;
  /** Applies these views only, read apart from those who ingest. @default what the bindings say */
  readonly apart?: ReadingApart & {
    readonly views: readonly CompiledView[];
    readonly deadLetters: DeadLetters;
  };
  readonly logger?: FastifyBaseLogger;
  readonly consumer?: Partial<ConsumerOptions>;
}

/** The group says when it has changed, not when it is as it was: its state is looked at. */
const STATUS_EVERY_MS = 20;

interface Running {
  readonly ingest: IngestPartition;
  /** Next offset of each view, as bound, as this process found it in the store or moved it to. */
  readonly applied: Map<CompiledView, number>;
  readonly stop: AbortController;
  /** Settles when the last chunk is done. */
  readonly done: Promise<void>;
}

export class SourceIngest implements FollowedIngest {
  readonly source: CompiledSource;
  readonly #options: SourceIngestOptions;
  readonly #running = new Map<number, Running>();
  /** Partition → the end of its former run: two runs of one partition in a process would only conflict. */
  readonly #former = new Map<number, Promise<void>>();
  readonly #reader: KafkaLogReader;
  readonly #deadLetters: DeadLetters;
  #closed = false;

  constructor(options: SourceIngestOptions) {
    this.source = options.source;
    this.#options = options;
    const deadLetters = options.apart?.deadLetters ?? options.backend.deadLetters(options.source);
    this.#deadLetters =
      options.logger === undefined ? deadLetters : new LoggedDeadLetters(deadLetters, options.logger);
    this.#reader = options.backend.logReader(
      options.source,
      {
        onAssigned: (partition) => this.#begin(partition),
        onRevoked: (partition) => this.#end(partition),
        onStalled: options.onStalled,
      },
      options.apart,
    );
  }

  /** Partitions this process applies now, ascending. */
  get assigned(): readonly number[] {
    return [...this.#running.keys()].sort((a, b) => a - b);
  }

  /** Why ingest is not as it should be. */
  get failing(): string[] {
    const status = this.#reader.status();
    const reasons = this.#partitionsFailing;
    if (status.state !== 'running') {
      reasons.unshift(
        `source ${this.source.name}: the consumer group member is ${status.state}` +
          (status.reason === undefined ? '' : ` (${status.reason})`),
      );
    }
    return reasons;
  }

  /** As `failing`, but for a member that only joins its group: that is no trouble yet. */
  get troubles(): string[] {
    const { state, reason } = this.#reader.status();
    return state === 'joining' && reason === undefined ? this.#partitionsFailing : this.failing;
  }

  applied(): { view: CompiledView; partition: number; nextOffset: number }[] {
    return [...this.#running].flatMap(([partition, { applied }]) =>
      [...applied].map(([view, nextOffset]) => ({ view, partition, nextOffset })),
    );
  }

  /** The store lost what the partition has applied: its positions are read again. */
  fellBack(partition: number): void {
    if (!this.#running.has(partition)) return;
    this.#options.logger?.warn(
      { source: this.source.name, partition },
      'the store has lost its newest writes: what was lost is applied again',
    );
    this.#end(partition);
    this.#begin(partition);
  }

  /** Joins the group; partitions come when it has been balanced. */
  async start(): Promise<void> {
    await this.#reader.start();
  }

  /**
   * Resolves when the group has been balanced once and the partitions given have found their positions, or have ended:
   * one that stopped for good is readiness's to tell.
   */
  async joined(): Promise<void> {
    while (!this.#closed && this.#reader.status().state !== 'running') await delay(STATUS_EVERY_MS);
    await Promise.all(
      [...this.#running.values()].map(({ ingest, done }) => Promise.race([ingest.opened, done])),
    );
  }

  /** Begins no more chunks; resolves when those under way are done. */
  async finish(): Promise<void> {
    this.#closed = true;
    for (const partition of this.assigned) this.#end(partition);
    await Promise.all(this.#former.values());
  }

  /** Leaves the group, so that its other members need not wait for the session to end. After `finish`. */
  leave(): Promise<void> {
    return this.#reader.close();
  }

  get #partitionsFailing(): string[] {
    return [...this.#running.values()].flatMap(({ ingest }) => ingest.failing ?? []);
  }

  #begin(partition: number): void {
    if (this.#closed || this.#running.has(partition)) return;
    const { backend, writing, bindings, metrics, wallClock, logger, consumer } = this.#options;
    const { apart, onStopped } = this.#options;
    const stop = new AbortController();
    const applied: Running['applied'] = new Map();
    const ingest = new IngestPartition({
      source: this.source,
      partition,
      log: this.#reader,
      writing,
      deadLetters: this.#deadLetters,
      decoder: backend.decoder(this.source),
      metrics,
      wallClock,
      bindings,
      ...(apart === undefined ? {} : { views: () => apart.views }),
      listener: {
        applied: ({ views, nextOffset }) => {
          for (const view of views) applied.set(view, nextOffset);
          // For lag monitors only: where to go on is in the store.
          if (apart === undefined) this.#reader.commit(partition, nextOffset);
        },
        positioned: (views, _, nextOffset) => {
          for (const view of views) applied.set(view, nextOffset);
        },
        ...(onStopped === undefined ? {} : { stopped: onStopped }),
      },
      ...(logger === undefined ? {} : { logger }),
      ...(consumer === undefined ? {} : { consumer }),
    });
    const former = this.#former.get(partition) ?? Promise.resolve();
    const done = former.then(() => ingest.run(stop.signal));
    this.#running.set(partition, { ingest, applied, stop, done });
  }

  #end(partition: number): void {
    const running = this.#running.get(partition);
    if (running === undefined) return;
    running.stop.abort();
    this.#running.delete(partition);
    this.#former.set(partition, running.done);
  }
}
