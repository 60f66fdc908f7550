/**
 * The Redis tile store against bare ioredis with the same bytes under the same keys:
 *
 *     node --conditions=source --import tsx bench/redis-store.ts [redis://host:port]
 *
 * - update: read a state and compare-and-set it, 256 keys at a time, against pipelined HMGET and HSET with ZADD.
 *   The bare side compares nothing and is not atomic: what it costs more is what the store's own encoding saves.
 * - serving read: 16 in flight, one state each, 8 present fields and 48 absent ones, against HMGET.
 *
 * Times of the client are CPU times of this process, those of Redis CPU times of its main thread. Both sides take
 * turns within one run, and ratios are of the medians, so that a machine that is busy with other things shows in the
 * times rather than in the ratios. Without an address a Redis is started, with an append-only file. What this does not
 * measure: the network, TLS, a cluster, planning of states.
 */
import { Redis } from 'ioredis';
import { randomTokens } from '../engine/store/random-tokens.ts';
import { RedisKeys } from '../engine/store/redis/redis-keys.ts';
import { RedisTileStore } from '../engine/store/redis/redis-tile-store.ts';
import type { CompareAndSet, StateAddress } from '../engine/store/tile-store.ts';
import { startRedis } from '../services/redis/redis-server.ts';

const NAMESPACE = '00000000000000aa';
const SHARDS = 16;
const KEYS = 20_000;
const KEYS_PER_ROUND = 256;
const READS_IN_FLIGHT = 16;
const TURNS = 7;
const NOW_MS = 1_700_000_000_000;
const FIELDS = Array.from({ length: 56 }, (_, i) => 'abcdefg'[i % 7]! + (1000 + i * 37).toString(36));
const PRESENT = FIELDS.filter((_, i) => i % 7 === 0);
const STATES = 512;

interface Times {
  readonly clientUs: number;
  readonly redisUs: number;
  readonly perSecond: number;
}

const given = process.argv[2];
const server = given === undefined ? await startRedis({ appendonly: 'everysec' }) : null;
const url = given ?? server!.url;
const admin = new Redis(url);
const bare = new Redis(url);
const store = await RedisTileStore.open({ nodes: url, shards: SHARDS, prefix: `bench-${process.pid}` });
const bareKeys = new RedisKeys(`bare-${process.pid}`, SHARDS);
const token = randomTokens();

try {
  for (const headBytes of [300, 1000]) {
    await compare(`update, head of ${headBytes} B`, 24 * KEYS_PER_ROUND, {
      store: await storeUpdates(headBytes),
      bare: await bareUpdates(headBytes),
    });
  }
  for (const stateBytes of [8_000, 25_000]) {
    await compare(`serving read of ${stateBytes} B`, 4_000, {
      store: await storeReads(stateBytes),
      bare: await bareReads(stateBytes),
    });
  }
} finally {
  for (const prefix of [`bench-${process.pid}`, `bare-${process.pid}`]) await removeKeys(prefix);
  await store.close();
  bare.disconnect();
  admin.disconnect();
  await server?.stop();
}

/** Each side does `count` units of work per turn. */
async function compare(
  title: string,
  count: number,
  sides: Readonly<Record<'store' | 'bare', (count: number) => Promise<void>>>,
): Promise<void> {
  const times: Record<'store' | 'bare', Times[]> = { store: [], bare: [] };
  for (let turn = 0; turn <= TURNS; turn++) {
    for (const side of ['store', 'bare'] as const) {
      const measured = await measure(count, () => sides[side](count));
      if (turn > 0) times[side].push(measured);
    }
  }
  const [ours, theirs] = [times.store, times.bare].map(medians);
  const ratio = (name: keyof Times): string => (ours![name] / theirs![name]).toFixed(2);
  console.log(title);
  for (const [name, { clientUs, redisUs, perSecond }] of [
    ['store', ours!],
    ['bare ioredis', theirs!],
  ] as const) {
    console.log(
      `  ${name.padEnd(13)} client ${clientUs.toFixed(1)} µs  Redis ${redisUs.toFixed(1)} µs  ${Math.round(perSecond)} /s`,
    );
  }
  console.log(
    `  ratio         client ${ratio('clientUs')}  Redis ${ratio('redisUs')}  rate ${ratio('perSecond')}`,
  );
}

async function measure(count: number, work: () => Promise<void>): Promise<Times> {
  const redisBeforeUs = await redisCpuUs();
  const clientBefore = process.cpuUsage();
  const startMs = performance.now();
  await work();
  const tookMs = performance.now() - startMs;
  const client = process.cpuUsage(clientBefore);
  return {
    clientUs: (client.user + client.system) / count,
    redisUs: ((await redisCpuUs()) - redisBeforeUs) / count,
    perSecond: (count / tookMs) * 1000,
  };
}

