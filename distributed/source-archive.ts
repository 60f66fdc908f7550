/**
 * A process's share of one source's archive: the partitions that a consumer group of its own gives it. Its reader is not that
 * of ingest, as two positions in one reader would make it seek back and forth; and where it fails, it is made again, and
 * ingest goes on.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { FastifyBaseLogger } from 'fastify';
import type { Archive } from '../archive/archive.ts';
import type { Clock } from '../engine/clock.ts';
import type { CompiledSource } from '../engine/definitions/compiled.ts';
import type { KafkaLogReader } from '../ingest/log/kafka/kafka-log-reader.ts';
import { ArchivePartition } from '../roles/archive-partition.ts';
import { aborted, deferred } from '../roles/deferred.ts';
import { reasonOf } from '../roles/reason-of.ts';
import type { Metrics } from '../serve/metrics.ts';
import type { Backend, ReadingApart } from './backend.ts';

export interface SourceArchiveOptions {
  readonly source: CompiledSource;
  readonly archive: Archive;
  readonly backend: Backend;
  readonly metrics: Metrics;
  /** Processing time. */
  readonly wallClock: Clock;
  /** Ends it. */
  readonly signal: AbortSignal;
  readonly logger?: FastifyBaseLogger;
}

/** It is in no hurry: fewer fetches, and little that waits in memory before it is read. */
const READING: ReadingApart = {
  groupSuffix: 'archive',
  maxQueuedBytes: { partition: 1024 * 1024, total: 8 * 1024 * 1024 },
  lingerMs: 1_000,
};
const AGAIN_AFTER_MS = 5_000;

interface Running {
  readonly partition: ArchivePartition;
  readonly stop: AbortController;
  /** Settles when what waited is committed, or left. */
  readonly done: Promise<void>;
}

export class SourceArchive {
  /** Settles when it has ended, and left its group. Never rejects. */
  readonly done: Promise<void>;
  readonly #options: SourceArchiveOptions;
  readonly #running = new Map<number, Running>();
  /** Partition → the end of its former run. */
  readonly #former = new Map<number, Promise<void>>();
  #failing: string | null = null;

  constructor(options: SourceArchiveOptions) {
    this.#options = options;
    this.done = this.#run();
  }

  /** Those that this process archives now. */
  get partitions(): ArchivePartition[] {
    return [...this.#running.values()].map(({ partition }) => partition);
  }

  /** What is not archived as it should be, and why. */
  get failing(): string[] {
    const failing = this.partitions.flatMap((partition) => partition.failing ?? []);
    return this.#failing === null ? failing : [this.#failing, ...failing];
  }

  async #run(): Promise<void> {
    const { source, backend, signal, metrics, logger } = this.#options;
    while (!signal.aborted) {
      const stalled = deferred<never>();
      let reader: KafkaLogReader | null = null;
      try {
        const listener = {
          onAssigned: (partition: number) => this.#begin(reader!, partition),
          onRevoked: (partition: number) => this.#end(partition),
          onStalled: stalled.reject,
        };
        reader = backend.logReader(source, listener, READING);
        await reader.start();
        this.#failing = null;
        await Promise.race([stalled.promise, aborted(signal)]);
      } catch (error) {
        const reason = reasonOf(error);
        this.#failing = `the archive of source ${source.name}: ${reason}`;
        metrics.count('millrace_archive_errors_total', { source: source.name });
        logger?.error(
          { source: source.name, reason },
          'the log could not be read for the archive; it is tried again',
        );
      }
      for (const partition of this.#running.keys()) this.#end(partition);
      await Promise.all(this.#former.values());
      await reader?.close();
      if (!signal.aborted) await delay(AGAIN_AFTER_MS, undefined, { signal }).catch(() => {});
    }
  }

  #begin(log: KafkaLogReader, partition: number): void {
    if (this.#options.signal.aborted || this.#running.has(partition)) return;
    const { source, archive, backend, metrics, wallClock, logger } = this.#options;
    const archived = new ArchivePartition({
      archive,
      source,
      partition,
      log,
      decoder: backend.decoder(source),
      metrics,
      wallClock,
      ...(logger === undefined ? {} : { logger }),
    });
    const stop = new AbortController();
    const former = this.#former.get(partition) ?? Promise.resolve();
    const done = former.then(() => archived.run(stop.signal));
    this.#running.set(partition, { partition: archived, stop, done });
  }

  #end(partition: number): void {
    const running = this.#running.get(partition);
    if (running === undefined) return;
    running.stop.abort();
    this.#running.delete(partition);
    this.#former.set(partition, running.done);
  }
}
