/** Whether a Redis allows what compareAndSet-n.lua needs to keep torn transactions of its append-only file from doing harm. */
import type { RedisConnection } from './redis-connection.ts';
import { layoutKey } from './redis-keys.ts';
import { textOf } from './redis-reply.ts';
import { ScriptCall } from './redis-script.ts';
import { RespWriter } from './resp-writer.ts';

export const CANNOT_RESTATE =
  'RESTORE, DUMP or redis.set_repl is forbidden (ACL +restore +dump): after a power loss run `redis-check-aof --fix` before ' +
  'Redis starts, or the start after that may give states back that lack events';

/** One node is asked: they are set up alike. @throws as `RedisConnection.call` */
export async function canRestate(connection: RedisConnection, prefix: string): Promise<boolean> {
  const key = `${layoutKey(prefix)}:probe`;
  const writer = new RespWriter();
  writer.integer(1);
  writer.ascii(key);
  const [refused] = await connection.call([new ScriptCall('probeRestating', writer.finish(), key)]);
  return textOf(refused) === '';
}
