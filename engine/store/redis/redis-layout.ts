/**
 * The layout record: in which format and over how many shards a Redis was filled. The first process that opens it
 * writes it down; another number of shards would look for every key in the wrong place and find nothing.
 */
import { StoreFormatError, StoreUnusedError } from '../store-errors.ts';
import { RedisCommand } from './redis-command.ts';
import type { RedisConnection } from './redis-connection.ts';
import { layoutKey } from './redis-keys.ts';
import { textsOf, valuesOf } from './redis-reply.ts';
import { ScriptCall } from './redis-script.ts';
import { RespWriter } from './resp-writer.ts';

const FORMAT = 2;
/** One Redis needs no more than one; a cluster can place each shard on another master. */
const DEFAULT_SHARDS = { single: 1, cluster: 16 };

/**
 * Reads the record, and writes it where there is none.
 * @param shards null: as written down
 * @param mustExist where there is none, do not write it
 * @throws StoreFormatError where the record does not allow to go on; StoreUnusedError where there must be one, and is none
 */
export async function claimLayout(
  connection: RedisConnection,
  {
    prefix,
    shards,
    mustExist = false,
  }: { readonly prefix: string; readonly shards: number | null; readonly mustExist?: boolean },
): Promise<{ readonly shards: number }> {
  const key = layoutKey(prefix);
  if (mustExist && !(await hasLayout(connection, key))) {
    throw new StoreUnusedError(
      `nobody has stored anything under the Redis keys ${prefix}:… yet: give the --redis and --redis-prefix that ` +
        '`ingest` was started with, or start `ingest` with these, which fills them from the log by itself',
    );
  }
  const writer = new RespWriter();
  writer.integer(1);
  writer.ascii(key);
  writer.integer(FORMAT);
  writer.integer(shards ?? DEFAULT_SHARDS[connection.isCluster ? 'cluster' : 'single']);
  const [reply] = await connection.call([new ScriptCall('claimLayout', writer.finish(), key)]);
  const [format, recorded] = textsOf(reply);
  if (format !== String(FORMAT)) {
    throw new StoreFormatError(
      `the Redis keys ${prefix}:… have format ${format}; this version reads format ${FORMAT}: ` +
        'use the version that wrote them, or another --redis-prefix',
    );
  }
  if (shards !== null && recorded !== String(shards)) {
    throw new StoreFormatError(
      `the Redis keys ${prefix}:… were filled with ${recorded} shards; start with --shards ${recorded}, ` +
        'or use another --redis-prefix',
    );
  }
  return { shards: Number(recorded) };
}

async function hasLayout(connection: RedisConnection, key: string): Promise<boolean> {
  const writer = new RespWriter();
  writer.ascii(key);
  writer.ascii('format');
  const [reply] = await connection.call([new RedisCommand('hmget', writer.finish(), key)]);
  return valuesOf(reply)[0] !== null;
}
