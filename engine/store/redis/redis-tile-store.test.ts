/**
 * The Redis tile store against real servers. What this does not catch: a network that loses packets (connections here
 * are on one machine), and TLS.
 */
import { inspect } from 'node:util';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { waitUntil } from '../../../services/process/wait-until.ts';
import { type RedisCluster, startRedisCluster } from '../../../services/redis/redis-cluster.ts';
import { type RedisServer, startRedis } from '../../../services/redis/redis-server.ts';
import { describeWithServices } from '../../../services/testing/describe-with-services.ts';
import { hasLostSince } from '../shard-mark.ts';
import {
  StoreClosedError,
  StoreFormatError,
  StoreFullError,
  StoreSetupError,
  StoreUnavailableError,
  StoreUnusedError,
} from '../store-errors.ts';
import { expectSameAsMemory } from '../testing/memory-twin.ts';
import { describeTileStore } from '../tile-store.contract.ts';
import type { CompareAndSet, StateAddress, TileStore, Token, Watermark } from '../tile-store.ts';
import { RedisKeys } from './redis-keys.ts';
import { RedisTileStore, type RedisTileStoreOptions } from './redis-tile-store.ts';

const NAMESPACE = '00000000000000aa';
const SECRET = 'secret-key';
const WAIT_MS = 30_000;
const HOOK_TIMEOUT_MS = 60_000;

const token = (value: number): Token => value.toString(16).padStart(16, '0');
const address = (key: string, shard = 0): StateAddress => ({ namespace: NAMESPACE, key, shard });
const write = (
  at: StateAddress,
  expected: number | null,
  next: number | null,
  fields: Record<string, string | null> = {},
): CompareAndSet => ({
  address: at,
  expected: expected === null ? null : token(expected),
  next: next === null ? null : { token: token(next), head: Buffer.from(`head ${next}`) },
  changes: new Map(
    Object.entries(fields).map(([name, value]) => [name, value === null ? null : Buffer.from(value)]),
  ),
});
const name = { namespace: NAMESPACE, source: 'payments', partition: 3 };
const mark = (nextOffset: number): Watermark => ({
  nextOffset,
  token: token(nextOffset + 1),
  maxEventTimeMs: 5,
  appendedMs: 7,
  clockMs: 0,
  logIdentity: 'log',
});

const see = async (store: TileStore, at: StateAddress, fields: string[] = []) => {
  const [state] = await store.read([{ address: at, fields }]);
  return {
    token: state!.token,
    fields: state!.fields.map((field) => field && Buffer.from(field).toString()),
  };
};
const move = async (
  store: TileStore,
  expected: Token | null,
  next: Watermark,
  shard = 0,
): Promise<boolean> => {
  const incarnation = await store.incarnation(shard);
  return (await store.moveWatermarks([{ shard, name, expected, incarnation, next }]))[0]!;
};
const rejection = async (promise: Promise<unknown>): Promise<Error> => {
  try {
    await promise;
  } catch (error) {
    return error as Error;
  }
  throw new Error('nothing was rejected');
};

let prefixes = 0;
const freshPrefix = (): string => `test-${prefixes++}`;

