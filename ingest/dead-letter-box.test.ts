import { beforeEach, expect, test } from 'vitest';
import { mendableDefinitions } from '../embedded/testing/mendable-repo.ts';
import { ManualClock } from '../engine/clock.ts';
import { compileRepo } from '../engine/definitions/compile.ts';
import type { DeadLetter } from './dead-letter.ts';
import { DeadLetterBox } from './dead-letter-box.ts';
import type { LetterShelf, ShelfEntry } from './letter-shelf.ts';
import type { LogReader, LogRecord } from './log/event-log.ts';
import { MemoryEventLog } from './log/memory-event-log.ts';
import { LogDeadLetters } from './log-dead-letters.ts';
import { LogLetterShelf, recordsOf } from './log-letter-shelf.ts';

const source = compileRepo(mendableDefinitions(true)).sources.get('swipes')!;
const logOf = (name: string, partitions: number) =>
  new MemoryEventLog({ source: name, partitions, random: () => name });

/** What retention drops. */
const ALL_OF_IT = { keepEventTimeMs: 0, keepAppendedMs: 0, maxBytes: 0, beforeOffset: 1 };

let clock: ManualClock;
let log: MemoryEventLog;
let letters: LogDeadLetters;
let shelf: LogLetterShelf;
let box: DeadLetterBox;

beforeEach(() => {
  clock = new ManualClock(1_000);
  log = logOf('swipes', 2);
  const kept = logOf('swipes.dead_letters', 1);
  letters = new LogDeadLetters({ log: kept, clock });
  shelf = new LogLetterShelf({ source, log, letters: kept, clock });
  box = new DeadLetterBox(shelf);
});

const letter = (offset: number, overrides: Partial<DeadLetter> = {}): DeadLetter => ({
  ...{ reason: 'filter_or_projection', message: 'it threw', source: 'swipes', view: 'careful' },
  ...{
    partition: 0,
    offset,
    readOffset: offset,
    appendedMs: 500,
    stamp: `stamp ${offset}`,
    key: null,
    headers: [],
  },
  value: Buffer.from(`{"at":5,"card":"c","amount":${offset}}`),
  ...overrides,
});
async function copies(): Promise<LogRecord[]> {
  const found: LogRecord[] = [];
  for (const partition of [0, 1]) for await (const record of recordsOf(log, partition)) found.push(record);
  return found;
}
const offsets = async (filter = {}): Promise<number[]> =>
  (await box.list(filter)).map(({ offset }) => offset);

test('whoever reads a log that retention empties meanwhile comes to its end', async () => {
  const value = new Uint8Array(1);
  await log.append([{ partition: 0, appendedMs: 1, stamp: null, value, eventTimeMs: 1 }]);
  let reads = 0;
  const emptied: LogReader = {
    source: log.source,
    partitions: () => log.partitions(),
    identity: (partition) => log.identity(partition),
    ends: (partition) => log.ends(partition),
    read: async (args) => {
      if (++reads > 3) throw new Error('it reads on and on');
      await log.truncate({ ...ALL_OF_IT, partition: 0 });
      return log.read(args);
    },
    waitFor: (partition, offset, signal) => log.waitFor(partition, offset, signal),
  };
  for await (const record of recordsOf(emptied, 0)) expect.unreachable(`record ${record.offset} is gone`);
  expect(reads).toBe(1);
});

test('whoever reads a long log lets others have their turn', async () => {
  const value = new Uint8Array(1);
  const record = { partition: 0, appendedMs: 1, stamp: null, value, eventTimeMs: 1 };
  await log.append(Array.from({ length: 10_000 }, () => record));
  let turns = 0;
  let isOver = false;
  const turn = (): void => {
    turns++;
    if (!isOver) setImmediate(turn);
  };
  setImmediate(turn);
  expect(await copies()).toHaveLength(10_000);
  isOver = true;
  expect(turns).toBeGreaterThanOrEqual(9);
});

test('it lists each record and view once, without the record, by reason, view and time', async () => {
  await letters.write([letter(1), letter(2, { reason: 'undecodable', view: null }), letter(1)]);
  clock.advanceTo(2_000);
  await letters.write([letter(1, { view: 'other' }), letter(3, { partition: 1 })]);
  const all = await box.list();
  expect(all.map(({ partition, offset, view, writtenMs }) => [partition, offset, view, writtenMs])).toEqual([
    [0, 1, 'careful', 1_000],
    [0, 1, 'other', 2_000],
    [0, 2, null, 1_000],
    [1, 3, 'careful', 2_000],
  ]);
  expect(JSON.stringify(all)).not.toContain('amount');
  expect(all[0]).toMatchObject({ valueBytes: 30, message: 'it threw', omitted: [] });
  expect(await offsets({ reason: 'undecodable' })).toEqual([2]);
  expect(await offsets({ view: 'careful' })).toEqual([1, 3]);
  expect(await offsets({ sinceMs: 2_000 })).toEqual([1, 3]);
  expect(await offsets({ beforeMs: 2_000 })).toEqual([1, 2]);
  expect(
    (await box.show({ partition: 1, offset: 3 })).map(({ value }) => Buffer.from(value!).toString()),
  ).toEqual(['{"at":5,"card":"c","amount":3}']);
  expect(await box.show({ partition: 1, offset: 1 })).toEqual([]);
});

