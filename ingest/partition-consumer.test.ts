import { setImmediate as immediate } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { NOON_MS, payment, payments, testRepo } from '../embedded/testing/test-repo.ts';
import { ManualClock } from '../engine/clock.ts';
import type { CompiledView } from '../engine/definitions/compiled.ts';
import { MemoryTileStore } from '../engine/store/memory-tile-store.ts';
import { randomTokens } from '../engine/store/random-tokens.ts';
import { ForwardingStore } from '../engine/store/testing/forwarding-store.ts';
import type { MoveWatermark, TileStore } from '../engine/store/tile-store.ts';
import { PROTOCOL } from '../engine/tiles/state-protocol.ts';
import { DEFAULT_PACING } from '../engine/tiles/state-update.ts';
import { DEFAULT_TILE_SHAPE } from '../engine/tiles/tile-shape.ts';
import type { ConsumerObserver } from './consumer-observer.ts';
import type { DeadLetter } from './dead-letter.ts';
import { recordDecoder } from './decoding/registry-record-decoder.ts';
import {
  type RegisteredSchema,
  RegistryUnavailableError,
  type SchemaRegistry,
} from './decoding/schema-registry.ts';
import { MemoryEventLog } from './log/memory-event-log.ts';
import { PartitionConsumer } from './partition-consumer.ts';
import { PartitionLanes } from './partition-lanes.ts';
import { LogReplacedError } from './partition-stopped.ts';
import type { StateWriting } from './view-writer.ts';

const source = testRepo.sources.get(payments.name)!;
const newToken = randomTokens();

const SILENT: ConsumerObserver = { chunkApplied() {}, caughtUp() {}, positioned() {}, gap() {} };

async function logOf(values: readonly object[]): Promise<MemoryEventLog> {
  const log = new MemoryEventLog({
    source: source.name,
    partitions: 1,
    random: () => newToken(),
    segmentRecords: 1,
  });
  await log.append(
    values.map((value) => ({
      partition: 0,
      appendedMs: NOON_MS,
      stamp: null,
      value: Buffer.from(JSON.stringify(value)),
      eventTimeMs: NOON_MS,
    })),
  );
  return log;
}

async function appendMore(log: MemoryEventLog, count: number): Promise<void> {
  await log.append(
    Array.from({ length: count }, () => ({
      partition: 0,
      appendedMs: NOON_MS,
      stamp: null,
      value: Buffer.from(JSON.stringify(payment())),
      eventTimeMs: NOON_MS,
    })),
  );
}

function writingTo(store: TileStore): StateWriting {
  return {
    store,
    clock: new ManualClock(NOON_MS),
    shards: 1,
    shape: DEFAULT_TILE_SHAPE,
    pacing: DEFAULT_PACING,
    rules: PROTOCOL,
    newToken,
  };
}

function consumerOf(
  log: MemoryEventLog,
  store: TileStore,
  write: (letters: readonly DeadLetter[]) => Promise<void>,
  observer: ConsumerObserver = SILENT,
): PartitionConsumer {
  const writing = writingTo(store);
  const { views } = source;
  return new PartitionConsumer({
    source,
    views,
    partition: 0,
    log,
    writing,
    deadLetters: { write },
    observer,
  });
}

const storeInMemory = () => new MemoryTileStore({ random: () => newToken() });

async function watermarks(store: MemoryTileStore): Promise<(number | undefined)[]> {
  const names = source.views.map(({ namespace }) => ({ namespace, source: source.name, partition: 0 }));
  return (await store.readWatermarks(0, names)).map((watermark) => watermark?.nextOffset);
}

const everywhere = (offset: number): number[] => source.views.map(() => offset);