describeWithServices(['redis'], 'one Redis', () => {
  let server: RedisServer;
  let prefix: string;
  const opened: RedisTileStore[] = [];

  beforeAll(async () => {
    server = await startRedis({ appendonly: 'everysec' });
  });
  afterAll(() => server?.stop());
  beforeEach(() => {
    prefix = freshPrefix();
  });
  afterEach(async () => {
    await Promise.all(opened.splice(0).map((store) => store.close()));
  });

  const open = async (options: Partial<RedisTileStoreOptions> = {}): Promise<RedisTileStore> => {
    const store = await RedisTileStore.open({ nodes: server.url, prefix, shards: 16, ...options });
    opened.push(store);
    return store;
  };

  describeTileStore('redis', async () => {
    const store = await open({ prefix: freshPrefix() });
    return { store, shards: [0, 3], dispose: () => store.close() };
  });

  it('answers as the memory store does, whatever the sequence of operations', async () => {
    await expectSameAsMemory(await open({ shards: 64 }), { runs: 64, seed: 20_261_122 });
  });

  it('keeps everything of a shard under keys of one hash tag, and nothing else', async () => {
    const store = await open();
    await store.compareAndSet([{ ...write(address('a}b{', 3), null, 1, { f: 'x', gone: null }), dueMs: 9 }]);
    await move(store, null, mark(0), 3);
    const keys = new RedisKeys(prefix, 16);
    expect(((await server.command('KEYS', `${prefix}:*`)) as string[]).sort()).toEqual([
      `${prefix}:{0}:layout`,
      keys.shard(3).due,
      keys.state(address('a}b{', 3)),
      keys.shard(3).watermarks,
    ]);
    expect(await server.command('HKEYS', keys.state(address('a}b{', 3)))).toEqual(['.', 'f']);
    expect(await server.command('ZRANGE', keys.shard(3).due, 0, -1, 'WITHSCORES')).toEqual([
      `${NAMESPACE}:a}b{`,
      '9',
    ]);
    await store.compareAndSet([write(address('a}b{', 3), 1, null)]);
    expect(((await server.command('KEYS', `${prefix}:*`)) as string[]).sort()).toEqual([
      `${prefix}:{0}:layout`,
      keys.shard(3).watermarks,
    ]);
  });

  it('works on after a server has forgotten its scripts', async () => {
    const store = await open();
    const forget = () => server.command('SCRIPT', 'FLUSH');
    await forget();
    const writes = Array.from({ length: 100 }, (_, i) => ({
      ...write(address(`k${i}`, i % 16), null, i + 1, { f: `of ${i}` }),
      dueMs: i,
    }));
    expect(await store.compareAndSet(writes)).toEqual(writes.map(() => true));
    await forget();
    expect(await move(store, null, mark(0))).toBe(true);
    await forget();
    const [state] = await store.read([{ address: address('k0'), fields: ['f'], watermarks: [name] }]);
    expect(state).toMatchObject({ token: token(1), watermarks: [mark(0)] });
    await forget();
    const entries = await store.leaseDue({ shard: 0, nowMs: 50, leaseUntilMs: 200, limit: 10 });
    expect(entries.map((entry) => entry.address.key)).toEqual(['k0', 'k16', 'k32', 'k48']);
    await forget();
    await store.postponeDue(entries, 2000);
    expect(await store.countDue(0, 1000)).toBe(3);
  });

  it('writes and reads states of very many fields, and deletes fields of them', async () => {
    const store = await open();
    const fields = Array.from({ length: 20_001 }, (_, i) => `f${i}`);
    const all = Object.fromEntries(fields.map((field) => [field, field]));
    expect(await store.compareAndSet([write(address('wide'), null, 1, all)])).toEqual([true]);
    const [state] = await store.read([{ address: address('wide'), fields, watermarks: [name] }]);
    expect(state!.fields.map((field) => Buffer.from(field!).toString())).toEqual(fields);
    const gone = Object.fromEntries(fields.slice(1).map((field) => [field, null]));
    expect(await store.compareAndSet([write(address('wide'), 1, 2, gone)])).toEqual([true]);
    expect(await server.command('HLEN', new RedisKeys(prefix, 16).state(address('wide')))).toBe(2);
    expect(await see(store, address('wide'), ['f0', 'f1'])).toEqual({
      token: token(2),
      fields: ['f0', null],
    });
  });

  it('takes more due entries and moves than one script call does, and leases a bounded number', async () => {
    const store = await open();
    const addresses = Array.from({ length: 600 }, (_, i) => address(`k${i}`));
    await store.compareAndSet(addresses.map((at, i) => ({ ...write(at, null, 1), dueMs: i })));
    expect(await store.countDue(0, Number.POSITIVE_INFINITY)).toBe(600);
    const leased = [];
    for (;;) {
      const some = await store.leaseDue({ shard: 0, nowMs: 1000, leaseUntilMs: 5000, limit: 1_000_000 });
      if (some.length === 0) break;
      leased.push(...some);
    }
    expect(leased.map((entry) => entry.address)).toEqual(addresses);
    await store.postponeDue(leased, 9000);
    expect(await store.countDue(0, 8999)).toBe(0);
    expect(await store.countDue(0, 9000)).toBe(600);
    const incarnation = await store.incarnation(0);
    const names = Array.from({ length: 300 }, (_, partition) => ({ ...name, partition }));
    const moved = await store.moveWatermarks(
      names.map((at, i) => ({ shard: 0, name: at, expected: null, incarnation, next: mark(i) })),
    );
    expect(moved).toEqual(names.map(() => true));
    expect(await store.readWatermarks(0, names)).toEqual(names.map((_, i) => mark(i)));
  });

  it('refuses shards that it does not have', async () => {
    const store = await open();
    await expect(store.read([{ address: address('k', 16), fields: [] }])).rejects.toThrow(/shard/);
    await expect(store.incarnation(16)).rejects.toThrow(/shard/);
  });

  it('refuses watermark moves from before a wipe', async () => {
    const store = await open();
    expect(await move(store, null, mark(0))).toBe(true);
    const incarnation = await store.incarnation(0);
    await server.command('FLUSHALL');
    expect(await store.incarnation(0)).toBe(incarnation);
    expect(await store.readWatermarks(0, [name])).toEqual([null]);
    expect(await move(store, mark(0).token, mark(5))).toBe(false);
    expect(await store.readWatermarks(0, [name])).toEqual([null]);
  });

  it('says that a key holds something else, without the key', async () => {
    const store = await open();
    await server.command('SET', new RedisKeys(prefix, 16).state(address(SECRET)), 'not a hash');
    for (const promise of [
      store.read([{ address: address(SECRET), fields: [] }]),
      store.read([{ address: address(SECRET), fields: [], watermarks: [name] }]),
      store.compareAndSet([write(address(SECRET), null, 1)]),
    ]) {
      const error = await rejection(promise);
      expect(error).toBeInstanceOf(StoreFormatError);
      expect(inspect(error, { depth: 9, showHidden: true })).not.toContain(SECRET);
    }
  });

  describe('the layout record', () => {
    it('is written by the first to open, and answers how many shards there are', async () => {
      const first = await open({ shards: 7 });
      expect(first.shards).toBe(7);
      const { shards: _, ...options } = { nodes: server.url, prefix, shards: 7 };
      const second = await RedisTileStore.open(options);
      opened.push(second);
      expect(second.shards).toBe(7);
    });

    it('has one shard where nobody says how many', async () => {
      const store = await RedisTileStore.open({ nodes: server.url, prefix });
      opened.push(store);
      expect(store.shards).toBe(1);
    });

    it('refuses another number of shards and says which to use', async () => {
      await open({ shards: 7 });
      const error = await rejection(open({ shards: 8 }));
      expect(error).toBeInstanceOf(StoreFormatError);
      expect(error.message).toMatch(/7 shards; start with --shards 7, or use another --redis-prefix/);
    });

    it('refuses another clock and says which to use', async () => {
      await open({ clock: 'event' });
      const error = await rejection(open({ clock: 'wall' }));
      expect(error).toBeInstanceOf(StoreFormatError);
      expect(error.message).toMatch(
        /by the event clock; start with --clock event, or use another --redis-prefix/,
      );
      // Who does not say takes what is there.
      await open();
      await open({ clock: 'event' });
      expect(await server.command('HGET', `${prefix}:{0}:layout`, 'clock')).toBe('event');
    });

    it('has the wall clock where nobody says which', async () => {
      await open();
      await open({ clock: 'wall' });
      expect((await rejection(open({ clock: 'event' }))).message).toMatch(/start with --clock wall/);
    });

    it('is written down again as it was where it was lost, also by those who did not say', async () => {
      const first = await open({ shards: 7, clock: 'event' });
      const { shards: _, ...options } = { nodes: server.url, prefix, shards: 7 };
      const silent = await RedisTileStore.open(options);
      opened.push(silent);
      for (const store of [first, silent]) {
        await server.command('DEL', `${prefix}:{0}:layout`);
        await store.confirmLayout();
        const record = await server.command('HMGET', `${prefix}:{0}:layout`, 'shards', 'clock');
        expect(record).toEqual(['7', 'event']);
      }
      await server.command('HSET', `${prefix}:{0}:layout`, 'clock', 'wall');
      for (const store of [first, silent]) {
        expect((await rejection(store.confirmLayout())).message).toMatch(/by the wall clock/);
      }
    });

    it.each(['2', '4'])('refuses another format: %s', async (format) => {
      // What a version from before the clock has written down.
      await server.command('HSET', `${prefix}:{0}:layout`, 'format', format, 'shards', '16');
      const error = await rejection(open());
      expect(error).toBeInstanceOf(StoreFormatError);
      expect(error.message).toMatch(new RegExp(`have format ${format}; this version reads format 3`));
    });

    it('is asked for and not written where somebody must have opened the store before', async () => {
      const error = await rejection(open({ mustExist: true }));
      expect(error).toBeInstanceOf(StoreUnusedError);
      expect(error.message).toContain(`${prefix}:…`);
      expect(await server.command('KEYS', `${prefix}:*`)).toEqual([]);
      await open({ shards: 7 });
      expect((await open({ shards: 7, mustExist: true })).shards).toBe(7);
    });

    it('lets processes that start together agree', async () => {
      const results = await Promise.allSettled([2, 3, 4, 5].map((shards) => open({ shards })));
      expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    });
  });
});