test('a replay appends the record to its partition, as it was, and says of which it is a copy', async () => {
  await letters.write([letter(7, { partition: 1 }), letter(8), letter(8, { view: 'other' })]);
  clock.advanceTo(3_000);
  const progress: number[][] = [];
  const onProgress = (...at: number[]) => void progress.push(at);
  expect(await box.replay({}, { onProgress })).toEqual({ replayed: 2, unreplayable: [], remaining: 0 });
  expect(progress.at(-1)).toEqual([2, 2]);
  const found = await copies();
  expect(
    found.map(({ partition, originOffset, stamp, appendedMs }) => [
      partition,
      originOffset,
      stamp,
      appendedMs,
    ]),
  ).toEqual([
    [0, 8, 'stamp 8', 3_000],
    [1, 7, 'stamp 7', 3_000],
  ]);
  expect(Buffer.from(found[1]!.value!).toString()).toBe('{"at":5,"card":"c","amount":7}');
  expect(await box.list()).toEqual([]);
  expect(await box.replay({})).toEqual({ replayed: 0, unreplayable: [], remaining: 0 });
  // It still cannot be used.
  await letters.write([letter(8)]);
  expect(await offsets()).toEqual([8]);
});

test('a replay that is cut off goes on where its marks end, and replays at most a batch again', async () => {
  await letters.write(Array.from({ length: 1_200 }, (_, i) => letter(i)));
  let marks = 0;
  const failing: LetterShelf = {
    source: 'swipes',
    entries: () => shelf.entries(),
    original: (origin) => shelf.original(origin),
    fits: () => shelf.fits(),
    append: (records) => shelf.append(records),
    mark: async (end, marked) => {
      if (++marks === 2) throw new Error('killed');
      await shelf.mark(end, marked);
    },
  };
  await expect(new DeadLetterBox(failing).replay({})).rejects.toThrow('killed');
  expect(await copies()).toHaveLength(1_000);
  expect(await box.replay({}, { limit: 200 })).toMatchObject({ replayed: 200, remaining: 500 });
  expect(await box.replay({})).toMatchObject({ replayed: 500, remaining: 0 });
  const origins = (await copies()).map(({ originOffset }) => originOffset);
  expect(origins).toHaveLength(1_700);
  expect(new Set(origins).size).toBe(1_200);
});

test('a copy that is a letter again before its replay is marked is one still', async () => {
  await letters.write([letter(8), letter(8, { view: 'other' })]);
  const eager: LetterShelf = {
    source: 'swipes',
    entries: () => shelf.entries(),
    original: (origin) => shelf.original(origin),
    fits: () => shelf.fits(),
    append: async (records) => {
      await shelf.append(records);
      // Whoever applies the log was faster, and cannot use it.
      await letters.write([letter(8)]);
    },
    mark: (end, marked) => shelf.mark(end, marked),
  };
  expect(await new DeadLetterBox(eager).replay({ view: 'careful' })).toMatchObject({ replayed: 1 });
  expect((await box.list()).map(({ offset, view }) => [offset, view])).toEqual([[8, 'careful']]);
});

test('some are replayed, or discarded: these are listed and replayed no longer, and shown with what became of them', async () => {
  await letters.write([
    letter(7),
    letter(7, { view: 'other' }),
    letter(8),
    letter(9),
    letter(7, { partition: 1 }),
  ]);
  const at = (offset: number, partition = 0) => ({ partition, offset });
  expect(await box.replay({ origins: [at(8), at(100)] })).toMatchObject({ replayed: 1, remaining: 0 });
  expect(await box.discard([at(7), at(100)])).toBe(1);
  expect((await box.list()).map(({ partition, offset }) => [partition, offset])).toEqual([
    [0, 9],
    [1, 7],
  ]);
  const states = async (...of: Parameters<typeof at>) =>
    (await box.show(at(...of))).map(({ state }) => state);
  expect(await states(7)).toEqual(['discarded', 'discarded']);
  expect([await states(8), await states(9), await states(7, 1)]).toEqual([['replayed'], ['open'], ['open']]);
  expect(await box.discard([at(7)])).toBe(0);
  expect(await box.replay({})).toMatchObject({ replayed: 2, remaining: 0 });
  expect((await copies()).map(({ partition, originOffset }) => [partition, originOffset])).toEqual([
    [0, 8],
    [0, 9],
    [1, 7],
  ]);
  // A letter that is written afterwards, as a rebuild may do, is one again.
  await letters.write([letter(7)]);
  expect(await offsets()).toEqual([7]);
  expect(await states(7)).toEqual(['open', 'discarded']);
});

test('what is not whole is taken from the log; what is gone, or has no value, is named', async () => {
  const record = { partition: 0, appendedMs: 1, stamp: 'own', eventTimeMs: 1 };
  await log.append([{ ...record, value: Buffer.from('whole') }]);
  const cut = (offset: number): ShelfEntry => ({
    kind: 'letter',
    letter: {
      ...letter(offset),
      ...{ value: Buffer.from('wh'), writtenMs: 1, omitted: ['message', 'value'], place: offset },
    },
  });
  await letters.write([letter(4, { value: null }), letter(5)]);
  const box = new DeadLetterBox({
    source: 'swipes',
    async *entries() {
      yield* [cut(0), cut(9)];
      yield* shelf.entries();
    },
    original: (origin) => shelf.original(origin),
    fits: async ({ originOffset }) => originOffset !== 5,
    append: (records) => shelf.append(records),
    mark: (end, marked) => shelf.mark(end, marked),
  });
  expect(await box.replay({})).toEqual({
    replayed: 1,
    unreplayable: [
      { partition: 0, offset: 9, why: 'original_gone' },
      { partition: 0, offset: 4, why: 'no_value' },
      { partition: 0, offset: 5, why: 'too_large' },
    ],
    remaining: 0,
  });
  const copy = (await copies()).at(-1)!;
  expect([copy.originOffset, copy.stamp, Buffer.from(copy.value!).toString()]).toEqual([0, 'own', 'whole']);
});
