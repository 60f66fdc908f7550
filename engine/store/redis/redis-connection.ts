/**
 * The connection of a tile store to one Redis or to a Redis Cluster, made so that nothing is executed twice and nothing
 * waits without end.
 *
 * ioredis by default repeats commands after a lost connection, queues them while there is none and waits for them
 * without a limit. Here a command is sent again only where a server said that it did not execute it (NOSCRIPT, MOVED,
 * ASK, TRYAGAIN), and is answered or rejected within `commandTimeoutMs`. A rejected one may still be executed, even
 * later: the server may have it already, and a cluster's node that is being connected keeps what waits for it. See
 * `StoreUnavailableError`.
 */
import type { ConnectionOptions } from 'node:tls';
import { Cluster, type CommonRedisOptions, Redis } from 'ioredis';
import { StoreSetupError, StoreUnavailableError } from '../store-errors.ts';
import { NodeBreaker } from './node-breaker.ts';
import { parseRedisAddresses, placeText, type RedisAddress } from './redis-address.ts';
import type { RedisCommand } from './redis-command.ts';
import { isAnswer, isNoScript, toStoreError, withoutArguments } from './redis-errors.ts';
import { ScriptCall } from './redis-script.ts';
import { ServerLives } from './server-lives.ts';

/**
 * `serving` gives up early, because somebody waits for the answer; `writing` rather waits, because the work has to be
 * done anyway.
 */
export type RedisProfile = 'serving' | 'writing';

export interface RedisConnectionOptions {
  /** One Redis, or some nodes of a cluster: see redis-address.ts. */
  readonly nodes: string | readonly string[];
  /** User and password; those in the first address count if left out. */
  readonly username?: string;
  readonly password?: string;
  /** TLS with these settings, whatever the addresses say. @default TLS for rediss:// */
  readonly tls?: ConnectionOptions;
  /** @default 'auto': what the first node that answers says of itself */
  readonly cluster?: boolean | 'auto';
  /** @default 'writing' */
  readonly profile?: RedisProfile;
  /** @default 1,000 for serving, or twice `readTimeoutMs` if that is more; 5,000 for writing */
  readonly commandTimeoutMs?: number;
  /**
   * How long a node may answer nothing while reads of the profile `serving` wait for it, before its breaker opens: see
   * node-breaker.ts. @default 500
   */
  readonly readTimeoutMs?: number;
  /** @default 5,000 */
  readonly connectTimeoutMs?: number;
  /** Told of lost connections and failed attempts; there will be more attempts. @default nothing is done */
  readonly onConnectionError?: (error: Error) => void;
  /**
   * Told when the breaker of a node has opened, and why, or has closed again (null).
   * @default nothing is done
   */
  readonly onBreaker?: (address: string, reason: string | null) => void;
}

const COMMAND_TIMEOUT_MS: Readonly<Record<RedisProfile, number>> = { serving: 1_000, writing: 5_000 };
const READ_TIMEOUT_MS = 500;
const CONNECT_TIMEOUT_MS = 5_000;
const RECONNECT_MS_MIN = 50;
const RECONNECT_MS_MAX = 2_000;
/** How long a cluster may take to serve all slots, in `connectTimeoutMs`: a failover takes some seconds. */
const READY_IN_CONNECT_TIMEOUTS = 3;
/** A cluster's table of slots is read again this often, and whenever a node says that a slot has moved. */
const SLOTS_REFRESH_MS = 30_000;

export class RedisConnection {
  readonly #client: Redis | Cluster;
  readonly lives = new ServerLives();
  #corked: readonly (Redis['stream'] | undefined)[] | null = null;
  #last: (() => void)[] = [];
  /** By address; null: nobody waits for the reads. */
  readonly #breakers: Map<string, NodeBreaker> | null;
  readonly #options: RedisConnectionOptions;

  /** @throws StoreUnavailableError naming the nodes that were tried, StoreSetupError */
  static async open(options: RedisConnectionOptions): Promise<RedisConnection> {
    const addresses = parseRedisAddresses(options.nodes);
    const { cluster = 'auto' } = options;
    if (cluster === true) return new RedisConnection(await connectCluster(addresses, options), options);
    const single = await connectFirst(addresses, options);
    try {
      if (cluster === 'auto' && (await isClusterNode(single))) {
        single.disconnect();
        return new RedisConnection(await connectCluster(addresses, options), options);
      }
      if (addresses.length > 1) {
        throw new StoreSetupError('several Redis nodes were given, but they are not a Redis Cluster');
      }
      return new RedisConnection(single, options);
    } catch (error) {
      single.disconnect();
      throw error;
    }
  }