describeWithServices(['redis'], 'a Redis that fails', () => {
  let server: RedisServer;
  const opened: RedisTileStore[] = [];

  beforeEach(async () => {
    // With `everysec` it holds writes back while the disk is busy: killed then, it has lost them.
    server = await startRedis({ appendonly: 'always' });
  });
  afterEach(async () => {
    await Promise.all(opened.splice(0).map((store) => store.close()));
    await server.stop();
  });

  const open = async (options: Partial<RedisTileStoreOptions> = {}): Promise<RedisTileStore> => {
    const store = await RedisTileStore.open({ nodes: server.url, shards: 4, ...options });
    opened.push(store);
    return store;
  };
  /** Until a call goes through again; what it rejects with meanwhile must be of the kind that may be retried. */
  const recovered = async (store: TileStore): Promise<void> => {
    await waitUntil(
      async () => {
        try {
          await store.incarnation(0);
          return true;
        } catch (error) {
          expect(error).toBeInstanceOf(StoreUnavailableError);
          return false;
        }
      },
      { what: 'the store answers again', timeoutMs: WAIT_MS },
    );
  };

  it('shows in its mark what it lost, also when it has come as far again', async () => {
    const store = await open();
    const seen = async () => (await store.look(0, [name])).mark;
    await move(store, null, mark(0));
    for (let at = 0; at < 12; at++) await move(store, mark(at).token, mark(at + 1));
    const first = await seen();
    expect(first).toEqual({ history: mark(0).token, moves: 13 });
    await server.command('FLUSHALL');
    expect(hasLostSince(first, await seen())).toBe(true);
    for (let at = 20; at < 40; at++) await move(store, at === 20 ? null : mark(at - 1).token, mark(at));
    expect(hasLostSince(first, await seen())).toBe(true);
    const second = await seen();
    // Nothing was lost, but nobody can know: a look tells what there is.
    await server.kill();
    await server.restart();
    await recovered(store);
    expect(hasLostSince(second, await seen())).toBe(false);
    await move(store, mark(39).token, mark(40));
    expect(await seen()).toEqual({ history: mark(40).token, moves: 1 });
    expect(hasLostSince(second, await seen())).toBe(true);
  });

  it('finds states, watermarks and due entries again after a restart, and refuses moves from before', async () => {
    const errors: Error[] = [];
    const store = await open({ onConnectionError: (error) => errors.push(error) });
    await store.compareAndSet([{ ...write(address('k'), null, 1, { f: 'x' }), dueMs: 70 }]);
    await move(store, null, mark(0));
    const incarnation = await store.incarnation(0);
    await server.kill();
    const down = await rejection(store.read([{ address: address(SECRET), fields: [] }]));
    expect(down).toBeInstanceOf(StoreUnavailableError);
    expect(inspect(down, { depth: 9, showHidden: true })).not.toContain(SECRET);
    await server.restart();
    await recovered(store);
    expect(await store.incarnation(0)).not.toBe(incarnation);
    const moves = [{ shard: 0, name, expected: mark(0).token, incarnation, next: mark(5) }];
    expect(await store.moveWatermarks(moves)).toEqual([false]);
    expect(await store.readWatermarks(0, [name])).toEqual([mark(0)]);
    expect(await see(store, address('k'), ['f'])).toEqual({ token: token(1), fields: ['x'] });
    expect(await store.countDue(0, 70)).toBe(1);
    expect(await move(store, mark(0).token, mark(5))).toBe(true);
    expect(errors.length).toBeGreaterThan(0);
  });

  it('is given up on within the timeout while it hangs; a write that lands later is met by compare-and-set', async () => {
    const store = await open({ commandTimeoutMs: 500 });
    await store.compareAndSet([write(address('k'), null, 1)]);
    await server.kill('SIGSTOP');
    const error = await rejection(store.compareAndSet([write(address('k'), 1, 2, { f: 'once' })]));
    expect(error).toBeInstanceOf(StoreUnavailableError);
    expect(error.message).toMatch(/in time/);
    await server.kill('SIGCONT');
    // The rule for every error: read again, write again under the token read.
    await waitUntil(
      async () => {
        const { token: present } = await see(store, address('k'));
        if (present === token(2)) return true;
        await store.compareAndSet([{ ...write(address('k'), null, 2, { f: 'once' }), expected: present }]);
        return false;
      },
      { what: 'the write is there', timeoutMs: WAIT_MS },
    );
    expect(await store.compareAndSet([write(address('k'), 1, 2, { f: 'twice' })])).toEqual([false]);
    expect(await see(store, address('k'), ['f'])).toEqual({ token: token(2), fields: ['once'] });
  });

  it('refuses what grows when it is full, half-applies nothing, and still lets states end', async () => {
    const store = await open();
    const value = 'x'.repeat(1000);
    await store.compareAndSet([{ ...write(address('a'), null, 1, { f: 'old' }), dueMs: 5 }]);
    await store.compareAndSet([{ ...write(address('end'), null, 1, { f: value }), dueMs: 6 }]);
    await server.command('CONFIG', 'SET', 'maxmemory', '1');
    const error = await rejection(
      store.compareAndSet([
        write(address('stale'), 9, 10),
        { ...write(address('a'), 1, 2, { f: value, g: value }), dueMs: 50 },
        { ...write(address('b'), null, 3, { f: value }), dueMs: 51 },
      ]),
    );
    expect(error).toBeInstanceOf(StoreFullError);
    expect(error.message).toMatch(/maxmemory/);
    expect(await rejection(move(store, null, mark(0)))).toBeInstanceOf(StoreFullError);
    expect(await see(store, address('a'), ['f', 'g'])).toEqual({ token: token(1), fields: ['old', null] });
    expect(await see(store, address('b'))).toEqual({ token: null, fields: [] });
    expect([await store.countDue(0, 49), await store.countDue(0, 1000)]).toEqual([2, 2]);
    expect(await store.compareAndSet([write(address('end'), 1, null)])).toEqual([true]);
    expect(await store.countDue(0, 1000)).toBe(1);
    await server.command('CONFIG', 'SET', 'maxmemory', '0');
    expect(await store.compareAndSet([write(address('a'), 1, 2)])).toEqual([true]);
  });

  it('that became a replica is refused; the one that becomes master again has another incarnation', async () => {
    const other = await startRedis({ appendonly: 'everysec' });
    try {
      const store = await open();
      await store.compareAndSet([write(address('k'), null, 1)]);
      const incarnation = await store.incarnation(0);
      await server.command('REPLICAOF', other.host, other.port);
      // It would win before and after the other's data came: one that loses writes nothing, and is not refused.
      const error = await rejection(store.compareAndSet([write(address('new'), null, 2)]));
      expect(error).toBeInstanceOf(StoreUnavailableError);
      await server.command('REPLICAOF', 'NO', 'ONE');
      await recovered(store);
      expect(await store.incarnation(0)).not.toBe(incarnation);
    } finally {
      await other.stop();
    }
  });

  it('settles every call that was in flight when the connection broke', async () => {
    const store = await open();
    await server.kill('SIGSTOP');
    const calls = Promise.allSettled(
      Array.from({ length: 50 }, (_, i) => store.compareAndSet([write(address(`k${i}`, i % 4), null, 1)])),
    );
    await server.kill('SIGKILL');
    for (const call of await calls) {
      expect(call).toMatchObject({ status: 'rejected', reason: expect.any(StoreUnavailableError) });
    }
  });

  it('does not keep a store from closing', async () => {
    const store = await open({ commandTimeoutMs: 500 });
    await server.kill('SIGSTOP');
    await store.close();
    await expect(store.incarnation(0)).rejects.toThrow(StoreClosedError);
    await server.kill('SIGCONT');
  });
});

