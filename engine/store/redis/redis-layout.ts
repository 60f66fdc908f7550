/**
 * The layout record: in which format, over how many shards and by which clock a Redis was filled. The first process that
 * opens it writes it down. Another number of shards would look for every key in the wrong place and find nothing; another
 * clock would get into the watermarks, from there into the clock of every process, and make events too late for good.
 */
import type { ClockKind } from '../../clock.ts';
import { StoreFormatError, StoreUnusedError } from '../store-errors.ts';
import { RedisCommand } from './redis-command.ts';
import type { RedisConnection } from './redis-connection.ts';
import { layoutKey } from './redis-keys.ts';
import { textOf, valuesOf } from './redis-reply.ts';
import { ScriptCall } from './redis-script.ts';
import { RespWriter } from './resp-writer.ts';

const FORMAT = 3;
/** One Redis needs no more than one; a cluster can place each shard on another master. */
const DEFAULT_SHARDS = { single: 1, cluster: 16 };
const DEFAULT_CLOCK: ClockKind = 'wall';

/** @typeParam Unsaid null where it may be left to what is written down */
export interface Layout<Unsaid = never> {
  readonly shards: number | Unsaid;
  readonly clock: ClockKind | Unsaid;
}

/**
 * Reads the record, and writes it where there is none.
 * @param shards null: as written down
 * @param clock null: as written down
 * @param mustExist where there is none, do not write it
 * @throws StoreFormatError where the record does not allow to go on; StoreUnusedError where there must be one, and is none
 */
export async function claimLayout(
  connection: RedisConnection,
  {
    prefix,
    shards,
    clock,
    mustExist = false,
  }: Layout<null> & { readonly prefix: string; readonly mustExist?: boolean },
): Promise<Layout> {
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
  writer.ascii(clock ?? DEFAULT_CLOCK);
  const [reply] = await connection.call([new ScriptCall('claimLayout', writer.finish(), key)]);
  const [format, recordedShards, recordedClock] = valuesOf(reply).map((value) =>
    value === null ? '' : textOf(value),
  );
  if (format !== String(FORMAT)) {
    throw new StoreFormatError(
      `the Redis keys ${prefix}:… have format ${format}; this version reads format ${FORMAT}: ` +
        'use the version that wrote them, or another --redis-prefix',
    );
  }
  if (shards !== null && recordedShards !== String(shards)) {
    throw new StoreFormatError(
      `the Redis keys ${prefix}:… were filled with ${recordedShards} shards; start with --shards ${recordedShards}, ` +
        'or use another --redis-prefix',
    );
  }
  if (clock !== null && recordedClock !== clock) {
    throw new StoreFormatError(
      `the Redis keys ${prefix}:… are filled by the ${recordedClock} clock; start with --clock ${recordedClock}, ` +
        'or use another --redis-prefix',
    );
  }
  return { shards: Number(recordedShards), clock: recordedClock as ClockKind };
}

async function hasLayout(connection: RedisConnection, key: string): Promise<boolean> {
  const writer = new RespWriter();
  writer.ascii(key);
  writer.ascii('format');
  const [reply] = await connection.call([new RedisCommand('hmget', writer.finish(), key)]);
  return valuesOf(reply)[0] !== null;
}
