import type { RedisReply } from './redis-command.ts';
import type { RedisServer } from './redis-server.ts';

const KEYS_PER_LOOK = 1_000;
const MIGRATE_TIMEOUT_MS = 5_000;

/** First and last slot, then the master, as address, port, id. */
type SlotRange = readonly [number, number, readonly [string, number, string]];

/** The server that serves the slot, as the first of them sees it. */
export async function ownerOf(servers: readonly RedisServer[], slot: number): Promise<RedisServer> {
  const ranges = (await servers[0]!.command('CLUSTER', 'SLOTS')) as unknown as readonly SlotRange[];
  const port = ranges.find(([first, last]) => first <= slot && slot <= last)?.[2][1];
  const owner = servers.find((server) => server.port === port);
  if (owner === undefined) throw new Error(`nobody serves slot ${slot}`);
  return owner;
}

/**
 * Moves a slot of a cluster with all of its keys to another master, as `redis-cli --cluster reshard` does, while clients go
 * on. Told to every server given, which must be the running masters, `to` among them.
 */
export async function migrateSlot(
  masters: readonly RedisServer[],
  slot: number,
  from: RedisServer,
  to: RedisServer,
): Promise<void> {
  const idOf = async (server: RedisServer): Promise<string> =>
    String(await server.command('CLUSTER', 'MYID'));
  const [fromId, toId] = [await idOf(from), await idOf(to)];
  await to.command('CLUSTER', 'SETSLOT', slot, 'IMPORTING', fromId);
  await from.command('CLUSTER', 'SETSLOT', slot, 'MIGRATING', toId);
  for (;;) {
    const keys = await from.command('CLUSTER', 'GETKEYSINSLOT', slot, KEYS_PER_LOOK);
    if ((keys as readonly RedisReply[]).length === 0) break;
    for (const key of keys as readonly string[]) {
      await from.command('MIGRATE', to.host, to.port, key, 0, MIGRATE_TIMEOUT_MS);
    }
  }
  // The new owner first: nobody may be told of one that does not know of it.
  for (const server of [to, from, ...masters.filter((master) => master !== to && master !== from)]) {
    await server.command('CLUSTER', 'SETSLOT', slot, 'NODE', toId);
  }
}