test('the watermark stays where dead letters could not be written, and they are written again', async () => {
  const log = await logOf([payment(), { no: 'payment' }]);
  const store = storeInMemory();
  const letters: DeadLetter[] = [];
  let refuses = true;
  const consumer = consumerOf(log, store, async (written) => {
    if (refuses) throw new Error('the topic does not answer');
    letters.push(...written);
  });
  await expect(consumer.step()).rejects.toThrow('the topic does not answer');
  expect(await watermarks(store)).toEqual(everywhere(0));
  refuses = false;
  consumer.reset();
  expect(await consumer.step()).toBe(2);
  expect(await watermarks(store)).toEqual(everywhere(2));
  expect(letters).toMatchObject([{ reason: 'breaks_schema', partition: 0, offset: 1 }]);
});

test('a store filled from another log is refused, though that one looks just the same', async () => {
  const store = storeInMemory();
  const write = async (): Promise<void> => {};
  await consumerOf(await logOf([payment()]), store, write).step();
  const other = consumerOf(await logOf([payment(), payment()]), store, write);
  const step = other.step();
  await expect(step).rejects.toThrow(LogReplacedError);
  await expect(step).rejects.toThrow('is not the one this store was filled from');
  expect(await watermarks(store)).toEqual(everywhere(1));
});

describe('records that are gone before they were applied', () => {
  const noLetters = async (): Promise<void> => {};

  /** Retention takes everything below. */
  const truncate = (log: MemoryEventLog, beforeOffset: number) =>
    log.truncate({
      partition: 0,
      keepEventTimeMs: Number.POSITIVE_INFINITY,
      keepAppendedMs: Number.POSITIVE_INFINITY,
      maxBytes: Number.POSITIVE_INFINITY,
      beforeOffset,
    });

  /** A store that has applied three records of a log that now goes from 5 to 5. */
  const behindAnEmptyLog = async () => {
    const log = await logOf([payment(), payment(), payment()]);
    const store = storeInMemory();
    await consumerOf(log, store, noLetters).step();
    await appendMore(log, 2);
    await truncate(log, 5);
    return { log, store };
  };

  const gapsIn = (told: string[]): ConsumerObserver => ({
    ...SILENT,
    gap: (partition, { fromOffset, toOffset }) =>
      void told.push(`${partition}: ${fromOffset} to ${toOffset}`),
  });

  test('are told once and passed, also where nothing is left behind them', async () => {
    const { log, store } = await behindAnEmptyLog();
    const told: string[] = [];
    const consumer = consumerOf(log, store, noLetters, gapsIn(told));
    expect(await consumer.step()).toBe(0);
    expect(told).toEqual(['0: 3 to 5']);
    expect(await watermarks(store)).toEqual(everywhere(5));
    consumer.reset();
    await consumer.step();
    await consumerOf(log, store, noLetters, gapsIn(told)).step();
    expect(told).toHaveLength(1);
    await appendMore(log, 1);
    expect(await consumer.step()).toBe(1);
    expect(await watermarks(store)).toEqual(everywhere(6));
  });

  test('are passed by what another owner moved meanwhile, not set back', async () => {
    const { log, store } = await behindAnEmptyLog();
    /** The other owner is faster: between this one's reading and its moving. */
    class RacedStore extends ForwardingStore {
      raced = false;
      override async moveWatermarks(moves: readonly MoveWatermark[]) {
        if (!this.raced) {
          this.raced = true;
          await consumerOf(log, store, noLetters).step();
          await appendMore(log, 1);
          await consumerOf(log, store, noLetters).step();
        }
        return super.moveWatermarks(moves);
      }
    }
    const raced = new RacedStore(store);
    const consumer = consumerOf(log, raced, noLetters);
    expect(await consumer.step()).toBe(0);
    expect(consumer.nextOffset).toBe(6);
    expect(await watermarks(store)).toEqual(everywhere(6));
  });

  test('are told once for all lanes and however often these are opened', async () => {
    const { log, store } = await behindAnEmptyLog();
    // The first view had come further than the others: two lanes, of which one misses more.
    const [ahead, ...others] = source.views;
    expect(others.length).toBeGreaterThan(0);
    const name = { namespace: ahead!.namespace, source: source.name, partition: 0 };
    const [mark] = await store.readWatermarks(0, [name]);
    const incarnation = await store.incarnation(0);
    const next = { ...mark!, nextOffset: 4, token: newToken() };
    await store.moveWatermarks([{ shard: 0, name, expected: mark!.token, incarnation, next }]);

    const told: string[] = [];
    const stop = new AbortController();
    let failures = 0;
    class FailingStore extends ForwardingStore {
      override async moveWatermarks(moves: readonly MoveWatermark[]) {
        // Nobody knows whether the move was made: it was, the first time; the second time it was not.
        if (failures === 0) await super.moveWatermarks(moves);
        if (failures++ < 2) throw new Error('the store does not answer');
        return super.moveWatermarks(moves);
      }
    }
    const lanes = new PartitionLanes({
      source,
      partition: 0,
      log,
      writing: writingTo(new FailingStore(store)),
      deadLetters: { write: noLetters },
      observer: {
        chunkApplied: ({ nextOffset }) => {
          if (nextOffset === 6) stop.abort();
        },
        caughtUp() {},
        positioned() {},
        missing() {},
        gap: (partition, { fromOffset, toOffset }) =>
          void told.push(`${partition}: ${fromOffset} to ${toOffset}`),
        failed() {},
        recovered: () => void appendMore(log, 1),
      },
    });
    await lanes.run(stop.signal);
    expect(failures).toBeGreaterThan(2);
    expect(told).toEqual(['0: 4 to 5', '0: 3 to 4']);
    expect(await watermarks(store)).toEqual(everywhere(6));
  });
});

