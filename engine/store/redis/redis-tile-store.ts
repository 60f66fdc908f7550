/**
 * The tile store on a Redis or a Redis Cluster. Keys: redis-keys.ts; scripts: scripts/*.lua.
 *
 * Every call is one round trip: all its commands are written at once, those of a shard go to the node that has the
 * shard's slot. A state is written by one script, which Redis runs as a whole and puts into its append-only file and
 * to its replicas as a whole, so what a crash or a failover loses is the newest writes of a node, states, watermarks
 * and due entries alike: the suffix that the watermark protocol allows. What it then lacks is noticed by the
 * incarnation, which the server that executes a move of a watermark makes of its run id and replication id.
 *
 * A script that a power loss tears in the file comes back in part at the start after the next: see compareAndSet-n.lua.
 *
 * Any error means that the call may or may not have happened: read again, then compare-and-set again.
 */

import type { ClockKind } from '../../clock.ts';
import type { ShardMark } from '../shard-mark.ts';
import { checkRecordName, checkRecordWrite, checkShard, checkTimeMs, checkToken } from '../state-address.ts';
import { StoreClosedError, StoreSetupError } from '../store-errors.ts';
import type {
  CompareAndSet,
  DroppedStates,
  DueEntry,
  MoveWatermark,
  ReadRequest,
  ReadState,
  RecordWrite,
  ShardLook,
  StoreRecord,
  TileStore,
  Watermark,
  WatermarkName,
} from '../tile-store.ts';
import { readHex, TOKEN_BYTES } from '../token-bytes.ts';
import { decodeWatermark, encodeWatermark } from '../watermark-bytes.ts';
import { checkEviction, checkRedis } from './redis-checks.ts';
import { RedisCommand } from './redis-command.ts';
import { RedisConnection, type RedisConnectionOptions } from './redis-connection.ts';
import {
  addressOfDueMember,
  checkPrefix,
  DEFAULT_REDIS_PREFIX,
  dueMember,
  MARK_FIELD,
  namespacePrefix,
  RedisKeys,
  recordsKey,
  watermarkField,
} from './redis-keys.ts';
import { claimLayout } from './redis-layout.ts';
import { arrayOf, bytesOf, flagsOf, integerOf, textOf, valuesOf } from './redis-reply.ts';
import { ScriptCall } from './redis-script.ts';
import { RespWriter } from './resp-writer.ts';
import { CANNOT_RESTATE, canRestate } from './restating.ts';
import { LIFE_BYTES } from './server-lives.ts';
import { markOf, readCommand, stateOf } from './state-reads.ts';
import { byShard, tokenBytes, writeCalls } from './state-writes.ts';

export interface RedisTileStoreOptions extends RedisConnectionOptions {
  /**
   * Number of shards states are spread over, 1 to 1,024; written down in Redis by whoever opens it first.
   * @default what is written down, else 1, and 16 on a cluster
   */
  readonly shards?: number;
  /**
   * The clock that it is filled by; written down in Redis by whoever opens it first.
   * @default what is written down, else wall
   */
  readonly clock?: ClockKind;
  /** What all keys start with, so that deployments can share a Redis. @default mr */
  readonly prefix?: string;
  /** Whether somebody must have opened it before, so that a wrong prefix is noticed. @default false */
  readonly mustExist?: boolean;
  /** Take a Redis without an append-only file, which loses everything with a restart. @default false */
  readonly acceptLoss?: boolean;
}

/** A lease takes at most this many at once, however many are asked for: it holds Redis for some 2 µs each. */
const LEASES_PER_CALL = 256;
const POSTPONED_PER_CALL = 256;
/** Bounds how long one call may hold Redis. */
const MOVES_PER_CALL = 128;
/** Due entries looked at in one call that drops states. */
const DROPPED_PER_CALL = 256;
const SHARDS_MAX = 1024;
const NO_BYTES = new Uint8Array(0);
/** Where a scan begins, and what it answers at its end. */
const FIRST_CURSOR = '0';

const textEncoder = new TextEncoder();
const textDecoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

