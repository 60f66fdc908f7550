/** The stores that cases run on. Cases that are under way at the same time have shards of their own. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type RedisServer, startRedis } from '../../../services/redis/redis-server.ts';
import { LmdbTileStore } from '../../store/lmdb-tile-store.ts';
import { MemoryTileStore } from '../../store/memory-tile-store.ts';
import { RedisTileStore } from '../../store/redis/redis-tile-store.ts';
import { ShardSlice } from '../../store/testing/shard-slice.ts';
import type { TileStore } from '../../store/tile-store.ts';
import { SeededRandom } from '../random.ts';
import { SHARDS } from './case-writing.ts';

export const STORE_KINDS = ['memory', 'lmdb', 'redis'] as const;
export type StoreKind = (typeof STORE_KINDS)[number];

export interface CaseStores {
  readonly kind: StoreKind;
  /** Cases that may run at the same time: what they wait for is not this thread. */
  readonly atOnce: number;
  /** Cases that one store has room for. */
  readonly perStore: number;
  /** An empty store for as many cases; what was there before is gone. Call while no case runs. */
  renew(): Promise<(place: number) => TileStore>;
  close(): Promise<void>;
}

export function openCaseStores(kind: StoreKind): Promise<CaseStores> {
  return OPEN[kind]();
}

const OPEN: { readonly [K in StoreKind]: () => Promise<CaseStores> } = {
  memory: async () => ({
    kind: 'memory',
    atOnce: 1,
    perStore: 1_000,
    renew: async () => () => {
      const random = new SeededRandom(1);
      return new MemoryTileStore({ random: () => random.hex64(), historyLimit: 0 });
    },
    close: async () => {},
  }),
  lmdb: async () => new LmdbStores(),
  redis: async () => new RedisStores(await startRedis()),
};

class LmdbStores implements CaseStores {
  readonly kind = 'lmdb';
  /** They share commits. */
  readonly atOnce = 32;
  readonly perStore = 1_000;
  #store: LmdbTileStore | null = null;
  #directory: string | null = null;

  async renew(): Promise<(place: number) => TileStore> {
    await this.close();
    this.#directory = await mkdtemp(join(tmpdir(), 'millrace-matrix-'));
    const store = await LmdbTileStore.open({ path: this.#directory });
    this.#store = store;
    return (place) => new ShardSlice(store, place * SHARDS);
  }

  async close(): Promise<void> {
    await this.#store?.close();
    this.#store = null;
    if (this.#directory !== null) await rm(this.#directory, { recursive: true });
    this.#directory = null;
  }
}

/** One connection, which pipelines what several cases ask at the same time. */
class RedisStores implements CaseStores {
  readonly kind = 'redis';
  readonly atOnce = 32;
  readonly perStore = 512;
  readonly #server: RedisServer;
  #store: RedisTileStore | null = null;

  constructor(server: RedisServer) {
    this.#server = server;
  }

  async renew(): Promise<(place: number) => TileStore> {
    await this.#store?.close();
    await this.#server.command('FLUSHALL');
    const store = await RedisTileStore.open({
      nodes: this.#server.url,
      shards: this.perStore * SHARDS,
      // Nothing restarts here.
      acceptLoss: true,
      // Cases that compute keep those waiting that were answered.
      commandTimeoutMs: 120_000,
    });
    this.#store = store;
    return (place) => new ShardSlice(store, place * SHARDS);
  }

  async close(): Promise<void> {
    await this.#store?.close();
    await this.#server.stop();
  }
}
