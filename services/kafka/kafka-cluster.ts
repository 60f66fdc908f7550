import { randomBytes } from 'node:crypto';
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePorts, HOST } from '../process/free-port.ts';
import { type KafkaBroker, startKafka } from './kafka-broker.ts';
import { formattedStorage } from './kafka-library.ts';

export interface KafkaClusterOptions {
  /** Brokers, each a controller too. @default 3 */
  readonly nodes?: number | undefined;
  /** Largest Java heap of each, in MiB. @default 192 */
  readonly heapMb?: number | undefined;
}

export interface KafkaCluster {
  /** `['127.0.0.1:<port>', …]`. */
  readonly brokers: string[];
  /** In the order of their ids, which begin with 1. */
  readonly nodes: readonly KafkaBroker[];
  stop(): Promise<void>;
}

/** A broker that is gone is out of its partitions' in-sync replicas after so long. */
const REPLICA_LAG_MS = 3_000;

/**
 * Several brokers of one's own that replicate: topics have a replica on each and take writes while at most one is away.
 * They die with the process that started them.
 */
export async function startKafkaCluster(options: KafkaClusterOptions = {}): Promise<KafkaCluster> {
  const { nodes: count = 3, heapMb = 192 } = options;
  const ports = await freePorts(2 * count);
  const portsOf = (i: number): [number, number] => [ports[2 * i]!, ports[2 * i + 1]!];
  const voters = Array.from({ length: count }, (_, i) => `${i + 1}@${HOST}:${portsOf(i)[1]}`).join(',');
  const dirs = Array.from({ length: count }, () => mkdtempSync(join(tmpdir(), 'millrace-kafka-node-')));
  const properties = (i: number) => ({
    'node.id': i + 1,
    'controller.quorum.voters': voters,
    'default.replication.factor': count,
    'min.insync.replicas': count - 1,
    'offsets.topic.replication.factor': count,
    'replica.lag.time.max.ms': REPLICA_LAG_MS,
    'controller.quorum.election.timeout.ms': 1_000,
    'controller.quorum.fetch.timeout.ms': 2_000,
  });
  for (const [i, dir] of dirs.entries()) formatAs(join(dir, 'data'), i + 1);
  const started = await Promise.allSettled(
    dirs.map((dir, i) => startKafka({ dir, ports: portsOf(i), heapMb, properties: properties(i) })),
  );
  const nodes = started.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
  const stop = async (): Promise<void> => {
    await Promise.all(nodes.map((node) => node.stop()));
    for (const dir of dirs) rmSync(dir, { recursive: true, force: true });
  };
  for (const result of started) {
    if (result.status === 'fulfilled') continue;
    await stop();
    throw result.reason;
  }
  return { brokers: nodes.flatMap(({ brokers }) => brokers), nodes, stop };
}

/** The storage that is formatted for one node, as that of another one of the same cluster. */
function formatAs(dataDir: string, nodeId: number): void {
  if (existsSync(dataDir)) return;
  cpSync(formattedStorage(), dataDir, { recursive: true });
  const file = join(dataDir, 'meta.properties');
  const directoryId = `M${randomBytes(16).toString('base64url').slice(1)}`;
  const text = readFileSync(file, 'utf8')
    .replace(/^node\.id=.*$/m, `node.id=${nodeId}`)
    .replace(/^directory\.id=.*$/m, `directory.id=${directoryId}`);
  writeFileSync(file, text);
}
