import type { Admin, ITopicConfig } from 'kafkajs';
import { waitUntil } from '../../../../services/process/wait-until.ts';

const TIMEOUT_MS = 45_000;

/** Makes topics and waits until each of their partitions has a leader. `numPartitions` is to be said. */
export async function makeTopics(admin: Admin, topics: readonly ITopicConfig[]): Promise<void> {
  // Left to wait by itself, kafkajs takes a topic that is not known yet, a moment after it was made, for an error.
  const make = async (): Promise<boolean> => {
    try {
      await admin.createTopics({ waitForLeaders: false, topics: [...topics] });
      return true;
    } catch (error) {
      // A broker that was stopped takes a moment until the controller counts it again.
      const errors = (error as { readonly errors?: readonly unknown[] }).errors ?? [error];
      if (errors.every((one) => (one as { readonly type?: string }).type === 'INVALID_REPLICATION_FACTOR'))
        return false;
      throw error;
    }
  };
  await waitUntil(make, { what: 'the broker is there for topics', timeoutMs: TIMEOUT_MS });
  const haveLeaders = async (): Promise<boolean> => {
    const ends = await Promise.all(topics.map(({ topic }) => admin.fetchTopicOffsets(topic)));
    return ends.every((partitions, i) => partitions.length === topics[i]!.numPartitions);
  };
  await waitUntil(haveLeaders, { what: 'the topics have leaders', timeoutMs: TIMEOUT_MS });
}
