import { expect, test } from 'vitest';
import { ManualClock } from '../engine/clock.ts';
import type { DeadLetter } from './dead-letter.ts';
import { MemoryEventLog } from './log/memory-event-log.ts';
import { LogDeadLetters } from './log-dead-letters.ts';

test('a letter says which record it was: its origin, its append time and its stamp', async () => {
  const log = new MemoryEventLog({ source: 'clicks.dead_letters', partitions: 1, random: () => 'log' });
  const letters = new LogDeadLetters({ log, clock: new ManualClock(2_000) });
  const letter: DeadLetter = {
    reason: 'filter_or_projection',
    ...{ message: 'the filter threw', source: 'clicks', view: 'pages' },
    ...{ partition: 3, offset: 17, readOffset: 17, appendedMs: 1_000, stamp: 'a-stamp' },
    value: Buffer.from('{}'),
    ...{ key: null, headers: [] },
  };
  await letters.write([
    { ...letter, thrown: 'TypeError: x' },
    { ...letter, offset: 18, stamp: null, value: null },
  ]);
  const { records } = await log.read({ partition: 0, fromOffset: 0, maxRecords: 9, maxBytes: 1e6 });
  expect(records.map(({ appendedMs }) => appendedMs)).toEqual([2_000, 2_000]);
  const { reason, message, source, view, partition, appendedMs } = letter;
  const kept = { reason, message, source, view, partition, appendedMs };
  expect(records.map(({ value }) => JSON.parse(Buffer.from(value!).toString()))).toEqual([
    {
      ...kept,
      thrown: 'TypeError: x',
      offset: 17,
      stamp: 'a-stamp',
      value: Buffer.from('{}').toString('base64'),
    },
    { ...kept, offset: 18, stamp: null, value: null },
  ]);
});
