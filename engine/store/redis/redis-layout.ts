/**
 * The layout record: in which format and over how many shards a Redis was filled. The first process that opens it
 * writes it down; another number of shards would look for every key in the wrong place and find nothing.
 */
import { StoreFormatError } from '../store-errors.ts';
import type { RedisConnection } from './redis-connection.ts';
import { layoutKey } from './redis-keys.ts';
import { textsOf } from './redis-reply.ts';
import { ScriptCall } from './redis-script.ts';
import { RespWriter } from './resp-writer.ts';

const FORMAT = 2;
/** One Redis needs no more than one; a cluster can place each shard on another master. */
const DEFAULT_SHARDS = { single: 1, cluster: 16 };

/**
 * Reads the record, and writes it where there is none.
 * @param shards null: as written down
 * @throws StoreFormatError where the record does not allow to go on
 */
export async function claimLayout(
  connection: RedisConnection,
  { prefix, shards }: { readonly prefix: string; readonly shards: number | null },
): Promise<{ readonly shards: number }> {
  const key = layoutKey(prefix);
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
