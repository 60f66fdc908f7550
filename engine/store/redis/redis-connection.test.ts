/**
 * That each of the client's settings that are not ioredis's defaults matters, by a proxy that loses replies, falls
 * silent, and leads elsewhere. What this does not catch: a Redis Cluster, whose nodes have some settings of their own.
 */
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { waitUntil } from '../../../services/process/wait-until.ts';
import { TcpProxy } from '../../../services/proxy/tcp-proxy.ts';
import { type RedisServer, startRedis } from '../../../services/redis/redis-server.ts';
import { describeWithServices } from '../../../services/testing/describe-with-services.ts';
import { StoreSetupError, StoreUnavailableError } from '../store-errors.ts';
import { RedisCommand } from './redis-command.ts';
import { RedisConnection, type RedisConnectionOptions } from './redis-connection.ts';
import { RespWriter } from './resp-writer.ts';

const HOST = '127.0.0.1';
const WAIT_MS = 10_000;
/** Far below what a command may take here. */
const AT_ONCE_MS = 1_000;
const COMMAND_TIMEOUT_MS = 8_000;

/** Between a client and Redis; does to their connections what networks and failovers do. */
class RedisProxy {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly #silent = new WeakSet<Socket>();
  /** Where new connections lead. */
  port: number;
  /** New connections are taken, and nothing comes back on them. */
  holds = false;
  accepted = 0;

  static async open(port: number): Promise<RedisProxy> {
    const proxy = new RedisProxy(port);
    await new Promise<void>((resolve) => proxy.#server.listen(0, HOST, resolve));
    return proxy;
  }

  private constructor(port: number) {
    this.port = port;
    this.#server = createServer((client) => {
      this.accepted++;
      const server = connect({ host: HOST, port: this.port });
      if (this.holds) this.#silent.add(server);
      client.on('data', (bytes) => server.write(bytes));
      server.on('data', (bytes) => {
        if (!this.#silent.has(server)) client.write(bytes);
      });
      for (const [own, other] of [
        [client, server],
        [server, client],
      ] as const) {
        this.#sockets.add(own);
        own.on('error', () => {}).on('close', () => other.destroy());
      }
    });
  }

  get url(): string {
    return `redis://${HOST}:${(this.#server.address() as AddressInfo).port}`;
  }

  /** Connections that there are go on to take commands; no reply comes back any more. */
  loseReplies(): void {
    for (const socket of this.#sockets) this.#silent.add(socket);
  }

  cut(): void {
    for (const socket of this.#sockets) socket.destroy();
    this.#sockets.clear();
  }

  close(): void {
    this.#server.close();
    this.cut();
  }
}

function incrementOf(key: string): RedisCommand {
  const writer = new RespWriter();
  writer.ascii(key);
  return new RedisCommand('incr', writer.finish(), key);
}

const increment = (connection: RedisConnection, key: string): Promise<unknown[]> =>
  connection.call([incrementOf(key)]);

/** What the call was rejected with, at once. */
async function rejectedAtOnce(call: Promise<unknown>): Promise<unknown> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error('not settled at once')), AT_ONCE_MS);
  });
  const rejection = call.then(
    () => Promise.reject(new Error('it was not rejected')),
    (error: unknown) => error,
  );
  return Promise.race([rejection, late]).finally(() => clearTimeout(timer));
}

