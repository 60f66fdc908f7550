/** The topic of a source, as its retention is watched. */
import type { CompiledSource } from '../engine/definitions/compiled.ts';
import { retentionProblems, type SourceTopicSettings } from '../ingest/log/kafka/source-topic.ts';
import type { KafkaLogInfo } from '../ingest/log/kafka/topic-offsets.ts';
import type { WatchedLog } from '../roles/log-reach-watch.ts';

export function watchedTopic(
  source: CompiledSource,
  info: Pick<KafkaLogInfo, 'topic' | 'sourceSettings' | 'allEnds' | 'offsetsAt'>,
): WatchedLog {
  // As last read: they cannot be read for now, or ever.
  let settings: SourceTopicSettings | null = null;
  return {
    source,
    retentionProblems: async (reachMs) => {
      settings = (await info.sourceSettings()) ?? settings;
      const problems = settings === null ? [] : retentionProblems(settings, reachMs);
      return problems.map((problem) => `topic ${info.topic}: ${problem}`);
    },
    start: async (fromMs) => {
      const ends = await info.allEnds();
      const isWhole = ends.every(({ startOffset }) => startOffset === 0);
      return { ends, firstWithin: isWhole ? [] : await info.offsetsAt(fromMs) };
    },
  };
}