test('lanes apply what they are told, and take up another namespace with the next record', async () => {
  const store = storeInMemory();
  const log = await logOf([payment({ id: 'a' }), payment({ id: 'b' })]);
  const [view] = source.views;
  const rebuilt = { ...view!, namespace: 'feedfeedfeedfeed' };
  let views: readonly CompiledView[] = [view!];
  const stop = new AbortController();
  const chunks: string[] = [];
  const lanes = new PartitionLanes({
    source,
    partition: 0,
    log,
    writing: writingTo(store),
    deadLetters: { write: async () => {} },
    views: () => views,
    observer: {
      chunkApplied: (chunk) => {
        const namespaces = chunk.views.map(({ namespace }) => namespace).sort();
        chunks.push(`${namespaces.join(' ')} ${chunk.nextOffset}`);
        if (chunks.length === 1) {
          views = [view!, rebuilt];
          void appendMore(log, 1);
        }
        if (chunk.nextOffset === 3 && chunk.views.includes(rebuilt)) void appendMore(log, 1);
        if (chunk.nextOffset === 4 && chunk.views.length === 2) stop.abort();
      },
      caughtUp() {},
      positioned() {},
      missing() {},
      gap() {},
      failed() {},
      recovered() {},
    },
  });
  await lanes.run(stop.signal);
  expect(chunks[0]).toBe(`${view!.namespace} 2`);
  // From the start of the log, and at last in one lane with the other.
  expect(chunks).toContain(`${rebuilt.namespace} 3`);
  const names = [view!, rebuilt].map(({ namespace }) => ({ namespace, source: source.name, partition: 0 }));
  expect((await store.readWatermarks(0, names)).map((mark) => mark?.nextOffset)).toEqual([4, 4]);
});

test('rows count as applied once, also where another owner moves the watermark first', async () => {
  const store = storeInMemory();
  const log = await logOf([payment({ id: 'a' }), payment({ id: 'b' })]);
  const [view] = source.views;
  const rebuilt = { ...view!, namespace: 'feedfeedfeedfeed' };
  const applied = { [view!.namespace]: 0, [rebuilt.namespace]: 0 };
  const consumerOf = (views: readonly CompiledView[], into: TileStore): PartitionConsumer =>
    new PartitionConsumer({
      source,
      views,
      partition: 0,
      log,
      writing: writingTo(into),
      deadLetters: { write: async () => {} },
      observer: {
        ...SILENT,
        rowsWritten: (counts) => {
          for (const [{ namespace }, own] of counts) applied[namespace]! += own.applied;
        },
      },
    });
  const other = consumerOf([rebuilt], store);
  let isOvertaken = false;
  class OvertakenStore extends ForwardingStore {
    override async moveWatermarks(moves: readonly MoveWatermark[]) {
      const isMade = moves.every(({ next }) => next.nextOffset === 0);
      if (!isMade && !isOvertaken) await other.step();
      isOvertaken ||= !isMade;
      return super.moveWatermarks(moves);
    }
  }
  const own = consumerOf([view!, rebuilt], new OvertakenStore(store));
  expect(await own.step()).toBe(2);
  expect(own.nextOffset).toBeNull();
  while ((await own.step()) > 0);
  expect(own.nextOffset).toBe(2);
  expect(applied).toEqual({ [view!.namespace]: 2, [rebuilt.namespace]: 2 });
});

