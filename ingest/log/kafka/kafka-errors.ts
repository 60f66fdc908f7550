/**
 * What goes wrong with a topic. A message never holds a record's key, value or headers; `cause` is kafkajs's error.
 */

/** No broker answered, or not in time. Retryable; at start it is usually a wrong address. Messages name Kafka. */
export class KafkaUnreachableError extends Error {
  override readonly name = 'KafkaUnreachableError';
}

/** The topic does not exist. Retryable once somebody made it. */
export class TopicMissingError extends Error {
  override readonly name = 'TopicMissingError';
}

/** The topic is compacted: it refuses records without a key, as ours are. Never retryable. */
export class TopicCompactedError extends Error {
  override readonly name = 'TopicCompactedError';
}

/** No request of this record's size can ever be accepted by its topic. Nothing of the call was appended. Never retryable. */
export class RecordTooLargeError extends Error {
  override readonly name = 'RecordTooLargeError';
}

/** Too many bytes wait for the brokers. Nothing of the call was appended. Retryable. */
export class AppendQueueFullError extends Error {
  override readonly name = 'AppendQueueFullError';
}

/**
 * The brokers did not acknowledge in time, or refused. Retryable; whether some of the call's records were appended
 * is unknown, so that only events with an id (or stamp) may be appended again.
 */
export class AppendFailedError extends Error {
  override readonly name = 'AppendFailedError';
}

/** The partition belongs to another member of the group, for now. */
export class PartitionNotAssignedError extends Error {
  override readonly name = 'PartitionNotAssignedError';
}

/** Another deployment's members have the consumer group. Retryable once they have left; usually a setting is missing. */
export class GroupOccupiedError extends Error {
  override readonly name = 'GroupOccupiedError';
}

/** The consumer makes no progress and did not recover by itself: the process should end and be started again. */
export class ConsumerStalledError extends Error {
  override readonly name = 'ConsumerStalledError';
}

/** The member of kafkajs's errors that says which protocol error it was; also looks into their causes. */
export function protocolErrorOf(error: unknown): string | null {
  for (let at = error, depth = 0; at instanceof Error && depth < 5; at = at.cause, depth++) {
    const { type } = at as { type?: unknown };
    if (typeof type === 'string') return type;
  }
  return null;
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
