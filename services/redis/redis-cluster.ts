import { waitUntil } from '../process/wait-until.ts';
import { type RedisOptions, type RedisServer, startRedis } from './redis-server.ts';

const SLOT_COUNT = 16_384;
const FORM_TIMEOUT_MS = 20_000;

/** First and last slot, the master, then its replicas, each as address, port, id, … */
type SlotRange = readonly [
  first: number,
  last: number,
  ...nodes: (readonly [string, number, ...unknown[]])[],
];

export interface RedisClusterOptions {
  /** Default 3. */
  readonly masters?: number | undefined;
  /** For each master. Default 0. */
  readonly replicas?: number | undefined;
  /** Of every server. */
  readonly appendonly?: RedisOptions['appendonly'];
  /** Further arguments of every redis-server. */
  readonly args?: readonly string[] | undefined;
}

export interface RedisCluster {
  /** Of the masters. */
  readonly urls: readonly string[];
  /** Slots are spread evenly, in the order of the masters. */
  readonly masters: readonly RedisServer[];
  /** Those of the first master first. They take over within seconds of a master's end (node timeout 2 s). */
  readonly replicas: readonly RedisServer[];
  /** Waits until every running server sees all slots served by running masters; throws after 20 s. */
  waitUntilOk(): Promise<void>;
  stop(): Promise<void>;
}

/**
 * A Redis Cluster of one's own on free ports of 127.0.0.1. Returns when all servers say `cluster_state:ok` and all
 * replicas are linked, after some 1–2 s. They die with the process that started them.
 */
export async function startRedisCluster(options: RedisClusterOptions = {}): Promise<RedisCluster> {
  const { masters: masterCount = 3, replicas: replicasEach = 0, appendonly, args } = options;
  const servers: RedisServer[] = [];
  const stop = async (): Promise<void> => {
    await Promise.all(servers.map((server) => server.stop()));
  };
  try {
    const count = masterCount * (1 + replicasEach);
    const started = await Promise.allSettled(
      Array.from({ length: count }, () => startRedis({ clusterEnabled: true, appendonly, args })),
    );
    for (const result of started) if (result.status === 'fulfilled') servers.push(result.value);
    for (const result of started) if (result.status === 'rejected') throw result.reason;
    const masters = servers.slice(0, masterCount);
    const replicas = servers.slice(masterCount);
    await meet(servers);
    await assignSlots(masters);
    const waitUntilOk = (): Promise<void> => waitForOk(servers);
    await waitUntilOk();
    await Promise.all(replicas.map((replica, i) => follow(replica, masters[Math.floor(i / replicasEach)]!)));
    if (replicas.length > 0) await waitForReplicas(masters, replicasEach);
    return { urls: masters.map((master) => master.url), masters, replicas, waitUntilOk, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function meet(servers: readonly RedisServer[]): Promise<void> {
  const first = servers[0]!;
  for (const [i, server] of servers.entries()) {
    // Distinct epochs from the start, which else the servers would have to find by collisions.
    await server.command('CLUSTER', 'SET-CONFIG-EPOCH', i + 1);
  }
  for (const server of servers.slice(1)) {
    const bus = String(await server.command('CONFIG', 'GET', 'cluster-port')).split(',')[1]!;
    await first.command('CLUSTER', 'MEET', server.host, server.port, bus);
  }
  await waitUntil(
    async () => {
      for (const server of servers) {
        const known = String(await server.command('CLUSTER', 'NODES'))
          .trim()
          .split('\n');
        if (known.length !== servers.length || known.some((node) => node.includes('handshake'))) return false;
      }
      return true;
    },
    { what: 'all servers of the cluster know each other', timeoutMs: FORM_TIMEOUT_MS },
  );
}

async function follow(replica: RedisServer, master: RedisServer): Promise<void> {
  await replica.command('CLUSTER', 'REPLICATE', String(await master.command('CLUSTER', 'MYID')));
  await waitUntil(
    async () => String(await replica.command('INFO', 'replication')).includes('master_link_status:up'),
    { what: `replica on port ${replica.port} is linked`, timeoutMs: FORM_TIMEOUT_MS },
  );
}

async function assignSlots(masters: readonly RedisServer[]): Promise<void> {
  const firstSlot = (i: number): number => Math.round((i * SLOT_COUNT) / masters.length);
  for (const [i, master] of masters.entries()) {
    await master.command('CLUSTER', 'ADDSLOTSRANGE', firstSlot(i), firstSlot(i + 1) - 1);
  }
}

async function waitForOk(servers: readonly RedisServer[]): Promise<void> {
  await waitUntil(
    async () => {
      const running: RedisServer[] = [];
      for (const server of servers) {
        if ((await server.command('PING').catch(() => null)) === 'PONG') running.push(server);
      }
      const ports = new Set<unknown>(running.map((server) => server.port));
      for (const server of running) {
        const info = String(await server.command('CLUSTER', 'INFO'));
        // With `cluster-require-full-coverage no` the state is ok before all slots are known.
        if (!info.includes('cluster_state:ok') || !info.includes(`cluster_slots_assigned:${SLOT_COUNT}\r`))
          return false;
        // The state stays ok until the node timeout has shown that a master is gone.
        const ranges = (await server.command('CLUSTER', 'SLOTS')) as readonly SlotRange[];
        if (ranges.some(([, , master]) => !ports.has(master?.[1]))) return false;
      }
      return running.length > 0;
    },
    { what: 'all slots of the cluster are served', timeoutMs: FORM_TIMEOUT_MS },
  );
}

/** Until the masters tell clients of their replicas. */
async function waitForReplicas(masters: readonly RedisServer[], replicasEach: number): Promise<void> {
  await waitUntil(
    async () => {
      for (const master of masters) {
        const ranges = (await master.command('CLUSTER', 'SLOTS')) as readonly SlotRange[];
        if (ranges.some((range) => range.length !== 3 + replicasEach)) return false;
      }
      return true;
    },
    { what: 'all masters know all replicas', timeoutMs: FORM_TIMEOUT_MS },
  );
}
