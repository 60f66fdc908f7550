/**
 * Cuts the writes of one call into script calls: per shard, in order, and small enough that Redis answers others in
 * between.
 */
import { checkFieldName, checkTimeMs, checkToken } from '../state-address.ts';
import type { CompareAndSet } from '../tile-store.ts';
import { TOKEN_BYTES, writeHex } from '../token-bytes.ts';
import type { RedisKeys } from './redis-keys.ts';
import { ScriptCall } from './redis-script.ts';
import type { RespWriter } from './resp-writer.ts';
import type { ServerLives } from './server-lives.ts';

/** Such a call holds Redis for a quarter to half a millisecond: some 10 µs for a state of 1 kB. */
const STATES_PER_CALL = 32;
const BYTES_PER_CALL = 64 * 1024;

const NO_BYTES = new Uint8Array(0);

/** A script call, and which of the writes it makes. */
export interface WriteCall {
  readonly call: ScriptCall;
  readonly shard: number;
  readonly indices: readonly number[];
}

export interface WriteContext {
  readonly writer: RespWriter;
  readonly keys: RedisKeys;
  readonly lives: Pick<ServerLives, 'of'>;
  /** Whether the servers allow that states are restated: see compareAndSet-n.lua. */
  readonly restates: boolean;
}

/** @throws InvalidAddressError before anything is sent */
export function writeCalls(context: WriteContext, writes: readonly CompareAndSet[]): WriteCall[] {
  const { keys } = context;
  const stateKeys = writes.map((write) => checkedKey(keys, write));
  const calls: WriteCall[] = [];
  for (const [shard, indices] of byShard(writes)) {
    for (const chunk of chunks(writes, indices)) {
      calls.push({
        call: writeCall(context, shard, writes, stateKeys, chunk),
        shard,
        indices: chunk,
      });
    }
  }
  return calls;
}

function checkedKey(keys: RedisKeys, { address, expected, next, changes, dueMs }: CompareAndSet): string {
  if (dueMs !== undefined) checkTimeMs('due time', dueMs);
  if (expected !== null) checkToken(expected);
  if (next !== null) checkToken(next.token);
  for (const field of changes.keys()) checkFieldName(field);
  return keys.state(address);
}

export function byShard(
  items: readonly { readonly address: { readonly shard: number } }[],
): Map<number, number[]> {
  const indicesOf = new Map<number, number[]>();
  for (let i = 0; i < items.length; i++) {
    const { shard } = items[i]!.address;
    const indices = indicesOf.get(shard);
    if (indices === undefined) indicesOf.set(shard, [i]);
    else indices.push(i);
  }
  return indicesOf;
}

/** Ends of states are kept apart from other writes: see the script. */
function* chunks(writes: readonly CompareAndSet[], indices: readonly number[]): Generator<number[]> {
  let chunk: number[] = [];
  let bytes = 0;
  let ends = false;
  for (const i of indices) {
    const { next, changes } = writes[i]!;
    let size = 0;
    if (next !== null) {
      size += next.head.length;
      for (const value of changes.values()) size += value?.length ?? 0;
    }
    if (
      chunk.length > 0 &&
      (chunk.length === STATES_PER_CALL || bytes + size > BYTES_PER_CALL || ends !== (next === null))
    ) {
      yield chunk;
      chunk = [];
      bytes = 0;
    }
    chunk.push(i);
    bytes += size;
    ends = next === null;
  }
  yield chunk;
}

function writeCall(
  { writer, keys, lives, restates }: WriteContext,
  shard: number,
  writes: readonly CompareAndSet[],
  stateKeys: readonly string[],
  indices: readonly number[],
): ScriptCall {
  const { due: dueKey } = keys.shard(shard);
  writer.integer(1 + indices.length);
  writer.ascii(dueKey);
  for (const i of indices) writer.text(stateKeys[i]!);
  writer.raw(lives.of(shard));
  writer.integer(restates ? 1 : 0);
  for (const i of indices) {
    const { expected, next, changes, dueMs } = writes[i]!;
    writer.raw(expected === null ? NO_BYTES : tokenBytes(expected));
    if (next === null) {
      // The script deletes the whole hash, whatever fields it has.
      for (let empty = 0; empty < 2; empty++) writer.raw(NO_BYTES);
      writer.integer(0);
      writer.integer(0);
      continue;
    }
    writer.raw(tokenBytes(next.token), next.head);
    writer.ascii(dueMs === undefined ? '' : `${dueMs}`);
    let deletes = 0;
    for (const value of changes.values()) if (value === null) deletes++;
    writer.integer(changes.size - deletes);
    writer.integer(deletes);
    for (const [field, value] of changes) {
      if (value === null) continue;
      writer.ascii(field);
      writer.raw(value);
    }
    if (deletes === 0) continue;
    for (const [field, value] of changes) if (value === null) writer.ascii(field);
  }
  return new ScriptCall('compareAndSet', writer.finish(), dueKey);
}

const token = new Uint8Array(TOKEN_BYTES);

/** Valid until the next call. */
export function tokenBytes(hex: string): Uint8Array {
  writeHex(token, 0, hex);
  return token;
}
