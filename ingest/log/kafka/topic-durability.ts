/** Whether a record that all in-sync replicas have can still be lost with one broker. */

export interface TopicDurability {
  /** Of the partition that has the fewest. */
  readonly replicas: number;
  /** The topic's `min.insync.replicas`: how many brokers must have a record before it is acknowledged. */
  readonly minInsyncReplicas: number;
  /** The topic's `unclean.leader.election.enable`: whether a broker that lacks records may become the leader. */
  readonly uncleanElection: boolean;
}

/** What to change; empty where one broker may fail. A topic of one replica is what somebody chose. */
export function durabilityProblems({
  replicas,
  minInsyncReplicas,
  uncleanElection,
}: TopicDurability): string[] {
  const problems: string[] = [];
  if (replicas > 1 && minInsyncReplicas < 2) {
    problems.push(
      'min.insync.replicas is 1, so that an event may be acknowledged when a single broker has it, and is lost with ' +
        `that broker: set it to 2${replicas === 2 ? ', and the replication factor to 3' : ''}`,
    );
  }
  if (replicas > 1 && uncleanElection) {
    problems.push(
      'unclean.leader.election.enable is true, so that a broker that lacks acknowledged events may become the leader: ' +
        'set it to false',
    );
  }
  return problems;
}

/**
 * `min.insync.replicas` of a topic that is made: with three replicas one broker may fail without losing an event or
 * refusing one; with fewer it is either or, and the brokers' default decides.
 */
export function minInsyncReplicasOf(replicationFactor: number): number | null {
  return replicationFactor >= 3 ? 2 : null;
}