export class RedisTileStore implements TileStore {
  /** What the checks at the start could not verify, or accepted: to be logged. */
  readonly warnings: readonly string[];
  readonly #connection: RedisConnection;
  readonly #prefix: string;
  readonly #keys: RedisKeys;
  readonly #clock: ClockKind;
  readonly #writer = new RespWriter();
  readonly #restates: boolean;
  /** By shard: marks that are read at the end of this turn of the event loop, for all reads that are sent in it. */
  readonly #marks: (Promise<ShardMark | null> | undefined)[] = [];
  #closing: Promise<void> | undefined;

  /**
   * Connects and checks what it finds.
   * @throws StoreUnavailableError where no node answers; StoreSetupError where Redis could lose what it confirmed;
   *   StoreFormatError where it was filled with another number of shards, by another clock or by another version;
   *   StoreUnusedError where somebody must have opened it, and nobody has
   */
  static async open(options: RedisTileStoreOptions): Promise<RedisTileStore> {
    const { shards = null, clock = null, acceptLoss = false, mustExist = false } = options;
    const { prefix = DEFAULT_REDIS_PREFIX } = options;
    checkPrefix(prefix);
    if (shards !== null && (!Number.isSafeInteger(shards) || shards < 1 || shards > SHARDS_MAX)) {
      throw new StoreSetupError(`the number of shards must be an integer from 1 to ${SHARDS_MAX}`);
    }
    const connection = await RedisConnection.open(options);
    try {
      const warnings = await checkRedis(connection.masters(), { acceptLoss });
      const layout = await claimLayout(connection, { prefix, shards, clock, mustExist });
      const restates = await canRestate(connection, prefix);
      if (!restates) warnings.push(CANNOT_RESTATE);
      const keys = new RedisKeys(prefix, layout.shards);
      const store = new RedisTileStore(connection, keys, { prefix, clock: layout.clock, warnings, restates });
      // INFO inside a script may be forbidden: better now than at the first move of a watermark.
      await store.incarnation(0);
      return store;
    } catch (error) {
      await connection.close();
      throw error;
    }
  }

  private constructor(
    connection: RedisConnection,
    keys: RedisKeys,
    {
      prefix,
      clock,
      warnings,
      restates,
    }: {
      readonly prefix: string;
      readonly clock: ClockKind;
      readonly warnings: readonly string[];
      readonly restates: boolean;
    },
  ) {
    this.#connection = connection;
    this.#prefix = prefix;
    this.#keys = keys;
    this.#clock = clock;
    this.warnings = warnings;
    this.#restates = restates;
  }

  /** The nodes that reads of the profile `serving` were sent to: HOST:PORT or the path of a socket, and whether they are not asked for now. */
  breakers(): readonly { readonly address: string; readonly isOpen: boolean }[] {
    return this.#connection.breakers();
  }

  /** Number of shards that this Redis was filled with. */
  get shards(): number {
    return this.#keys.shards;
  }