test('records that trickle in while lanes linger are few chunks', async () => {
  const EVENTS = 20;
  const log = await logOf([payment({ id: 'a' })]);
  const stop = new AbortController();
  const chunks: number[] = [];
  const lanes = new PartitionLanes({
    source,
    partition: 0,
    log,
    writing: writingTo(storeInMemory()),
    deadLetters: { write: async () => {} },
    // Longer than the events take to come, also on a slow machine.
    lingerMs: 1_000,
    observer: {
      chunkApplied: ({ nextOffset }) => {
        chunks.push(nextOffset);
        if (nextOffset === EVENTS + 1) stop.abort();
      },
      caughtUp() {},
      positioned() {},
      missing() {},
      gap() {},
      failed() {},
      recovered() {},
    },
  });
  const running = lanes.run(stop.signal);
  for (let i = 0; i < EVENTS; i++) {
    await appendMore(log, 1);
    // Time enough for a chunk.
    for (let turn = 0; turn < 20; turn++) await immediate();
  }
  await running;
  expect(chunks.at(-1)).toBe(EVENTS + 1);
  expect(chunks.length).toBeLessThan(EVENTS / 2);
});

test('lanes without records take up another namespace all the same', async () => {
  const store = storeInMemory();
  const log = await logOf([payment({ id: 'a' }), payment({ id: 'b' })]);
  const [view] = source.views;
  const rebuilt = { ...view!, namespace: 'feedfeedfeedfeed' };
  let views: readonly CompiledView[] = [view!];
  const stop = new AbortController();
  const lanes = new PartitionLanes({
    source,
    partition: 0,
    log,
    writing: writingTo(store),
    deadLetters: { write: async () => {} },
    views: () => views,
    observer: {
      chunkApplied: (chunk) => {
        if (chunk.views.includes(rebuilt)) stop.abort();
      },
      caughtUp: () => {
        // Once it waits.
        setTimeout(() => {
          views = [view!, rebuilt];
        });
      },
      positioned() {},
      missing() {},
      gap() {},
      failed() {},
      recovered() {},
    },
  });
  await lanes.run(stop.signal);
  const names = [view!, rebuilt].map(({ namespace }) => ({ namespace, source: source.name, partition: 0 }));
  expect((await store.readWatermarks(0, names)).map((mark) => mark?.nextOffset)).toEqual([2, 2]);
});