describeWithServices(['redis'], 'opening a Redis', () => {
  const servers: RedisServer[] = [];
  const opened: RedisTileStore[] = [];
  afterEach(async () => {
    await Promise.all(opened.splice(0).map((store) => store.close()));
    await Promise.all(servers.splice(0).map((server) => server.stop()));
  });

  const start = async (...args: string[]): Promise<RedisServer> => {
    const server = await startRedis({ appendonly: 'everysec', args });
    servers.push(server);
    return server;
  };
  const open = async (options: RedisTileStoreOptions): Promise<RedisTileStore> => {
    const store = await RedisTileStore.open(options);
    opened.push(store);
    return store;
  };

  it('that evicts is refused, with what to change', async () => {
    const { url } = await start('--maxmemory', '100mb', '--maxmemory-policy', 'allkeys-lru');
    const error = await rejection(open({ nodes: url }));
    expect(error).toBeInstanceOf(StoreSetupError);
    expect(error.message).toMatch(/maxmemory-policy allkeys-lru.*set maxmemory-policy noeviction/);
  });

  it('that is told to evict later says so, for as long as it is', async () => {
    const server = await start('--maxmemory', '100mb');
    const store = await open({ nodes: server.url });
    await store.confirmLayout();
    await server.command('CONFIG', 'SET', 'maxmemory-policy', 'allkeys-lru');
    const error = await rejection(store.confirmLayout());
    expect(error).toBeInstanceOf(StoreSetupError);
    expect(error.message).toMatch(/maxmemory-policy allkeys-lru.*set maxmemory-policy noeviction/);
    await server.command('CONFIG', 'SET', 'maxmemory-policy', 'noeviction');
    await store.confirmLayout();
  });

  it('that would evict if it had a limit is taken', async () => {
    const { url } = await start('--maxmemory-policy', 'allkeys-lru');
    expect((await open({ nodes: url })).warnings).toEqual([]);
  });

  it('without an append-only file is refused, unless the loss is accepted', async () => {
    const { url } = await start('--appendonly', 'no');
    const error = await rejection(open({ nodes: url }));
    expect(error).toBeInstanceOf(StoreSetupError);
    expect(error.message).toMatch(/set appendonly yes.*--redis-accept-loss/);
    expect((await open({ nodes: url, acceptLoss: true })).warnings).toEqual([
      expect.stringMatching(/no append-only file/),
    ]);
  });

  it('reports all problems at once', async () => {
    const { url } = await start(
      ...['--appendonly', 'no', '--maxmemory', '100mb', '--maxmemory-policy', 'volatile-ttl'],
    );
    expect((await rejection(open({ nodes: url }))).message).toMatch(/volatile-ttl[\s\S]*appendonly/);
  });

  it('without a password that it wants, or with a wrong one, says so', async () => {
    const server = await start();
    const { url } = server;
    await server.command('CONFIG', 'SET', 'requirepass', 'right');
    const none = await rejection(open({ nodes: url }));
    expect(none).toBeInstanceOf(StoreUnavailableError);
    expect(none.message).toMatch(/NOAUTH|HELLO/);
    const wrong = await rejection(open({ nodes: url, password: 'mistaken' }));
    expect(wrong.message).toMatch(/WRONGPASS/);
    expect(inspect(wrong, { depth: 9, showHidden: true })).not.toContain('mistaken');
    await open({ nodes: url, password: 'right' });
    await open({ nodes: url.replace('//', '//:right@') });
  });

  it('as a user who may not run INFO says what to allow', async () => {
    const server = await start();
    await server.command('ACL', 'SETUSER', 'limited', 'on', '>pw', '~*', '+@all', '-info');
    const error = await rejection(open({ nodes: server.url, username: 'limited', password: 'pw' }));
    expect(error).toBeInstanceOf(StoreSetupError);
    expect(error.message).toMatch(/ACL \+info/);
  });

  it('as a user who may not run RESTORE warns of power losses, and works', async () => {
    const server = await start();
    await server.command('ACL', 'SETUSER', 'limited', 'on', '>pw', '~*', '+@all', '-restore');
    const store = await open({ nodes: server.url, username: 'limited', password: 'pw' });
    expect(store.warnings).toEqual([expect.stringMatching(/ACL \+restore.*redis-check-aof --fix/)]);
    expect(await store.compareAndSet([write(address('k'), null, 1, { f: 'x', g: 'y' })])).toEqual([true]);
    expect(await store.compareAndSet([write(address('k'), 1, 2, { f: null })])).toEqual([true]);
    expect(await see(store, address('k'), ['f', 'g'])).toEqual({ token: token(2), fields: [null, 'y'] });
    expect((await open({ nodes: server.url })).warnings).toEqual([]);
  });

  it('that takes no writes for now is not taken for one that forbids RESTORE', async () => {
    const server = await start();
    const { url } = server;
    await open({ nodes: url });
    await server.command('CONFIG', 'SET', 'min-replicas-to-write', '1');
    expect((await open({ nodes: url })).warnings).toEqual([]);
  });

  it('that forbids RESTORE later on keeps all the same what it has confirmed', async () => {
    const server = await start();
    await server.command('ACL', 'SETUSER', 'limited', 'on', '>pw', '~*', '+@all');
    const store = await open({ nodes: server.url, username: 'limited', password: 'pw' });
    await store.compareAndSet([write(address('k'), null, 1, { f: 'x', g: 'y' })]);
    await server.command('ACL', 'SETUSER', 'limited', '-restore');
    const writes = [write(address('k'), 1, 2, { f: null }), write(address('new'), null, 3, { f: 'z' })];
    expect(await store.compareAndSet(writes)).toEqual([true, true]);
    await store.close();
    await server.restart();
    const again = await open({ nodes: server.url });
    expect(await see(again, address('k'), ['f', 'g'])).toEqual({ token: token(2), fields: [null, 'y'] });
    expect(await see(again, address('new'), ['f'])).toEqual({ token: token(3), fields: ['z'] });
  });

  it('that is not there says which was tried', async () => {
    const server = await start();
    await server.kill();
    const error = await rejection(open({ nodes: server.url }));
    expect(error).toBeInstanceOf(StoreUnavailableError);
    expect(error.message).toMatch(new RegExp(`127\\.0\\.0\\.1:${server.port} \\(.*ECONN`));
    const cluster = await rejection(open({ nodes: server.url, cluster: true }));
    expect(cluster).toBeInstanceOf(StoreUnavailableError);
    expect(cluster.message).toContain(`127.0.0.1:${server.port}`);
  });

  it('that accepts connections but hangs gives up', async () => {
    const server = await start();
    await server.kill('SIGSTOP');
    const error = await rejection(open({ nodes: server.url, commandTimeoutMs: 500 }));
    expect(error).toBeInstanceOf(StoreUnavailableError);
    await server.kill('SIGCONT');
  });

  it('takes the next node where the first one is down, and refuses several that are no cluster', async () => {
    const [down, up] = [await start(), await start()];
    await down.kill();
    const error = await rejection(open({ nodes: [down.url, up.url] }));
    expect(error).toBeInstanceOf(StoreSetupError);
    expect(error.message).toMatch(/not a Redis Cluster/);
  });

  it('uses the database of the address', async () => {
    const server = await start();
    const store = await open({ nodes: `${server.url}/2` });
    await store.compareAndSet([write(address('k'), null, 1)]);
    expect(await server.command('DBSIZE')).toBe(0);
    expect(await server.command('INFO', 'keyspace')).toMatch(/db2:keys=2/);
  });
});

