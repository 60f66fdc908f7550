/**
 * Reads of nodes that are slow, stopped or gone, with real servers. Commands may take far longer here than a test does:
 * only the breaker ends a wait. What this does not catch: a network that drops packets, so that connecting hangs.
 */
import { afterEach, beforeEach, expect, it } from 'vitest';
import { waitUntil } from '../../../services/process/wait-until.ts';
import { TcpProxy } from '../../../services/proxy/tcp-proxy.ts';
import { type RedisCluster, startRedisCluster } from '../../../services/redis/redis-cluster.ts';
import { type RedisServer, startRedis } from '../../../services/redis/redis-server.ts';
import { describeWithServices } from '../../../services/testing/describe-with-services.ts';
import { StoreUnavailableError } from '../store-errors.ts';
import { RedisTileStore, type RedisTileStoreOptions } from './redis-tile-store.ts';

const WAIT_MS = 30_000;
const TEST_TIMEOUT_MS = 90_000;
const COMMAND_TIMEOUT_MS = 60_000;
const FIELDS = ['R'];

const requestOf = (shard: number) => ({
  address: { namespace: '00000000000000aa', key: 'a', shard },
  fields: FIELDS,
  marked: true,
});

const rejection = (promise: Promise<unknown>): Promise<Error> =>
  promise.then(
    () => Promise.reject(new Error('nothing was rejected')),
    (error: Error) => error,
  );

class Watched {
  /** Why breakers opened; null: one has closed. */
  readonly changes: (string | null)[] = [];
  store!: RedisTileStore;

  static async open(options: Pick<RedisTileStoreOptions, 'nodes'> & Partial<RedisTileStoreOptions>) {
    const watched = new Watched();
    watched.store = await RedisTileStore.open({
      acceptLoss: true,
      profile: 'serving',
      readTimeoutMs: 200,
      commandTimeoutMs: COMMAND_TIMEOUT_MS,
      onBreaker: (_address, reason) => watched.changes.push(reason),
      ...options,
    });
    return watched;
  }

  read(shard = 0): Promise<unknown> {
    return this.store.read([requestOf(shard)]);
  }

  works(shard = 0): Promise<void> {
    const worked = () =>
      this.read(shard).then(
        () => true,
        (error: unknown) => {
          expect(error).toBeInstanceOf(StoreUnavailableError);
          return false;
        },
      );
    return waitUntil(worked, { what: 'the node is read again', timeoutMs: WAIT_MS });
  }
}