  /**
   * Writes the layout down again where it was lost with everything else: whoever opens the store next must not choose
   * other shards or another clock than those use who never stopped. Says so where Redis was told to evict meanwhile.
   * @throws StoreFormatError where somebody did; StoreSetupError where data may be dropped
   */
  async confirmLayout(): Promise<void> {
    this.#assertOpen();
    await claimLayout(this.#connection, { prefix: this.#prefix, shards: this.shards, clock: this.#clock });
    await checkEviction(this.#connection.masters());
  }

  async incarnation(shard: number): Promise<string> {
    this.#assertOpen();
    const { epoch } = this.#connection.lives;
    const [reply] = await this.#connection.call([this.#moveCall(shard, '', [])]);
    const incarnation = textOf(arrayOf(reply)[0]);
    this.#connection.lives.seenIncarnation(shard, incarnation, epoch);
    return incarnation;
  }

  async read(requests: readonly ReadRequest[]): Promise<ReadState[]> {
    this.#assertOpen();
    const commands = this.#encode((writer) =>
      requests.map((request) => readCommand(writer, this.#keys, request)),
    );
    // Throws where nothing may be sent: the marks must not be asked for then either.
    const called = this.#connection.read(commands);
    // Ingest, which reads the most states, asks for none.
    if (!requests.some(({ marked }) => marked)) {
      const replies = await called;
      return requests.map((request, i) => stateOf(request, replies[i]));
    }
    const marking = requests.map(({ address, marked }) => (marked ? this.#mark(address.shard) : undefined));
    const [replies, ...marks] = await Promise.all([called, ...marking]);
    return requests.map((request, i) => stateOf(request, replies[i], marks[i]));
  }

  async compareAndSet(writes: readonly CompareAndSet[]): Promise<boolean[]> {
    this.#assertOpen();
    const { lives } = this.#connection;
    const { epoch } = lives;
    const context = { keys: this.#keys, lives, restates: this.#restates };
    const calls = this.#encode((writer) => writeCalls({ writer, ...context }, writes));
    const replies = await this.#connection.call(calls.map(({ call }) => call));
    const won = new Array<boolean>(writes.length);
    calls.forEach(({ shard, indices }, c) => {
      const reply = bytesOf(replies[c]);
      lives.seen(shard, reply.subarray(0, LIFE_BYTES), epoch);
      const flags = flagsOf(reply.subarray(LIFE_BYTES), indices.length);
      for (let i = 0; i < indices.length; i++) won[indices[i]!] = flags[i]!;
    });
    return won;
  }

  async readWatermarks(shard: number, names: readonly WatermarkName[]): Promise<(Watermark | null)[]> {
    this.#assertOpen();
    checkShard(shard);
    if (names.length === 0) return [];
    const { watermarks } = this.#keys.shard(shard);
    const fields = names.map(watermarkField);
    const writer = this.#writer;
    writer.ascii(watermarks);
    for (const field of fields) writer.text(field);
    const [reply] = await this.#connection.call([new RedisCommand('hmget', writer.finish(), watermarks)]);
    return valuesOf(reply).map((value) => (value === null ? null : decodeWatermark(value)));
  }

  async look(shard: number, names: readonly WatermarkName[]): Promise<ShardLook> {
    this.#assertOpen();
    checkShard(shard);
    const { watermarks } = this.#keys.shard(shard);
    const fields = names.map(watermarkField);
    const writer = this.#writer;
    writer.ascii(watermarks);
    writer.ascii(MARK_FIELD);
    for (const field of fields) writer.text(field);
    const [reply] = await this.#connection.call([new RedisCommand('hmget', writer.finish(), watermarks)]);
    const [mark, ...values] = valuesOf(reply);
    return {
      mark: markOf(mark),
      watermarks: values.map((value) => (value === null ? null : decodeWatermark(value))),
    };
  }

  async moveWatermarks(moves: readonly MoveWatermark[]): Promise<boolean[]> {
    this.#assertOpen();
    for (const { shard, name, expected, next } of moves) {
      checkShard(shard);
      watermarkField(name);
      if (expected !== null) checkToken(expected);
      checkToken(next.token);
    }
    const groups = new Map<string, number[]>();
    moves.forEach(({ shard, incarnation }, i) => {
      const id = `${shard} ${incarnation}`;
      const last = groups.get(id);
      if (last === undefined) groups.set(id, [i]);
      else last.push(i);
    });
    const chunks = [...groups.values()].flatMap((indices) => chunked(indices, MOVES_PER_CALL));
    const { lives } = this.#connection;
    const { epoch } = lives;
    const replies = await this.#connection.call(
      chunks.map((indices) => {
        const { shard, incarnation } = moves[indices[0]!]!;
        return this.#moveCall(
          shard,
          incarnation,
          indices.map((i) => moves[i]!),
        );
      }),
    );
    const moved = new Array<boolean>(moves.length);
    chunks.forEach((indices, c) => {
      const [incarnation, won] = arrayOf(replies[c]);
      lives.seenIncarnation(moves[indices[0]!]!.shard, textOf(incarnation), epoch);
      const flags = flagsOf(won, indices.length);
      for (let i = 0; i < indices.length; i++) moved[indices[i]!] = flags[i]!;
    });
    return moved;
  }

  /** As in `TileStore`; at most 256 at once. */
  async leaseDue(args: {
    shard: number;
    nowMs: number;
    leaseUntilMs: number;
    limit: number;
  }): Promise<DueEntry[]> {
    this.#assertOpen();
    const { shard, nowMs, leaseUntilMs, limit } = args;
    checkShard(shard);
    checkTimeMs('lease end', leaseUntilMs);
    if (limit <= 0) return [];
    const { due } = this.#keys.shard(shard);
    const writer = this.#writer;
    writer.integer(1);
    writer.ascii(due);
    writer.ascii(score(nowMs));
    writer.ascii(score(leaseUntilMs));
    writer.integer(Math.min(Math.floor(limit), LEASES_PER_CALL));
    const [reply] = await this.#connection.call([new ScriptCall('leaseDue', writer.finish(), due)]);
    const parts = arrayOf(reply);
    const entries: DueEntry[] = [];
    for (let i = 0; i < parts.length; i += 2) {
      entries.push({
        address: addressOfDueMember(shard, bytesOf(parts[i])),
        dueMs: Number(textOf(parts[i + 1])),
        leasedUntilMs: leaseUntilMs,
      });
    }
    return entries;
  }

  async postponeDue(entries: readonly DueEntry[], untilMs: number): Promise<void> {
    this.#assertOpen();
    checkTimeMs('due time', untilMs);
    const members = entries.map(({ address, leasedUntilMs }) => {
      checkTimeMs('lease end', leasedUntilMs);
      return dueMember(address);
    });
    const calls: ScriptCall[] = [];
    for (const [shard, indices] of byShard(entries)) {
      const { due } = this.#keys.shard(shard);
      for (const chunk of chunked(indices, POSTPONED_PER_CALL)) {
        const writer = this.#writer;
        writer.integer(1);
        writer.ascii(due);
        writer.ascii(score(untilMs));
        for (const i of chunk) {
          writer.text(members[i]!);
          writer.ascii(score(entries[i]!.leasedUntilMs));
        }
        calls.push(new ScriptCall('postponeDue', writer.finish(), due));
      }
    }
    await this.#connection.call(calls);
  }

  async countDue(shard: number, nowMs: number): Promise<number> {
    this.#assertOpen();
    checkShard(shard);
    const { due } = this.#keys.shard(shard);
    const writer = this.#writer;
    writer.ascii(due);
    writer.ascii('-inf');
    writer.ascii(score(nowMs));
    const [reply] = await this.#connection.call([new RedisCommand('zcount', writer.finish(), due)]);
    return integerOf(reply);
  }

  async earliestDueMs(shard: number): Promise<number | null> {
    this.#assertOpen();
    checkShard(shard);
    const { due } = this.#keys.shard(shard);
    const writer = this.#writer;
    writer.ascii(due);
    writer.ascii('0');
    writer.ascii('0');
    writer.ascii('WITHSCORES');
    const [reply] = await this.#connection.call([new RedisCommand('zrange', writer.finish(), due)]);
    const [, dueMs] = arrayOf(reply);
    return dueMs === undefined ? null : Number(textOf(dueMs));
  }

  async readRecords(names: readonly string[]): Promise<(StoreRecord | null)[]> {
    this.#assertOpen();
    for (const name of names) checkRecordName(name);
    if (names.length === 0) return [];
    const key = recordsKey(this.#prefix);
    const writer = this.#writer;
    writer.ascii(key);
    for (const name of names) writer.ascii(name);
    const [reply] = await this.#connection.call([new RedisCommand('hmget', writer.finish(), key)]);
    return valuesOf(reply).map((value) =>
      value === null
        ? null
        : { token: readHex(value, 0), text: textDecoder.decode(value.subarray(TOKEN_BYTES)) },
    );
  }

  async compareAndSetRecord(write: RecordWrite): Promise<boolean> {
    this.#assertOpen();
    checkRecordWrite(write);
    const { name, expected, next } = write;
    const key = recordsKey(this.#prefix);
    const writer = this.#writer;
    writer.integer(1);
    writer.ascii(key);
    writer.ascii(name);
    writer.raw(expected === null ? NO_BYTES : tokenBytes(expected));
    writer.raw(tokenBytes(next.token), textEncoder.encode(next.text));
    const call = new ScriptCall('compareAndSetRecord', writer.finish(), key);
    const [reply] = await this.#connection.call([call]);
    return integerOf(reply) === 1;
  }

  async dropWatermarks(shard: number, namespace: string): Promise<void> {
    this.#assertOpen();
    checkShard(shard);
    const prefix = namespacePrefix(namespace);
    const { watermarks } = this.#keys.shard(shard);
    const writer = this.#writer;
    writer.integer(1);
    writer.ascii(watermarks);
    writer.ascii(prefix);
    await this.#connection.call([new ScriptCall('dropWatermarks', writer.finish(), watermarks)]);
  }

  /** As in `TileStore`: every state has a due entry, and is found by it. */
  async dropStates(args: {
    shard: number;
    namespace: string;
    cursor: string | null;
  }): Promise<DroppedStates | null> {
    this.#assertOpen();
    const { shard, namespace, cursor } = args;
    checkShard(shard);
    const prefix = namespacePrefix(namespace);
    const { due, watermarks, statePrefix } = this.#keys.shard(shard);
    const writer = this.#writer;
    writer.ascii(due);
    writer.ascii(cursor ?? FIRST_CURSOR);
    for (const part of ['MATCH', `${prefix}*`, 'COUNT', `${DROPPED_PER_CALL}`]) writer.ascii(part);
    const [scanned] = await this.#connection.call([new RedisCommand('zscan', writer.finish(), due)]);
    const [next, entries] = arrayOf(scanned);
    // Member, score, member, score, …
    const members = arrayOf(entries)
      .filter((_, i) => i % 2 === 0)
      .map(bytesOf);
    writer.integer(2 + members.length);
    writer.ascii(due);
    writer.ascii(watermarks);
    const before = textEncoder.encode(statePrefix);
    for (const member of members) writer.raw(before, member);
    writer.ascii(prefix);
    const call = new ScriptCall('dropStates', writer.finish(), due);
    const [reply] = await this.#connection.call([call]);
    const dropped = integerOf(reply);
    if (dropped < 0) return null;
    return { dropped, cursor: textOf(next) === FIRST_CURSOR ? null : textOf(next) };
  }

  /** Waits for what is in flight, at most as long as a command may take. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#connection.close();
    return this.#closing;
  }

  #assertOpen(): void {
    if (this.#closing !== undefined) throw new StoreClosedError('the tile store is closed');
  }

  /** Nothing half-written is left in the writer where an address is refused. */
  #encode<T>(encode: (writer: RespWriter) => T): T {
    try {
      return encode(this.#writer);
    } catch (error) {
      this.#writer.clear();
      throw error;
    }
  }

  /** Read behind the states: what is lost before them is missing here, too. */
  #mark(shard: number): Promise<ShardMark | null> {
    let mark = this.#marks[shard];
    if (mark === undefined) {
      const reply = this.#connection.callLast(() => {
        this.#marks[shard] = undefined;
        const { watermarks } = this.#keys.shard(shard);
        this.#writer.ascii(watermarks);
        this.#writer.ascii(MARK_FIELD);
        return new RedisCommand('hget', this.#writer.finish(), watermarks);
      });
      mark = reply.then(markOf);
      this.#marks[shard] = mark;
    }
    return mark;
  }

  #moveCall(shard: number, incarnation: string, moves: readonly MoveWatermark[]): ScriptCall {
    checkShard(shard);
    const { watermarks } = this.#keys.shard(shard);
    const values = moves.map(({ next }) => encodeWatermark(next));
    const writer = this.#writer;
    writer.integer(1);
    writer.ascii(watermarks);
    writer.text(incarnation);
    moves.forEach(({ name, expected }, i) => {
      writer.text(watermarkField(name));
      writer.raw(expected === null ? NO_BYTES : tokenBytes(expected));
      writer.raw(values[i]!);
    });
    return new ScriptCall('moveWatermarks', writer.finish(), watermarks);
  }
}

/** A time as the score of a sorted set; `now` may be any number. */
function score(timeMs: number): string {
  return timeMs === Number.POSITIVE_INFINITY ? '+inf' : `${timeMs}`;
}

function chunked(indices: readonly number[], size: number): number[][] {
  const chunks: number[][] = [];
  for (let at = 0; at < indices.length; at += size) chunks.push(indices.slice(at, at + size));
  return chunks;
}
