/**
 * Bytes of Redis per event: the hash of a state, compacted, against a sorted set of the same events, in one Redis.
 *
 * The sorted set is what one would write by hand: the score is the event time, the member compact JSON,
 * `[id,amount,"merchant"]`. Both are what `MEMORY USAGE … SAMPLES 0` says of the key.
 */
import { Redis } from 'ioredis';
import type { CompiledView } from '../../engine/definitions/compiled.ts';
import { DEFAULT_REDIS_PREFIX, RedisKeys } from '../../engine/store/redis/redis-keys.ts';
import { RedisTileStore } from '../../engine/store/redis/redis-tile-store.ts';
import { CardEvents, DAY_MS, serviceOf, VARIANTS, type Variant } from './card-events.ts';
import { addState, type Breakdown, emptyBreakdown } from './state-breakdown.ts';
import { ViewLoad } from './view-load.ts';

export interface MemoryOptions {
  readonly redisUrl: string;
  readonly sizes: readonly number[];
  readonly days: number;
  readonly seed: number;
  readonly onProgress: (text: string) => void;
}

export interface MemoryRow {
  readonly variant: Variant;
  /** Per key. */
  readonly events: number;
  readonly keys: number;
  /** Per event, of the hash. */
  readonly hashBytes: number;
  readonly zsetBytes: number;
  readonly ratio: number;
  /** The most that the ratio should be; null: none was set. */
  readonly target: number | null;
  /** Bytes per event, of what the hash holds; `redis` is what it takes beyond that. */
  readonly parts: Readonly<Record<string, number>>;
  /** Fields per key, the head included. */
  readonly fields: number;
  /** Bytes per key of the due index, which are not in `hashBytes`. */
  readonly dueBytesPerKey: number;
}

const KEYS_MAX = 64;
const EVENTS_PER_SIZE = 10_000;
const MEMBERS_PER_CALL = 1_000;

/** The issue's: a third from 300 events per key, one and a half between 10 and 299. */
function targetOf(events: number): number | null {
  if (events >= 300) return 1 / 3;
  return events >= 10 ? 1.5 : null;
}

export async function benchMemory(options: MemoryOptions): Promise<MemoryRow[]> {
  const client = new Redis(options.redisUrl);
  try {
    const rows: MemoryRow[] = [];
    for (const variant of VARIANTS) {
      const { view } = serviceOf(variant);
      for (const events of options.sizes) {
        options.onProgress(`memory: ${variant}, ${events} events per key …`);
        rows.push(await measure(client, options, { variant, view, events }));
      }
    }
    return rows;
  } finally {
    client.disconnect();
  }
}

async function measure(
  client: Redis,
  { redisUrl, seed, days }: MemoryOptions,
  { variant, view, events }: { variant: Variant; view: CompiledView; events: number },
): Promise<MemoryRow> {
  const keys = Math.max(1, Math.min(KEYS_MAX, Math.floor(EVENTS_PER_SIZE / events)));
  // The default prefix: a key's name is among its bytes.
  const store = await RedisTileStore.open({ nodes: redisUrl, shards: 1, acceptLoss: true });
  const redisKeys = new RedisKeys(DEFAULT_REDIS_PREFIX, 1);
  const usage = async (key: string): Promise<number> =>
    Number((await client.call('MEMORY', 'USAGE', key, 'SAMPLES', '0')) ?? 0);
  const breakdown = emptyBreakdown(view);
  let hashBytes = 0;
  let zsetBytes = 0;
  try {
    for (let k = 0; k < keys; k++) {
      const card = String(4_000_000 + k);
      // Of its own: its clock begins with the first event.
      const load = new ViewLoad(view, store, { partition: k });
      const zset = `payments:${card}`;
      const members: (string | number)[] = [];
      await load.load(new CardEvents({ seed: seed + k, card, events, spanMs: days * DAY_MS }), (chunk) => {
        for (const { id, at, amount, merchant } of chunk)
          members.push(at, JSON.stringify([id, amount, merchant]));
      });
      for (let at = 0; at < members.length; at += 2 * MEMBERS_PER_CALL)
        await client.zadd(zset, ...members.slice(at, at + 2 * MEMBERS_PER_CALL));
      if ((await client.zcard(zset)) !== events)
        throw new Error('the sorted set holds another number of events');
      const address = load.address(card);
      hashBytes += await usage(redisKeys.state(address));
      zsetBytes += await usage(zset);
      addState(breakdown, view, load.meter.headOf(address), load.meter.fieldsOf(address));
    }
    const total = events * keys;
    const due = await usage(redisKeys.shard(0).due);
    return {
      ...{ variant, events, keys },
      hashBytes: hashBytes / total,
      zsetBytes: zsetBytes / total,
      ratio: hashBytes / zsetBytes,
      target: targetOf(events),
      parts: partsOf(breakdown, hashBytes, total),
      fields: breakdown.fields / keys,
      dueBytesPerKey: due / keys,
    };
  } finally {
    await store.close();
    await client.flushall();
  }
}

function partsOf(breakdown: Breakdown, hashBytes: number, events: number): Record<string, number> {
  const { head, ids, names, root, nodes, times, rowIds, columns, blocks, tiles, wide, structure, other } =
    breakdown;
  const payload = head + ids + names + root + nodes + wide + other;
  const bytes: Record<string, number> = {
    redis: hashBytes - payload,
    names,
    head,
    ids,
    structure,
    tiles,
    'wide partials': wide,
    blocks,
  };
  Object.assign(bytes, { times, 'event ids': rowIds }, Object.fromEntries(columns), { other });
  const parts = Object.fromEntries(Object.entries(bytes).map(([name, value]) => [name, value / events]));
  const sum = Object.values(bytes).reduce((a, b) => a + b, 0);
  if (Math.abs(sum - hashBytes) > 1e-6 * hashBytes) throw new Error(`parts are ${sum} of ${hashBytes} bytes`);
  return parts;
}