describeWithServices(['redis'], 'reads of one Redis', () => {
  let server: RedisServer;
  let watched: Watched;

  beforeEach(async () => {
    server = await startRedis();
  });
  afterEach(async () => {
    await server.kill('SIGCONT').catch(() => {});
    await watched?.store.close();
    await server.stop();
  });

  it(
    'fail soon while it is stopped, then at once, and work when it goes on',
    async () => {
      watched = await Watched.open({ nodes: server.url });
      await watched.works();
      await server.kill('SIGSTOP');
      const waiting = await Promise.all([rejection(watched.read()), rejection(watched.read())]);
      for (const error of waiting) {
        expect(error).toBeInstanceOf(StoreUnavailableError);
        expect(error.message).toContain(`${server.host}:${server.port}`);
        expect(error.message).toMatch(/has not answered for 200 ms/);
      }
      expect(watched.store.breakers()).toEqual([{ address: `${server.host}:${server.port}`, isOpen: true }]);
      // At once: before the event loop can have done anything else. Now and then one is let through instead.
      await waitUntil(
        async () => {
          let turns = 0;
          setImmediate(() => turns++);
          const { message } = await rejection(watched.read());
          return /is not asked for now/.test(message) && turns === 0;
        },
        { what: 'a read is refused at once', timeoutMs: WAIT_MS },
      );
      await server.kill('SIGCONT');
      await watched.works();
      expect(watched.store.breakers()[0]!.isOpen).toBe(false);
      expect(watched.changes.at(0)).toMatch(/200 ms/);
      expect(watched.changes.at(-1)).toBeNull();
    },
    TEST_TIMEOUT_MS,
  );

  it(
    'are bounded in number while it is stopped',
    async () => {
      watched = await Watched.open({ nodes: server.url, readTimeoutMs: COMMAND_TIMEOUT_MS });
      await watched.works();
      await server.kill('SIGSTOP');
      const taken: Promise<unknown>[] = [];
      const refusals: Error[] = [];
      const requests = Array.from({ length: 1_000 }, () => requestOf(0));
      for (let call = 0; call < 20; call++) {
        const read = watched.store.read(requests);
        taken.push(read.catch((error: Error) => refusals.push(error)));
      }
      await new Promise(setImmediate);
      expect(refusals).toHaveLength(12);
      for (const error of refusals) expect(error.message).toMatch(/too far behind/);
      await server.kill('SIGCONT');
      await Promise.all(taken);
      expect(refusals).toHaveLength(12);
      await watched.works();
    },
    TEST_TIMEOUT_MS,
  );

  it(
    'fail while it is gone, and work when it is back',
    async () => {
      watched = await Watched.open({ nodes: server.url });
      await watched.works();
      await server.kill();
      await waitUntil(async () => (await rejection(watched.read())) && watched.changes.length > 0, {
        what: 'the breaker has opened',
        timeoutMs: WAIT_MS,
      });
      expect((await rejection(watched.read())).message).toMatch(/cannot be reached|is not asked for now/);
      await server.restart();
      await watched.works();
      expect(watched.changes.at(-1)).toBeNull();
    },
    TEST_TIMEOUT_MS,
  );

  it(
    'are answered by one that is slow',
    async () => {
      const proxy = await TcpProxy.open(server.port);
      try {
        watched = await Watched.open({ nodes: `redis://127.0.0.1:${proxy.port}`, readTimeoutMs: 5_000 });
        proxy.delay(50);
        for (let round = 0; round < 5; round++) {
          await Promise.all(Array.from({ length: 40 }, () => watched.read()));
        }
        expect(watched.changes).toEqual([]);
      } finally {
        proxy.close();
      }
    },
    TEST_TIMEOUT_MS,
  );
});

describeWithServices(['redis'], 'reads of a Redis Cluster', () => {
  const SHARDS = 16;
  let cluster: RedisCluster;
  let watched: Watched;

  beforeEach(async () => {
    // The others must not notice it: they would have no answer for its slots, and soon none at all.
    cluster = await startRedisCluster({
      args: ['--cluster-require-full-coverage', 'no', '--cluster-node-timeout', '120000'],
    });
  }, TEST_TIMEOUT_MS);
  afterEach(async () => {
    await cluster.masters[1]!.kill('SIGCONT').catch(() => {});
    await watched?.store.close();
    await cluster.stop();
  }, TEST_TIMEOUT_MS);

  it(
    'fail of the shards of a stopped node only',
    async () => {
      watched = await Watched.open({ nodes: cluster.urls, shards: SHARDS, readTimeoutMs: 1_000 });
      for (let shard = 0; shard < SHARDS; shard++) await watched.works(shard);
      const stopped = cluster.masters[1]!;
      const address = `${stopped.host}:${stopped.port}`;
      await stopped.kill('SIGSTOP');
      const outcomes = await Promise.allSettled(
        Array.from({ length: SHARDS }, (_, shard) => watched.read(shard)),
      );
      const failed = outcomes.flatMap(({ status }, shard) => (status === 'rejected' ? [shard] : []));
      expect(failed.length).toBeGreaterThan(0);
      expect(failed.length).toBeLessThan(SHARDS);
      const others = outcomes.flatMap(({ status }, shard) => (status === 'fulfilled' ? [shard] : []));
      for (const { address: node, isOpen } of watched.store.breakers()) expect(isOpen).toBe(node === address);
      for (const shard of failed) {
        const error = await rejection(watched.read(shard));
        expect(error).toBeInstanceOf(StoreUnavailableError);
        expect(error.message).toContain(address);
      }
      for (const shard of others) await watched.read(shard);
      // Of two nodes of which one is stopped, neither is asked.
      const both = [requestOf(others[0]!), requestOf(failed[0]!)];
      expect((await rejection(watched.store.read(both))).message).toContain(address);
      await stopped.kill('SIGCONT');
      for (const shard of failed) await watched.works(shard);
      for (const shard of others) await watched.read(shard);
    },
    TEST_TIMEOUT_MS,
  );
});
