import { expect, test } from 'vitest';
import { NOON_MS, payment, payments, testRepo } from '../embedded/testing/test-repo.ts';
import { ManualClock } from '../engine/clock.ts';
import { MemoryTileStore } from '../engine/store/memory-tile-store.ts';
import { randomTokens } from '../engine/store/random-tokens.ts';
import { PROTOCOL } from '../engine/tiles/state-protocol.ts';
import { DEFAULT_PACING } from '../engine/tiles/state-update.ts';
import { DEFAULT_TILE_SHAPE } from '../engine/tiles/tile-shape.ts';
import type { DeadLetter } from './dead-letter.ts';
import { MemoryEventLog } from './log/memory-event-log.ts';
import { type ConsumerObserver, LogReplacedError, PartitionConsumer } from './partition-consumer.ts';

const source = testRepo.sources.get(payments.name)!;
const newToken = randomTokens();

const SILENT: ConsumerObserver = { chunkApplied() {}, caughtUp() {}, positioned() {}, gap() {} };

async function logOf(values: readonly object[]): Promise<MemoryEventLog> {
  const log = new MemoryEventLog({ source: source.name, partitions: 1, random: () => newToken() });
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

function consumerOf(
  log: MemoryEventLog,
  store: MemoryTileStore,
  write: (letters: readonly DeadLetter[]) => Promise<void>,
): PartitionConsumer {
  return new PartitionConsumer({
    source,
    views: source.views,
    partition: 0,
    log,
    writing: {
      store,
      clock: new ManualClock(NOON_MS),
      shards: 1,
      shape: DEFAULT_TILE_SHAPE,
      pacing: DEFAULT_PACING,
      rules: PROTOCOL,
      newToken,
    },
    deadLetters: { write },
    observer: SILENT,
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