  private constructor(client: Redis | Cluster, options: RedisConnectionOptions) {
    this.#client = client;
    this.#options = options;
    this.#breakers = options.profile === 'serving' ? new Map() : null;
    const lost = (): void => this.lives.connectionLost();
    // Of a cluster also when one is new: it may have another server behind the same name.
    if (client instanceof Cluster) client.on('-node', lost).on('+node', lost).on('node error', lost);
    else client.on('close', lost);
  }

  get isCluster(): boolean {
    return this.#client.isCluster;
  }

  /** The nodes that hold data: one, or the masters of a cluster. */
  masters(): Redis[] {
    return this.#client instanceof Cluster ? this.#client.nodes('master') : [this.#client];
  }

  /**
   * Sends all at once; those for one shard are executed in the order given. A script that a server does not know is
   * sent again with its source.
   * @throws StoreUnavailableError, StoreFullError, StoreFormatError
   */
  async call(commands: readonly (RedisCommand | ScriptCall)[]): Promise<unknown[]> {
    const replies = this.#send(
      commands.map((command) => (command instanceof ScriptCall ? command.byHash : command)),
    );
    try {
      return await Promise.all(
        replies.map((reply, i) => {
          const command = commands[i]!;
          return command instanceof ScriptCall ? this.#orWithSource(reply, command) : reply;
        }),
      );
    } catch (error) {
      throw toStoreError(error);
    }
  }

  /**
   * As `call`, for commands that only read. With the profile `serving` each node has a breaker: one that does not answer is
   * not asked, and nothing is sent to the others then either.
   * @throws StoreUnavailableError at once, before anything was sent, where a breaker is open; else rejects as `call`
   */
  read(commands: readonly (RedisCommand | ScriptCall)[]): Promise<unknown[]> {
    if (this.#breakers === null || commands.length === 0) return this.call(commands);
    if (!(this.#client instanceof Cluster)) {
      const breaker = this.#breaker(nodeAddress(this.#client));
      breaker.check(commands.length);
      return breaker.follow(this.call(commands), commands.length);
    }
    return this.#readOfCluster(this.#client, commands);
  }

  /**
   * The nodes that reads were sent to, and whether their breakers are open; those that a cluster has no more are not.
   */
  breakers(): { readonly address: string; readonly isOpen: boolean }[] {
    const client = this.#client;
    const current = client instanceof Cluster ? new Set(client.slots.map(([master]) => master)) : null;
    return [...(this.#breakers?.values() ?? [])].map(({ address, isOpen }) => ({
      address,
      isOpen: isOpen && (current?.has(address) ?? true),
    }));
  }

  /**
   * Sends a command behind everything that is sent in this turn of the event loop.
   * @throws as `call`
   */
  callLast(command: () => RedisCommand): Promise<unknown> {
    this.#holdBack();
    return new Promise((resolve, reject) => {
      this.#last.push(() => {
        this.call([command()]).then(([reply]) => resolve(reply), reject);
      });
    });
  }

  /** Waits for what is in flight, at most as long as a command may take. */
  async close(): Promise<void> {
    if (this.#client.status !== 'end') await this.#client.quit().catch(() => undefined);
    this.#client.disconnect();
  }

  #readOfCluster({ slots }: Cluster, commands: readonly (RedisCommand | ScriptCall)[]): Promise<unknown[]> {
    const byAddress = new Map<string | undefined, number[]>();
    commands.forEach((command, i) => {
      const { byHash } = command instanceof ScriptCall ? command : { byHash: command };
      const address = slots[byHash.getSlot()]?.[0];
      const indices = byAddress.get(address);
      if (indices === undefined) byAddress.set(address, [i]);
      else indices.push(i);
    });
    const groups = [...byAddress].map(([address, indices]) => ({
      // A slot that nobody has: any node is asked, and says so.
      breaker: address === undefined ? null : this.#breaker(address),
      indices,
    }));
    for (const { breaker, indices } of groups) breaker?.check(indices.length);
    const replies = new Array<unknown>(commands.length);
    const reading = groups.map(async ({ breaker, indices }) => {
      const own = this.call(indices.map((i) => commands[i]!));
      const values = await (breaker === null ? own : breaker.follow(own, indices.length));
      indices.forEach((i, at) => {
        replies[i] = values[at];
      });
    });
    return Promise.all(reading).then(() => replies);
  }

  #breaker(address: string): NodeBreaker {
    const breakers = this.#breakers!;
    let breaker = breakers.get(address);
    if (breaker === undefined) {
      breaker = new NodeBreaker({
        address,
        silenceMs: this.#options.readTimeoutMs ?? READ_TIMEOUT_MS,
        receivedBytes: () =>
          this.masters().find((node) => nodeAddress(node) === address)?.stream?.bytesRead ?? 0,
        isAnswer,
        onChange: this.#options.onBreaker ?? (() => {}),
      });
      breakers.set(address, breaker);
    }
    return breaker;
  }

  #send(commands: readonly RedisCommand[]): Promise<unknown>[] {
    this.#holdBack();
    return commands.map((command) => this.#client.sendCommand(command) as Promise<unknown>);
  }

  /** What is sent in one turn of the event loop, by whomever, leaves in one system call per node at its end. */
  #holdBack(): void {
    if (this.#corked !== null) return;
    const sockets = this.masters().map(({ stream }) => stream);
    this.#corked = sockets;
    for (const socket of sockets) socket?.cork();
    setImmediate(() => {
      for (const send of this.#last.splice(0)) send();
      this.#corked = null;
      for (const socket of sockets) socket?.uncork();
    });
  }

  async #orWithSource(reply: Promise<unknown>, call: ScriptCall): Promise<unknown> {
    try {
      return await reply;
    } catch (error) {
      if (!isNoScript(error)) throw error;
      return this.#send([call.withSource()])[0];
    }
  }
}

