/**
 * Copies of records that could not be used: what the consumer and the state make of them. The views see events of one
 * card; `careful` throws on the amount 13 until it is mended, and merges its rows for good.
 */
import { beforeEach, expect, test } from 'vitest';
import { Compactor, inOwnNamespaces } from '../compaction/compactor.ts';
import { ManualClock } from '../engine/clock.ts';
import { count } from '../engine/definitions/aggregation.ts';
import { integer, string, timestamp } from '../engine/definitions/column.ts';
import { compileRepo } from '../engine/definitions/compile.ts';
import type { CompiledView } from '../engine/definitions/compiled.ts';
import { entity } from '../engine/definitions/entity.ts';
import { featureService } from '../engine/definitions/feature-service.ts';
import { featureView } from '../engine/definitions/feature-view.ts';
import { streamSource } from '../engine/definitions/stream-source.ts';
import { MemoryTileStore } from '../engine/store/memory-tile-store.ts';
import { randomTokens } from '../engine/store/random-tokens.ts';
import { ReadFields } from '../engine/store/read-fields.ts';
import { ForwardingStore } from '../engine/store/testing/forwarding-store.ts';
import type { CompareAndSet, MoveWatermark } from '../engine/store/tile-store.ts';
import { PROTOCOL } from '../engine/tiles/state-protocol.ts';
import { DEFAULT_TILE_SHAPE } from '../engine/tiles/tile-shape.ts';
import { WindowRead } from '../engine/windows/window-read.ts';
import { deferred } from '../roles/deferred.ts';
import type { DeadLetter } from './dead-letter.ts';
import { MemoryEventLog } from './log/memory-event-log.ts';
import { PartitionConsumer } from './partition-consumer.ts';
import { type StateWriting, shardOf } from './view-writer.ts';

const HOUR_MS = 3_600_000;
const START_MS = 1_700_000_000_000;
const SHARDS = 2;

let broken = true;
beforeEach(() => {
  broken = true;
});

const swipes = streamSource({
  name: 'swipes',
  columns: { at: timestamp(), card: string(), amount: integer() },
  eventTime: 'at',
  dedupeHorizon: '1h',
});
const card = entity('card');
const careful = featureView({
  name: 'careful',
  source: swipes,
  entity: card,
  filter: ({ amount }) => {
    if (broken && amount === 13) throw new Error('an unlucky number');
    return true;
  },
  features: { ever: count().lifetime() },
});
const plain = featureView({
  name: 'plain',
  source: swipes,
  entity: card,
  features: { week: count().over('7d') },
});
const repo = compileRepo([featureService({ name: 'all', features: [careful, plain] })]);
const source = repo.sources.get('swipes')!;
const newToken = randomTokens();

class Engine {
  readonly clock = new ManualClock(START_MS);
  readonly log = new MemoryEventLog({ source: 'swipes', partitions: 1, random: newToken, segmentRecords: 1 });
  readonly letters: DeadLetter[] = [];
  store = new MemoryTileStore({ random: () => newToken() });

  writing(store = this.store as StateWriting['store']): StateWriting {
    const { clock } = this;
    const fixed = { shards: SHARDS, shape: DEFAULT_TILE_SHAPE, pacing: { foldAfterMs: 0 }, rules: PROTOCOL };
    return { store, clock, ...fixed, newToken };
  }

  consumer(options: { chunkRecords?: number; store?: StateWriting['store'] } = {}): PartitionConsumer {
    return new PartitionConsumer({
      source,
      views: source.views,
      partition: 0,
      log: this.log,
      writing: this.writing(options.store),
      deadLetters: { write: async (letters) => void this.letters.push(...letters) },
      observer: { chunkApplied() {}, caughtUp() {}, positioned() {}, gap() {} },
      options: { chunkRecords: options.chunkRecords ?? 100 },
    });
  }

  async append(value: object | string, originOffset?: number): Promise<number> {
    const text = typeof value === 'string' ? value : JSON.stringify(value);
    const appendedMs = this.clock.nowMs();
    const record = {
      partition: 0,
      appendedMs,
      stamp: null,
      value: Buffer.from(text),
      eventTimeMs: appendedMs,
    };
    const copy = originOffset === undefined ? {} : { originOffset };
    return (await this.log.append([{ ...record, ...copy }]))[0]!;
  }