describeWithServices(['redis'], 'a Redis Cluster', () => {
  const SHARDS = 16;
  let cluster: RedisCluster;
  let prefix: string;
  const opened: RedisTileStore[] = [];

  beforeAll(async () => {
    cluster = await startRedisCluster({ appendonly: 'everysec' });
  }, HOOK_TIMEOUT_MS);
  afterAll(() => cluster?.stop(), HOOK_TIMEOUT_MS);
  beforeEach(() => {
    prefix = freshPrefix();
  });
  afterEach(async () => {
    await Promise.all(opened.splice(0).map((store) => store.close()));
  });

  const open = async (options: Partial<RedisTileStoreOptions> = {}): Promise<RedisTileStore> => {
    const store = await RedisTileStore.open({ nodes: cluster.urls, prefix, shards: SHARDS, ...options });
    opened.push(store);
    return store;
  };
  const everywhere = Array.from({ length: 4 * SHARDS }, (_, i) => address(`k${i}`, i % SHARDS));

  describeTileStore('redis cluster', async () => {
    const store = await open({ prefix: freshPrefix() });
    return { store, shards: [0, 3], dispose: () => store.close() };
  });

  it('answers as the memory store does, whatever the sequence of operations', async () => {
    await expectSameAsMemory(await open({ shards: 32 }), { runs: 32, seed: 20_261_123 });
  });

  it('is found from any of its nodes, and holds its share of the shards on each', async () => {
    const store = await open({ nodes: cluster.urls[1]! });
    const writes = everywhere.map((at) => ({ ...write(at, null, 1, { f: at.key }), dueMs: 5 }));
    expect(await store.compareAndSet(writes)).toEqual(writes.map(() => true));
    const states = await store.read(
      everywhere.map((at) => ({ address: at, fields: ['f'], watermarks: [name] })),
    );
    expect(states.map(({ fields: [field] }) => Buffer.from(field!).toString())).toEqual(
      everywhere.map(({ key }) => key),
    );
    for (const master of cluster.masters) {
      expect(await master.command('KEYS', `${prefix}:*`)).not.toEqual([]);
    }
    const incarnations = await Promise.all(
      Array.from({ length: SHARDS }, (_, shard) => store.incarnation(shard)),
    );
    expect(new Set(incarnations).size).toBe(3);
  });

  it('has 16 shards where nobody says how many', async () => {
    const store = await RedisTileStore.open({ nodes: cluster.urls, prefix });
    opened.push(store);
    expect(store.shards).toBe(16);
  });

  it('works on after its nodes have forgotten their scripts', async () => {
    const store = await open();
    for (const master of cluster.masters) await master.command('SCRIPT', 'FLUSH');
    expect(await store.compareAndSet(everywhere.map((at) => write(at, null, 1)))).toEqual(
      everywhere.map(() => true),
    );
    for (const master of cluster.masters) await master.command('SCRIPT', 'FLUSH');
    expect(await move(store, null, mark(0), 5)).toBe(true);
  });

  it('checks every master', async () => {
    await cluster.masters[2]!.command('CONFIG', 'SET', 'appendonly', 'no');
    try {
      const error = await rejection(open());
      expect(error).toBeInstanceOf(StoreSetupError);
      expect(error.message).toContain(`:${cluster.masters[2]!.port}: `);
    } finally {
      await cluster.masters[2]!.command('CONFIG', 'SET', 'appendonly', 'yes');
    }
  });

  it('answers reads while a slot is being migrated, writes nothing half, and follows the slot', async () => {
    const store = await open();
    const shard = 5;
    const keys = new RedisKeys(prefix, SHARDS);
    const [from, to] = await ownerAndOther(cluster, keys.shard(shard).due);
    const addresses = Array.from({ length: 8 }, (_, i) => address(`k${i}`, shard));
    await store.compareAndSet(addresses.map((at) => ({ ...write(at, null, 1, { f: at.key }), dueMs: 5 })));
    await move(store, null, mark(0), shard);
    const incarnation = await store.incarnation(shard);

    const slot = Number(await from.command('CLUSTER', 'KEYSLOT', keys.shard(shard).due));
    const [fromId, toId] = [await from.command('CLUSTER', 'MYID'), await to.command('CLUSTER', 'MYID')];
    await to.command('CLUSTER', 'SETSLOT', slot, 'IMPORTING', String(fromId));
    await from.command('CLUSTER', 'SETSLOT', slot, 'MIGRATING', String(toId));
    const migrate = (key: string) => from.command('MIGRATE', to.host, to.port, key, 0, 5000);
    for (const at of addresses.slice(0, 4)) await migrate(keys.state(at));

    const readAll = async () =>
      (await store.read(addresses.map((at) => ({ address: at, fields: ['f'] })))).map(({ fields: [field] }) =>
        Buffer.from(field!).toString(),
      );
    expect(await readAll()).toEqual(addresses.map(({ key }) => key));
    const error = await rejection(
      store.compareAndSet(addresses.map((at) => ({ ...write(at, 1, 2, { f: 'new' }), dueMs: 500 }))),
    );
    expect(error).toBeInstanceOf(StoreUnavailableError);
    expect(error.message).toMatch(/migrated/);
    expect(await readAll()).toEqual(addresses.map(({ key }) => key));

    for (const at of addresses.slice(4)) await migrate(keys.state(at));
    for (const key of [keys.shard(shard).due, keys.shard(shard).watermarks]) await migrate(key);
    // Other keys of the slot, as other tests left them, go along.
    for (const key of (await from.command('CLUSTER', 'GETKEYSINSLOT', slot, 10_000)) as string[])
      await migrate(key);
    for (const node of [to, from, ...cluster.masters]) {
      await node.command('CLUSTER', 'SETSLOT', slot, 'NODE', String(toId));
    }

    expect(await store.countDue(shard, 499)).toBe(8);
    expect(
      await store.compareAndSet(addresses.map((at) => ({ ...write(at, 1, 2, { f: 'new' }), dueMs: 500 }))),
    ).toEqual(addresses.map(() => true));
    expect(await readAll()).toEqual(addresses.map(() => 'new'));
    expect(await store.countDue(shard, 499)).toBe(0);
    expect(await store.incarnation(shard)).not.toBe(incarnation);
    const moves = [{ shard, name, expected: mark(0).token, incarnation, next: mark(5) }];
    expect(await store.moveWatermarks(moves)).toEqual([false]);
    expect(await store.readWatermarks(shard, [name])).toEqual([mark(0)]);
  });
});

