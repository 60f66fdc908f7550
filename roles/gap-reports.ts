/** Gaps in the logs as readiness and metrics tell them. */
import type { PartitionLag } from '../ingest/ingest-progress.ts';
import type { OpenGap } from '../ingest/open-gaps.ts';
import type { Metrics } from '../serve/metrics.ts';

/** A sentence for each. */
export function gapWarnings(gaps: readonly OpenGap[]): string[] {
  return gaps.map(({ source, partition, fromOffset, toOffset, untilMs, views }) => {
    const until = new Date(untilMs).toISOString();
    return (
      `source ${source}, partition ${partition}: records ${fromOffset} to ${toOffset - 1}, appended before ${until}, were ` +
      `gone before they were applied; windows of ${views.join(', ')} may lack them, ` +
      `until none reaches back so far, or: millrace gaps acknowledge ${source}`
    );
  });
}

/** @param partitions all that are known, with or without a gap */
export function countGaps(
  metrics: Metrics,
  partitions: readonly Pick<PartitionLag, 'source' | 'partition'>[],
  gaps: readonly OpenGap[],
): void {
  for (const { source, partition } of partitions) {
    const open = gaps.filter((gap) => gap.source === source && gap.partition === partition);
    metrics.set('millrace_log_gaps_open', { source, partition }, open.length);
  }
}
