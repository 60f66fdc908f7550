/** One partition's archive with its metrics and log lines. What goes wrong here is told, and nothing else waits for it. */
import type { FastifyBaseLogger } from 'fastify';
import type { Archive } from '../archive/archive.ts';
import { PartitionArchiver } from '../archive/partition-archiver.ts';
import type { Clock } from '../engine/clock.ts';
import type { CompiledSource } from '../engine/definitions/compiled.ts';
import type { RecordDecoder } from '../ingest/decoding/record-decoder.ts';
import type { LogReader } from '../ingest/log/event-log.ts';
import type { Metrics } from '../serve/metrics.ts';
import { reasonOf } from './reason-of.ts';

export interface ArchivePartitionOptions {
  readonly archive: Archive;
  readonly source: CompiledSource;
  readonly partition: number;
  readonly log: LogReader;
  readonly decoder: RecordDecoder;
  readonly metrics: Metrics;
  /** Processing time. */
  readonly wallClock: Clock;
  readonly logger?: FastifyBaseLogger;
}

export class ArchivePartition {
  readonly source: CompiledSource;
  readonly partition: number;
  readonly #options: ArchivePartitionOptions;
  readonly #archiver: PartitionArchiver;
  #failing: string | null = null;
  #archivedTo: number | null = null;

  constructor(options: ArchivePartitionOptions) {
    const { source, partition, metrics, logger } = options;
    this.#options = options;
    this.source = source;
    this.partition = partition;
    const labels = { source: source.name };
    const place = { ...labels, partition };
    this.#archiver = new PartitionArchiver({
      ...options,
      observer: {
        positioned: (nextOffset) => {
          this.#archivedTo = nextOffset;
        },
        committed: ({ files }) => {
          const sum = (of: 'rows' | 'bytes'): number => files.reduce((total, file) => total + file[of], 0);
          metrics.count('millrace_archive_rows_total', labels, sum('rows'));
          metrics.count('millrace_archive_bytes_total', labels, sum('bytes'));
          metrics.count('millrace_archive_files_total', labels, files.length);
        },
        gap: ({ fromOffset, toOffset, afterMs, untilMs }, isFirst) => {
          if (isFirst) {
            logger?.warn(
              { ...place, toOffset },
              'the archive begins where the log does: it has lost what was before',
            );
            return;
          }
          metrics.count('millrace_archive_gap_records_total', labels, toOffset - fromOffset);
          const gap = { fromOffset, toOffset, afterMs, untilMs };
          logger?.error({ ...place, ...gap }, 'records were gone before they were archived');
        },
        failed: (error, final) => {
          metrics.count('millrace_archive_errors_total', labels);
          metrics.set('millrace_archive_paused', place, 1);
          const reason = reasonOf(error);
          this.#failing = `the archive of source ${source.name}, partition ${partition}: ${reason}`;
          logger?.error(
            { ...place, final, reason },
            final
              ? 'the archive of a partition stopped'
              : 'a partition could not be archived; it is tried again',
          );
        },
        recovered: () => {
          this.#failing = null;
          metrics.set('millrace_archive_paused', place, 0);
          logger?.info(place, 'the archive of a partition has recovered');
        },
      },
    });
  }

  /** Why the partition is not archived as it should be; null: it is. */
  get failing(): string | null {
    return this.#failing;
  }

  /** Everything below it is archived, or was gone; null: it is not known yet. */
  get archivedTo(): number | null {
    return this.#archivedTo;
  }

  /** Archives until the signal aborts, then commits what waits. Never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    const { metrics } = this.#options;
    const place = { source: this.source.name, partition: this.partition };
    await this.#archiver.run(signal);
    if (!signal.aborted) return;
    // Taken away or stopping: it is another's to say.
    metrics.set('millrace_archive_paused', place, 0);
    metrics.set('millrace_archive_lag_records', place, 0);
  }
}
