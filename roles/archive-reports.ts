/** What a process says of the partitions that it archives. */
import type { Metrics } from '../serve/metrics.ts';
import type { ArchivePartition } from './archive-partition.ts';

/** @param endOf the end of a partition's log; undefined: not known */
export function countArchiveLag(
  metrics: Metrics,
  partitions: Iterable<ArchivePartition>,
  endOf: (source: string, partition: number) => number | undefined,
): void {
  for (const { source, partition, archivedTo } of partitions) {
    const endOffset = endOf(source.name, partition);
    if (archivedTo === null || endOffset === undefined) continue;
    const labels = { source: source.name, partition };
    metrics.set('millrace_archive_lag_records', labels, Math.max(0, endOffset - archivedTo));
  }
}