async function redisCpuUs(): Promise<number> {
  const info = await admin.info('cpu');
  const seconds = (name: string): number => Number(new RegExp(`^${name}:(.*)$`, 'm').exec(info)![1]);
  return 1e6 * (seconds('used_cpu_user_main_thread') + seconds('used_cpu_sys_main_thread'));
}

function medians(times: readonly Times[]): Times {
  const median = (name: keyof Times): number =>
    times.map((time) => time[name]).sort((a, b) => a - b)[Math.floor(times.length / 2)]!;
  return { clientUs: median('clientUs'), redisUs: median('redisUs'), perSecond: median('perSecond') };
}

function addressOf(kind: string, k: number): StateAddress {
  return { namespace: NAMESPACE, key: `${kind}-${k}`, shard: k % SHARDS };
}

async function storeUpdates(headBytes: number): Promise<(count: number) => Promise<void>> {
  const head = Buffer.alloc(headBytes, 7);
  const ids = Buffer.alloc(150, 8);
  let next = 0;
  const round = async (): Promise<void> => {
    const addresses = Array.from({ length: KEYS_PER_ROUND }, () => addressOf('u', next++ % KEYS));
    const states = await store.read(addresses.map((address) => ({ address, fields: ['I'] })));
    const writes = addresses.map(
      (address, i): CompareAndSet => ({
        address,
        expected: states[i]!.token,
        next: { token: token(), head },
        changes: new Map([['I', ids]]),
        dueMs: NOW_MS + next + i,
      }),
    );
    const won = await store.compareAndSet(writes);
    if (!won.every(Boolean)) throw new Error('a write lost');
  };
  const work = async (count: number): Promise<void> => {
    for (let done = 0; done < count; done += KEYS_PER_ROUND) await round();
  };
  await work(KEYS);
  return work;
}

async function bareUpdates(headBytes: number): Promise<(count: number) => Promise<void>> {
  const base = Buffer.alloc(headBytes + 8, 7);
  const ids = Buffer.alloc(150, 8);
  let next = 0;
  const round = async (): Promise<void> => {
    const keys = Array.from({ length: KEYS_PER_ROUND }, () => {
      const address = addressOf('u', next++ % KEYS);
      return { key: bareKeys.state(address), due: bareKeys.shard(address.shard).due, member: address.key };
    });
    const reads = bare.pipeline();
    for (const { key } of keys) reads.hmgetBuffer(key, '.', 'I');
    await reads.exec();
    const writes = bare.pipeline();
    for (const { key, due, member } of keys) {
      writes.hset(key, '.', base, 'I', ids);
      writes.zadd(due, NOW_MS + next, member);
    }
    await writes.exec();
  };
  const work = async (count: number): Promise<void> => {
    for (let done = 0; done < count; done += KEYS_PER_ROUND) await round();
  };
  await work(KEYS);
  return work;
}

async function storeReads(stateBytes: number): Promise<(count: number) => Promise<void>> {
  const kind = `r${stateBytes}`;
  const value = Buffer.alloc(stateBytes / (PRESENT.length + 1), 9);
  for (let k = 0; k < STATES; k++) {
    await store.compareAndSet([
      {
        address: addressOf(kind, k),
        expected: null,
        next: { token: token(), head: value },
        changes: new Map(PRESENT.map((field) => [field, value])),
      },
    ]);
  }
  return (count) =>
    inFlight(count, async (k) => {
      const [state] = await store.read([{ address: addressOf(kind, k % STATES), fields: FIELDS }]);
      if (state!.fields[7] === null) throw new Error('a field is missing');
    });
}

async function bareReads(stateBytes: number): Promise<(count: number) => Promise<void>> {
  const kind = `r${stateBytes}`;
  const value = Buffer.alloc(stateBytes / (PRESENT.length + 1), 9);
  for (let k = 0; k < STATES; k++) {
    await bare.hset(
      bareKeys.state(addressOf(kind, k)),
      '.',
      value,
      ...PRESENT.flatMap((field) => [field, value]),
    );
  }
  return (count) =>
    inFlight(count, async (k) => {
      const values = await bare.hmgetBuffer(bareKeys.state(addressOf(kind, k % STATES)), '.', ...FIELDS);
      if (values[8] === null) throw new Error('a field is missing');
    });
}

async function inFlight(count: number, work: (k: number) => Promise<void>): Promise<void> {
  let next = 0;
  const lane = async (): Promise<void> => {
    while (next < count) await work(next++);
  };
  await Promise.all(Array.from({ length: READS_IN_FLIGHT }, lane));
}

async function removeKeys(prefix: string): Promise<void> {
  for await (const keys of admin.scanStream({ match: `${prefix}:*`, count: 1000 })) {
    if ((keys as string[]).length > 0) await admin.unlink(...(keys as string[]));
  }
}
