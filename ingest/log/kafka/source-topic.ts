/** Whether a topic gives its consumers what windows are made of: all events they reach back to, and times to trust. */
import { spellDuration } from '../../../engine/windows/duration.ts';

export interface SourceTopicSettings {
  /** Whether append times are the brokers' (`message.timestamp.type`); otherwise they are the producers' word. */
  readonly logAppendTime: boolean;
  /** Infinity: for ever. */
  readonly retentionMs: number;
  /** Of a partition; Infinity: without a limit. */
  readonly retentionBytes: number;
}

/** Whose word append times are, where they are not the brokers'; null: all is well. */
export function appendTimeProblem({ logAppendTime }: SourceTopicSettings): string | null {
  if (logAppendTime) return null;
  return (
    'append times of this topic are its producers’ word (message.timestamp.type is CreateTime): a wrong clock there ' +
    'shifts `maxFuture` and the freshness shown here'
  );
}

/**
 * What to change so that events do not go too early; empty where all is well.
 * @param neededMs how far back the source's views reach; Infinity: to its beginning
 */
export function retentionProblems(
  { retentionMs, retentionBytes }: SourceTopicSettings,
  neededMs: number,
): string[] {
  const problems: string[] = [];
  if (retentionMs < neededMs) {
    const forever = neededMs === Number.POSITIVE_INFINITY;
    problems.push(
      `retention.ms is ${retentionMs} (${spellDuration(retentionMs)}), but views reach back ` +
        `${forever ? 'to the first event' : spellDuration(neededMs)}: a new view, or a store that was lost, cannot be ` +
        `filled with what is gone by then; set it to ${forever ? '' : `at least ${neededMs}, or `}-1`,
    );
  }
  if (retentionBytes < Number.POSITIVE_INFINITY) {
    problems.push(
      `retention.bytes is ${retentionBytes}: events go when a partition has more, however new they are; set it to -1`,
    );
  }
  return problems;
}