/** As a cluster's table of slots says it. */
const nodeAddress = ({ options: { host, port, path } }: Redis): string => path ?? `${host}:${port}`;

function clientOptions([first]: readonly RedisAddress[], options: RedisConnectionOptions) {
  const { profile = 'writing' } = options;
  const { readTimeoutMs = READ_TIMEOUT_MS } = options;
  // The breaker is to find a silent node before its commands time out.
  const commandTimeoutMs =
    options.commandTimeoutMs ??
    Math.max(COMMAND_TIMEOUT_MS[profile], profile === 'serving' ? 2 * readTimeoutMs : 0);
  const tls = options.tls ?? (first!.tls ? {} : undefined);
  const username = options.username ?? first!.username;
  const password = options.password ?? first!.password;
  return {
    ...(tls === undefined ? {} : { tls }),
    ...(username === null ? {} : { username }),
    ...(password === null ? {} : { password }),
    connectionName: `millrace-${profile}`,
    connectTimeout: options.connectTimeoutMs ?? CONNECT_TIMEOUT_MS,
    commandTimeout: commandTimeoutMs,
    // Ends a connection on which nothing comes back any more: only a new one finds out what is wrong.
    socketTimeout: 2 * commandTimeoutMs,
    // What is in flight when the connection ends is rejected: never waits for the next one, never is sent again.
    maxRetriesPerRequest: 0,
    // Without effect while that is 0: nothing is left to be sent again. Any other number must not double a write.
    autoResendUnfulfilledCommands: false,
    enableAutoPipelining: false,
    // A master that became a replica answers READONLY for ever; its name may lead to another server by now.
    reconnectOnError: (error) => error.message.includes('READONLY'),
    lazyConnect: true,
  } satisfies CommonRedisOptions & { tls?: ConnectionOptions };
}

function reconnectDelayMs(attempts: number): number {
  return Math.min(RECONNECT_MS_MIN * 2 ** Math.min(attempts - 1, 10), RECONNECT_MS_MAX);
}

/** The first of the nodes that answers. */
async function connectFirst(
  addresses: readonly RedisAddress[],
  options: RedisConnectionOptions,
): Promise<Redis> {
  const failures: string[] = [];
  let cause: Error | undefined;
  for (const address of addresses) {
    const { place, db } = address;
    const redis = new Redis({
      ...clientOptions(addresses, options),
      ...place,
      db,
      enableOfflineQueue: false,
      retryStrategy: reconnectDelayMs,
    });
    let failure: Error | undefined;
    redis.on('error', (error: Error) => {
      failure = withoutArguments(error);
    });
    redis.on('connect', () => {
      failure = undefined;
    });
    // Also after a connection that ended without an error, and only where nobody wanted it to end.
    redis.on('reconnecting', () => {
      options.onConnectionError?.(failure ?? new Error(`the connection to ${placeText(place)} has ended`));
    });
    try {
      await redis.connect();
      return redis;
    } catch (error) {
      redis.disconnect();
      cause = failure ?? withoutArguments(error);
      failures.push(`${placeText(place)} (${cause.message})`);
    }
  }
  throw new StoreUnavailableError(`cannot reach Redis at ${failures.join(', ')}`, { cause });
}

