/**
 * Reads of states. One without watermarks is an HMGET of all tiers: atomic by itself, less work for Redis than a script that
 * stops where it can, and on a single key, which a cluster answers even while its slot is being migrated. One with watermarks is
 * a script.
 */

import type { ShardMark } from '../shard-mark.ts';
import { checkFieldName } from '../state-address.ts';
import type { FieldTier, ReadRequest, ReadState } from '../tile-store.ts';
import { readHex, TOKEN_BYTES } from '../token-bytes.ts';
import { decodeWatermark } from '../watermark-bytes.ts';
import { RedisCommand } from './redis-command.ts';
import { HEAD_FIELD, type RedisKeys, watermarkField } from './redis-keys.ts';
import { arrayOf, bytesOf, UnexpectedReplyError, valuesOf } from './redis-reply.ts';
import { ScriptCall } from './redis-script.ts';
import { type RespArguments, RespWriter } from './resp-writer.ts';
import { LIFE_BYTES } from './server-lives.ts';

const ZERO = '0'.charCodeAt(0);

export function readCommand(
  writer: RespWriter,
  keys: RedisKeys,
  { address, fields, tiers = [], watermarks = [] }: ReadRequest,
): RedisCommand | ScriptCall {
  const key = keys.state(address);
  const shard = keys.shard(address.shard);
  for (const field of fields) checkFieldName(field);
  if (watermarks.length === 0) {
    writer.text(key);
    writer.ascii(HEAD_FIELD);
    for (const field of fields) writer.ascii(field);
    for (const tier of tiers) writeTier(writer, tier);
    return new RedisCommand('hmget', writer.finish(), shard.watermarks);
  }
  const names = watermarks.map(watermarkField);
  writer.integer(2);
  writer.text(key);
  writer.ascii(shard.watermarks);
  writer.integer(1 + fields.length);
  writer.ascii(HEAD_FIELD);
  for (const field of fields) writer.ascii(field);
  for (const name of names) writer.text(name);
  return new ScriptCall('readWithWatermarks', writer.finish(), shard.watermarks);
}

/** Of tiers that last: some of their names are in every read for minutes. */
const encodedTiers = new WeakMap<FieldTier, RespArguments>();
const tierWriter = new RespWriter();

function writeTier(writer: RespWriter, tier: FieldTier): void {
  if (!tier.lasting) {
    writeNames(writer, tier);
    return;
  }
  let encoded = encodedTiers.get(tier);
  if (encoded === undefined) {
    tierWriter.clear();
    writeNames(tierWriter, tier);
    const { count, bytes } = tierWriter.finish();
    encoded = { count, bytes: Buffer.from(bytes) };
    encodedTiers.set(tier, encoded);
  }
  writer.encoded(encoded);
}

function writeNames(writer: RespWriter, { fields }: FieldTier): void {
  for (const field of fields) {
    checkFieldName(field);
    writer.ascii(field);
  }
}

/** @param mark of the shard, where it was asked for */
export function stateOf(request: ReadRequest, reply: unknown, mark?: ShardMark | null): ReadState {
  if ((request.watermarks?.length ?? 0) === 0) return stateOfValues(valuesOf(reply), [], mark);
  const [values, watermarks] = arrayOf(reply);
  return stateOfValues(valuesOf(values), valuesOf(watermarks), mark);
}

/** The mark of a shard as moveWatermarks-1.lua writes it. */
export function markOf(reply: unknown): ShardMark | null {
  if (reply === null) return null;
  const bytes = bytesOf(reply);
  let moves = 0;
  for (let i = TOKEN_BYTES; i < bytes.length; i++) moves = moves * 10 + (bytes[i]! - ZERO);
  return { history: readHex(bytes, 0), moves };
}

function stateOfValues(
  values: readonly (Uint8Array | null)[],
  watermarks: readonly (Uint8Array | null)[],
  mark: ShardMark | null | undefined,
): ReadState {
  const base = values[0];
  if (base === undefined) throw new UnexpectedReplyError('expected the head of a state from Redis');
  return {
    token: base === null ? null : readHex(base, 0),
    head: base === null ? null : base.subarray(TOKEN_BYTES + LIFE_BYTES),
    fields: values.slice(1),
    watermarks: watermarks.map((value) => (value === null ? null : decodeWatermark(value))),
    ...(mark === undefined ? {} : { mark }),
  };
}