describeWithServices(['redis'], 'a connection to one Redis', () => {
  let redis: RedisServer;
  let proxy: RedisProxy;
  const opened: RedisConnection[] = [];

  beforeAll(async () => {
    redis = await startRedis();
  });
  beforeEach(async () => {
    await redis.command('FLUSHALL');
    proxy = await RedisProxy.open(redis.port);
  });
  afterEach(async () => {
    proxy.close();
    await Promise.all(opened.splice(0).map((connection) => connection.close()));
  });
  afterAll(() => redis?.stop());

  const open = async (options: Partial<RedisConnectionOptions> = {}): Promise<RedisConnection> => {
    const nodes = proxy.url;
    const connection = await RedisConnection.open({
      nodes,
      cluster: false,
      commandTimeoutMs: COMMAND_TIMEOUT_MS,
      ...options,
    });
    opened.push(connection);
    return connection;
  };
  const count = async (key: string): Promise<string> => String(await redis.command('GET', key));
  const works = async (connection: RedisConnection): Promise<void> => {
    await waitUntil(
      () =>
        increment(connection, 'works').then(
          () => true,
          () => false,
        ),
      { what: 'the connection works again', timeoutMs: WAIT_MS },
    );
  };

  test('wherever a connection is cut while it is opened, the error says that Redis cannot be reached', async () => {
    const cutting = await TcpProxy.open(redis.port);
    try {
      for (const direction of ['requests', 'replies'] as const) {
        for (let bytes = 1; ; bytes += 3) {
          cutting.cutAfter(direction, bytes);
          const nodes = `redis://${HOST}:${cutting.port}`;
          const outcome = await open({ nodes, cluster: 'auto' }).catch((error: unknown) => error);
          if (outcome instanceof RedisConnection) {
            // Its greeting and the question whether it is a cluster's node.
            expect(bytes).toBeGreaterThan(100);
            break;
          }
          expect(outcome, `${direction} cut after ${bytes} bytes`).toBeInstanceOf(StoreUnavailableError);
          expect((outcome as Error).message).toContain(`cannot reach Redis at ${HOST}:${cutting.port} (`);
        }
      }
    } finally {
      cutting.close();
    }
  });

  test('a command whose reply was lost is rejected when the connection ends, and never sent again', async () => {
    const connection = await open();
    proxy.loseReplies();
    const call = increment(connection, 'n');
    call.catch(() => {});
    await waitUntil(async () => (await count('n')) === '1', { what: 'it was executed', timeoutMs: WAIT_MS });
    proxy.cut();
    expect(await rejectedAtOnce(call)).toBeInstanceOf(StoreUnavailableError);
    await works(connection);
    expect(await count('n')).toBe('1');
  });

  test('a command without a connection is rejected at once, and is not executed later', async () => {
    const connection = await open();
    proxy.holds = true;
    proxy.cut();
    await waitUntil(() => proxy.accepted === 2, { what: 'it connects again', timeoutMs: WAIT_MS });
    expect(await rejectedAtOnce(increment(connection, 'n'))).toBeInstanceOf(StoreUnavailableError);
    proxy.holds = false;
    proxy.cut();
    await works(connection);
    expect(await count('n')).toBe('null');
  });

  test('a connection on which nothing comes back is given up, and another one works', async () => {
    const connection = await open({ commandTimeoutMs: 200 });
    proxy.loseReplies();
    await expect(increment(connection, 'n')).rejects.toThrow(StoreUnavailableError);
    await works(connection);
    expect(proxy.accepted).toBe(2);
  });

  test('a master that became a replica is left for whoever has its name now', async () => {
    const other = await startRedis();
    try {
      const connection = await open();
      await increment(connection, 'n');
      await redis.command('REPLICAOF', other.host, other.port);
      proxy.port = other.port;
      await expect(increment(connection, 'n')).rejects.toThrow(StoreUnavailableError);
      await works(connection);
      expect(await other.command('GET', 'works')).toBe('1');
    } finally {
      await redis.command('REPLICAOF', 'NO', 'ONE');
      await other.stop();
    }
  });
});

describeWithServices(['redis'], 'a connection by a socket', () => {
  test('works, also after the server was killed and started again, and its breaker has the path as its name', async () => {
    const redis = await startRedis({ unixSocket: true, appendonly: 'always' });
    const path = redis.socketUrl.slice('unix://'.length);
    const failures: string[] = [];
    const connection = await RedisConnection.open({
      nodes: redis.socketUrl,
      profile: 'serving',
      onConnectionError: ({ message }) => failures.push(message),
    });
    try {
      expect(connection.isCluster).toBe(false);
      await increment(connection, 'n');
      await redis.kill();
      await redis.restart();
      await waitUntil(
        () =>
          connection.read([incrementOf('n')]).then(
            () => true,
            () => false,
          ),
        { what: 'the connection works again', timeoutMs: WAIT_MS },
      );
      expect(Number(await redis.command('GET', 'n'))).toBeGreaterThanOrEqual(2);
      expect(connection.breakers().map(({ address }) => address)).toEqual([path]);
      expect(failures[0]).toContain(path);
    } finally {
      await connection.close();
      await redis.stop();
    }
  });

  test('that is not there is named', async () => {
    const opening = RedisConnection.open({ nodes: 'unix:///nowhere/redis.sock' });
    await expect(opening).rejects.toThrow(StoreUnavailableError);
    await expect(opening).rejects.toThrow('cannot reach Redis at /nowhere/redis.sock (');
  });

  test.each(['auto', true] as const)('to a node of a cluster is refused (cluster: %s)', async (cluster) => {
    const redis = await startRedis({ unixSocket: true, clusterEnabled: true });
    try {
      const opening = RedisConnection.open({ nodes: redis.socketUrl, cluster });
      await expect(opening).rejects.toThrow(StoreSetupError);
      await expect(opening).rejects.toThrow(/give these, not a socket/);
    } finally {
      await redis.stop();
    }
  });
});
