import type { Admin, ITopicConfig } from 'kafkajs';
import { waitUntil } from '../../../../services/process/wait-until.ts';

const TIMEOUT_MS = 45_000;

/** Makes topics and waits until each of their partitions has a leader. `numPartitions` is to be said. */
export async function makeTopics(admin: Admin, topics: readonly ITopicConfig[]): Promise<void> {
  // Left to wait by itself, kafkajs takes a topic that is not known yet, a moment after it was made, for an error.
  await admin.createTopics({ waitForLeaders: false, topics: [...topics] });
  const haveLeaders = async (): Promise<boolean> => {
    const ends = await Promise.all(topics.map(({ topic }) => admin.fetchTopicOffsets(topic)));
    return ends.every((partitions, i) => partitions.length === topics[i]!.numPartitions);
  };
  await waitUntil(haveLeaders, { what: 'the topics have leaders', timeoutMs: TIMEOUT_MS });
}