test('what lies before a record that has to wait for its schema is applied without it', async () => {
  const store = storeInMemory();
  const writing = writingTo(store);
  const schemas = new Map<number, RegisteredSchema>();
  let isDown = false;
  const registry = {
    schemaById: async (id: number) => {
      if (isDown) throw new RegistryUnavailableError('it is down');
      return schemas.get(id) ?? null;
    },
  } as SchemaRegistry;
  const decoder = recordDecoder({ source: source.definition, registry, wait: async () => {} });
  const log = await logOf([payment({ id: 'a' }), payment({ id: 'b' })]);
  const fields = ['id', 'at', 'card'].map((name) => ({ name, type: 'string' }));
  const text = (value: string): Buffer => Buffer.from([2 * value.length, ...Buffer.from(value)]);
  const at = new Date(NOON_MS).toISOString();
  const value = Buffer.concat([Buffer.from([0, 0, 0, 0, 7]), ...['avro', at, 'c1', ''].map(text)]);
  await log.append([{ partition: 0, appendedMs: NOON_MS, stamp: null, value, eventTimeMs: NOON_MS }]);
  await appendMore(log, 1);

  const chunks: { records: number; nextOffset: number; last: number | null }[] = [];
  const letters: number[] = [];
  const consumer = new PartitionConsumer({
    ...{ source, views: source.views, partition: 0, log, writing, decoder },
    deadLetters: { write: async (written) => void letters.push(...written.map(({ offset }) => offset)) },
    observer: {
      ...SILENT,
      chunkApplied: ({ records, nextOffset, appendedMs: last }) =>
        void chunks.push({ records, nextOffset, last }),
    },
  });
  expect(await consumer.step()).toBe(2);
  expect(chunks).toEqual([{ records: 2, nextOffset: 2, last: NOON_MS }]);
  const marks = async () => {
    const names = source.views.map(({ namespace }) => ({ namespace, source: source.name, partition: 0 }));
    return (await store.readWatermarks(0, names)).map((mark) => mark!.nextOffset);
  };
  expect(new Set(await marks())).toEqual(new Set([2]));
  // Then it is what is waited for, whatever the reason.
  await expect(consumer.step()).rejects.toThrow(/does not have schema 7.*The first is at offset 2/);
  isDown = true;
  await expect(consumer.step()).rejects.toThrow(RegistryUnavailableError);
  expect(new Set(await marks())).toEqual(new Set([2]));
  isDown = false;
  const schema = JSON.stringify({ type: 'record', name: 'Payment', fields });
  schemas.set(7, { type: 'AVRO', schema, references: [], readRules: [] });
  expect(await consumer.step()).toBe(2);
  expect(chunks.at(-1)).toMatchObject({ records: 2, nextOffset: 4 });
  expect(letters).toEqual([2]);
});

test('lanes are driven turn by turn: give way between two, rest at the end, begin anew after a failure', async () => {
  const store = storeInMemory();
  const log = await logOf([payment({ id: 'a' }), payment({ id: 'b' }), payment({ id: 'c' })]);
  const [view] = source.views;
  const rebuilt = { ...view!, namespace: 'feedfeedfeedfeed' };
  let views: readonly CompiledView[] = [view!];
  let fails = false;
  const seen: string[] = [];
  class FailingStore extends ForwardingStore {
    override async moveWatermarks(moves: readonly MoveWatermark[]) {
      if (fails) throw new Error('the store does not answer');
      return super.moveWatermarks(moves);
    }
  }
  const lanes = new PartitionLanes({
    source,
    partition: 0,
    log,
    writing: writingTo(new FailingStore(store)),
    deadLetters: { write: async () => {} },
    views: () => views,
    consumer: { chunkRecords: 1 },
    giveWay: async () => void seen.push('way'),
    observer: {
      chunkApplied: (chunk) => void seen.push(`${chunk.views.length} to ${chunk.nextOffset}`),
      caughtUp() {},
      positioned: (of, _, nextOffset) => void seen.push(`${of.length} at ${nextOffset}`),
      missing() {},
      gap() {},
      failed() {},
      recovered() {},
    },
  });
  const turn = async (): Promise<[boolean, ...string[]]> => {
    seen.length = 0;
    return [await lanes.step(), ...seen];
  };
  expect(await turn()).toEqual([false, '1 at 0', '1 to 1', 'way']);
  expect(await turn()).toEqual([false, '1 to 2', 'way']);
  views = [view!, rebuilt];
  expect(await turn()).toEqual([false, '1 at 2', '1 to 3', 'way', '1 at 0', '1 to 1', 'way']);
  fails = true;
  await expect(lanes.step()).rejects.toThrow('the store does not answer');
  fails = false;
  expect(await turn()).toEqual([false, '1 at 3', 'way', '1 at 1', '1 to 2', 'way']);
  // Less than a chunk apart they become one lane, from the lower position.
  expect(await turn()).toEqual([false, '2 to 3', 'way']);
  expect(await turn()).toEqual([true, 'way']);
});