async function connectCluster(
  addresses: readonly RedisAddress[],
  options: RedisConnectionOptions,
): Promise<Cluster> {
  if (addresses[0]!.db !== 0) {
    throw new StoreSetupError('a Redis Cluster has database 0 only: leave it out of the address');
  }
  const nodes = addresses.map(({ place }) => {
    if ('path' in place) {
      throw new StoreSetupError(
        `the Redis at ${place.path} is a node of a cluster, whose nodes have hosts and ports: give these, not a socket`,
      );
    }
    return place;
  });
  const redisOptions = clientOptions(addresses, options);
  const slotsRefreshTimeout = options.connectTimeoutMs ?? CONNECT_TIMEOUT_MS;
  const cluster = new Cluster(nodes, {
    redisOptions,
    // A certificate names the host, not the address it resolves to.
    ...(redisOptions.tls === undefined ? {} : { dnsLookup: (host, callback) => callback(null, host) }),
    enableOfflineQueue: false,
    scaleReads: 'master',
    // These would send a command again that may have been executed, or hold it back longer than it may take.
    retryDelayOnFailover: 0,
    retryDelayOnClusterDown: 0,
    retryDelayOnTryAgain: 100,
    maxRedirections: 5,
    slotsRefreshTimeout,
    slotsRefreshInterval: SLOTS_REFRESH_MS,
    clusterRetryStrategy: reconnectDelayMs,
    lazyConnect: true,
  });
  let failure: Error | undefined;
  const note = (error: Error): void => {
    failure = withoutArguments(error);
    options.onConnectionError?.(failure);
  };
  cluster.on('error', note);
  cluster.on('node error', note);
  cluster.on('-node', ({ options: { host, port } }: Redis) => {
    if (cluster.status === 'ready') note(new Error(`the connection to ${host}:${port} has ended`));
  });
  try {
    await ready(cluster, READY_IN_CONNECT_TIMEOUTS * slotsRefreshTimeout);
    // The nodes would connect with their first command, and reject the second one meanwhile.
    await Promise.all(cluster.nodes('master').map(connected));
    return cluster;
  } catch (error) {
    cluster.disconnect();
    const cause = failure ?? withoutArguments(error);
    throw new StoreUnavailableError(
      `cannot reach the Redis Cluster at ${addresses.map(({ place }) => placeText(place)).join(', ')} (${cause.message})`,
      { cause },
    );
  }
}

/**
 * Where some slots are not served at its first look, as during a failover, ioredis forgets who waits for `connect`, tries
 * again and is ready later: the event is what tells.
 */
function ready(cluster: Cluster, timeoutMs: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(
      () => reject(new Error(`not all of its slots were served within ${timeoutMs / 1_000} s`)),
      timeoutMs,
    );
    const settled = (settle: () => void): void => {
      clearTimeout(timer);
      settle();
    };
    cluster.once('ready', () => settled(resolve));
    cluster.connect().catch((error: unknown) => settled(() => reject(error)));
  });
}

async function connected(node: Redis): Promise<void> {
  if (node.status === 'wait') await node.connect();
  // With its queue a node that is connecting answers when it is connected.
  else await node.ping();
}

/** Where INFO is forbidden the checks say so. */
async function isClusterNode(redis: Redis): Promise<boolean> {
  try {
    return /^cluster_enabled:1/m.test(await redis.info('cluster'));
  } catch (error) {
    if (error instanceof Error && error.message.startsWith('NOPERM')) return false;
    const known = toStoreError(error);
    if (isAnswer(known)) throw known;
    // The connection has ended behind its greeting, or nothing comes back on it.
    const cause = withoutArguments(error);
    throw new StoreUnavailableError(`cannot reach Redis at ${nodeAddress(redis)} (${cause.message})`, {
      cause,
    });
  }
}