  swipe(amount: number, card = 'c1'): object {
    return { at: this.clock.nowMs(), card, amount };
  }

  async apply(consumer = this.consumer()): Promise<void> {
    while ((await consumer.step()) > 0);
  }

  /** Folds all that is old, and merges it for good where the view does. */
  async compact(): Promise<void> {
    this.clock.advanceTo(this.clock.nowMs() + HOUR_MS);
    const compactor = new Compactor(inOwnNamespaces(source.views), this.writing(), async () => true);
    for (let shard = 0; shard < SHARDS; shard++) while ((await compactor.step(shard)).compacted > 0);
  }

  async values(key = 'c1'): Promise<{ careful: unknown; plain: unknown }> {
    const of = async (view: CompiledView): Promise<unknown> => {
      const atMs = this.clock.nowMs();
      const read = new WindowRead(view, view.features);
      const lookup = read.lookup(atMs, null);
      const address = { namespace: view.namespace, key, shard: shardOf(key, SHARDS) };
      const [state] = await this.store.read([{ address, ...lookup }]);
      const bytes = new ReadFields(lookup, state!.fields);
      return read.evaluate({ head: state!.head, bytes, atMs, asked: null })[0]!.value;
    };
    return { careful: await of(source.views[0]!), plain: await of(source.views[1]!) };
  }
}

test('a copy counts in the view that could not use its original, once, and in no other', async () => {
  const engine = new Engine();
  await engine.append(engine.swipe(1));
  await engine.append(engine.swipe(13));
  await engine.apply();
  expect(engine.letters).toMatchObject([{ view: 'careful', partition: 0, offset: 1 }]);
  expect(await engine.values()).toEqual({ careful: 1, plain: 2 });

  broken = false;
  const copies = [engine.swipe(13), engine.swipe(13)];
  for (const copy of copies) await engine.append(copy, 1);
  await engine.apply();
  // In a chunk of its own as well.
  await engine.append(copies[0]!, 1);
  await engine.apply();
  expect(await engine.values()).toEqual({ careful: 2, plain: 2 });
  expect(engine.letters).toHaveLength(1);
});

test('what nobody could read counts in every view when it was mended', async () => {
  const engine = new Engine();
  const offset = await engine.append('{ "at": ');
  await engine.apply();
  await engine.append(engine.swipe(13), offset);
  broken = false;
  await engine.apply();
  expect(await engine.values()).toEqual({ careful: 1, plain: 1 });
});

test('a store filled again by the mended code has the original, and not its copies, also when rows were merged', async () => {
  for (const chunkRecords of [1, 100]) {
    broken = true;
    const engine = new Engine();
    const swipe = engine.swipe(13);
    await engine.append(swipe);
    await engine.apply();
    engine.clock.advanceTo(START_MS + 100 * HOUR_MS);
    broken = false;
    await engine.append(swipe, 0);
    await engine.append(swipe, 0);
    await engine.apply();
    expect(await engine.values()).toEqual({ careful: 1, plain: 1 });

    engine.store = new MemoryTileStore({ random: () => newToken() });
    const consumer = engine.consumer({ chunkRecords });
    while ((await consumer.step()) > 0) await engine.compact();
    expect(await engine.values()).toEqual({ careful: 1, plain: 1 });
    // A letter of before the store was lost, replayed only now.
    await engine.append(swipe, 0);
    await engine.apply();
    expect(await engine.values()).toEqual({ careful: 1, plain: 1 });
  }
});