describeWithServices(['redis'], 'a Redis Cluster with a master that is down', () => {
  it('is given up on after a while, and opened once the master is back', async () => {
    const cluster = await startRedisCluster({ appendonly: 'everysec' });
    try {
      await cluster.masters[2]!.kill();
      await waitUntil(
        async () =>
          String(await cluster.masters[0]!.command('CLUSTER', 'INFO')).includes('cluster_state:fail'),
        { what: 'the cluster has noticed', timeoutMs: WAIT_MS },
      );
      const error = await rejection(RedisTileStore.open({ nodes: cluster.urls, connectTimeoutMs: 200 }));
      expect(error).toBeInstanceOf(StoreUnavailableError);
      expect(error.message).toMatch(/cannot reach/);
      // Long enough for a slow machine; it is opened as soon as the cluster is complete.
      const opening = RedisTileStore.open({ nodes: cluster.urls.slice(0, 2), connectTimeoutMs: WAIT_MS / 3 });
      let refusals = 0;
      const watching = opening.catch(() => refusals++);
      await cluster.masters[2]!.restart();
      await cluster.waitUntilOk();
      await watching;
      expect(refusals).toBe(0);
      await (await opening).close();
    } finally {
      await cluster.stop();
    }
  });
});

describeWithServices(['redis'], 'a Redis Cluster with replicas', () => {
  let cluster: RedisCluster;
  beforeEach(async () => {
    cluster = await startRedisCluster({ appendonly: 'everysec', replicas: 1 });
  }, HOOK_TIMEOUT_MS);
  afterEach(() => cluster?.stop(), HOOK_TIMEOUT_MS);

  it('is used on after a failover, under another incarnation', async () => {
    const store = await RedisTileStore.open({ nodes: cluster.urls, commandTimeoutMs: 1000 });
    try {
      const addresses = Array.from({ length: 16 }, (_, shard) => address('k', shard));
      await store.compareAndSet(addresses.map((at) => write(at, null, 1)));
      const replica = cluster.replicas[0]!;
      const before = await Promise.all(addresses.map(({ shard }) => store.incarnation(shard)));
      await waitUntil(
        async () => (await replica.command('DBSIZE')) === (await cluster.masters[0]!.command('DBSIZE')),
        {
          what: 'the replica has everything',
          timeoutMs: WAIT_MS,
        },
      );
      await cluster.masters[0]!.kill();
      let kinds = new Set<unknown>();
      await waitUntil(
        async () => {
          try {
            await store.compareAndSet(addresses.map((at) => write(at, 1, 2)));
            const states = await store.read(addresses.map((at) => ({ address: at, fields: [] })));
            return states.every((state) => state.token === token(2));
          } catch (error) {
            kinds = kinds.add((error as Error).constructor);
            return false;
          }
        },
        { what: 'all shards were written', timeoutMs: WAIT_MS },
      );
      expect([...kinds]).toEqual([StoreUnavailableError]);
      const after = await Promise.all(addresses.map(({ shard }) => store.incarnation(shard)));
      const changed = after.filter((incarnation, i) => incarnation !== before[i]);
      expect(new Set(changed).size).toBe(1);
    } finally {
      await store.close();
    }
  });
});

async function ownerAndOther(cluster: RedisCluster, key: string): Promise<[RedisServer, RedisServer]> {
  const [first] = cluster.masters;
  const slot = Number(await first!.command('CLUSTER', 'KEYSLOT', key));
  // Of each range: first and last slot, then the master as [host, port, …].
  const ranges = (await first!.command('CLUSTER', 'SLOTS')) as [number, number, [string, number]][];
  const [, , [, port]] = ranges.find(([from, to]) => from <= slot && slot <= to)!;
  const owner = cluster.masters.find((master) => master.port === port)!;
  return [owner, cluster.masters.find((master) => master !== owner)!];
}