test('a process that is behind does not apply the original after its copy', async () => {
  for (const others of [0, 40]) {
    const engine = new Engine();
    const swipe = engine.swipe(13);
    await engine.append(swipe);
    const resumed = deferred<void>();
    const reached = deferred<void>();
    // Of the mended version, and stopped before its first write.
    const stopped = new (class extends ForwardingStore {
      override async compareAndSet(writes: readonly CompareAndSet[]): Promise<boolean[]> {
        reached.resolve();
        await resumed.promise;
        return super.compareAndSet(writes);
      }
    })(engine.store);
    broken = false;
    const sleeping = engine.consumer({ chunkRecords: 1, store: stopped }).step();
    await reached.promise;

    broken = true;
    await engine.apply();
    broken = false;
    await engine.append(swipe, 0);
    for (let i = 0; i < others; i++) await engine.append(engine.swipe(1));
    await engine.apply();
    if (others > 0) await engine.compact();
    const right = { careful: 1 + others, plain: 1 + others };
    expect(await engine.values()).toEqual(right);
    resumed.resolve();
    await sleeping;
    expect(await engine.values()).toEqual(right);
  }
});

test('a copy that still cannot be used is a dead letter of the first record, and a later copy counts', async () => {
  const engine = new Engine();
  const swipe = engine.swipe(13);
  await engine.append(swipe);
  await engine.apply();
  await engine.append(swipe, 0);
  await engine.apply();
  expect(engine.letters).toMatchObject([{ offset: 0 }, { offset: 0 }]);
  broken = false;
  await engine.append(swipe, 0);
  await engine.apply();
  expect(await engine.values()).toEqual({ careful: 1, plain: 1 });
});

/** Moves the watermarks of one shard, and ends there: as where a process is killed between the servers of a cluster. */
const movingOnly = (shard: number, store: MemoryTileStore): StateWriting['store'] =>
  new (class extends ForwardingStore {
    override async moveWatermarks(moves: readonly MoveWatermark[]): Promise<boolean[]> {
      await super.moveWatermarks(moves.filter((move) => move.shard === shard || move.expected === null));
      if (moves.every(({ expected }) => expected === null)) return moves.map(() => true);
      throw new Error('killed');
    }
  })(store);

test('a copy that one shard has passed as a letter, and another has not, counts when it is replayed again', async () => {
  const engine = new Engine();
  const swipe = engine.swipe(13);
  const shard = shardOf('c1', SHARDS);
  await engine.append(swipe);
  await engine.apply();
  // Too early.
  await engine.append(swipe, 0);
  await expect(engine.apply(engine.consumer({ store: movingOnly(shard, engine.store) }))).rejects.toThrow(
    'killed',
  );
  broken = false;
  await engine.append(engine.swipe(1));
  await engine.apply();
  expect(await engine.values()).toEqual({ careful: 1, plain: 2 });
  await engine.append(swipe, 0);
  await engine.apply();
  expect(await engine.values()).toEqual({ careful: 2, plain: 2 });
});

test('the copy of a record that retention took before the store was filled counts', async () => {
  const engine = new Engine();
  const swipe = engine.swipe(13);
  await engine.append(swipe);
  await engine.append(engine.swipe(1));
  const all = Number.POSITIVE_INFINITY;
  const everything = { keepEventTimeMs: all, keepAppendedMs: all, maxBytes: all };
  await engine.log.truncate({ partition: 0, ...everything, beforeOffset: 1 });
  broken = false;
  await engine.append(swipe, 0);
  await engine.apply();
  expect(await engine.values()).toEqual({ careful: 2, plain: 2 });
});

test('where a watermark of a former build does not know, the row tells', async () => {
  const engine = new Engine();
  const swipe = engine.swipe(13);
  const former = new (class extends ForwardingStore {
    override moveWatermarks(moves: readonly MoveWatermark[]): Promise<boolean[]> {
      return super.moveWatermarks(
        moves.map(({ next: { unapplied: _, ...next }, ...move }) => ({ ...move, next })),
      );
    }
  })(engine.store);
  await engine.append(swipe);
  await engine.append(engine.swipe(1));
  await engine.apply(engine.consumer({ store: former }));
  expect(await engine.values()).toEqual({ careful: 1, plain: 2 });
  broken = false;
  engine.clock.advanceTo(START_MS + 4 * HOUR_MS);
  await engine.append(swipe, 0);
  await engine.append(swipe, 0);
  await engine.apply();
  expect(await engine.values()).toEqual({ careful: 2, plain: 2 });
});
