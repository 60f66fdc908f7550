/**
 * C4, the embedded engine: a second event with the id of another does not count, wherever it comes from and whatever was
 * done in between; different events of equal key and time all count. The door remembers one id only, so that the repeats
 * get into the log and the state has to tell them.
 */
import { afterEach, expect, test } from 'vitest';
import { TestEngine } from './testing/test-engine.ts';
import { NOON_MS, payment, payments } from './testing/test-repo.ts';

let it: TestEngine;
afterEach(() => it?.close());

const open = async (): Promise<void> => {
  it = await TestEngine.open({
    recentIds: 1,
    pacing: { foldAfterMs: 0 },
    shape: { leafBytesMax: 90, tailRowsMax: 3 },
  });
};
const counted = async (): Promise<{ hour: number; ever: number }> => {
  const { body } = await it.read('card', { entities: { card: 'c1' } });
  return { hour: body.features.payments_1h, ever: body.features.payments_ever };
};
/** Another card's event makes the door forget. */
const repeat = async (events: readonly object[]): Promise<void> => {
  for (const event of events) {
    await it.push('payments', [payment({ card: 'other' })]);
    expect((await it.push('payments', [event])).body).toMatchObject({ accepted: 1, duplicates: 0 });
  }
};
const events = Array.from({ length: 12 }, (_, i) => payment({ at: NOON_MS - i * 60_000 }));

test('the same id twice counts once across a restart', async () => {
  await open();
  await it.push('payments', events);
  await it.restart();
  await repeat(events);
  expect(await counted()).toEqual({ hour: 12, ever: 12 });
});

test('the same id twice counts once across compaction', async () => {
  await open();
  await it.push('payments', events);
  it.clock.advanceTo(NOON_MS + 20 * 60_000);
  expect(await it.engine.compact()).toBeGreaterThan(0);
  await repeat(events);
  expect(await it.engine.compact()).toBeGreaterThan(0);
  expect(await counted()).toEqual({ hour: 12, ever: 12 });
});

test('the same id twice counts once on another partition', async () => {
  await open();
  await it.push('payments', events);
  // Which partition a pushed event goes to follows from its id and their number.
  await it.restart({ partitions: 3 });
  await repeat(events);
  expect(await counted()).toEqual({ hour: 12, ever: 12 });
});

test('two different events of equal key and time count twice', async () => {
  await open();
  await it.push('payments', [payment({ at: NOON_MS }), payment({ at: NOON_MS })]);
  await it.push('payments', [payment({ at: NOON_MS })]);
  expect(await counted()).toEqual({ hour: 3, ever: 3 });
});

test('the same id beyond the dedupe horizon is another event, once its row is gone', async () => {
  await open();
  await it.push('payments', [payment({ id: 'again', at: NOON_MS - 3 * 3_600_000 })]);
  await it.push('payments', [payment({ at: NOON_MS })]);
  await repeat([payment({ id: 'again', at: NOON_MS - 3_600_000 + 1 })]);
  expect(await counted()).toEqual({ hour: 2, ever: 3 });
});

test('the same id counts once up to the dedupe horizon after it, and again a millisecond later', async () => {
  await open();
  const { dedupeHorizonMs } = payments;
  const later = NOON_MS + 1 + dedupeHorizonMs;
  // Not late: those that are have a list of their own.
  await it.push('payments', [payment({ id: 'outside', at: NOON_MS })]);
  it.clock.advanceTo(NOON_MS + 1);
  await it.push('payments', [payment({ id: 'inside', at: NOON_MS + 1 })]);
  it.clock.advanceTo(later);
  // The newest event of the card: what is forgotten is older than the horizon before it.
  await it.push('payments', [payment({ at: later })]);
  // Not with its own time: its row would tell it.
  await repeat([payment({ id: 'inside', at: later })]);
  expect(await counted()).toEqual({ hour: 1, ever: 3 });
  await repeat([payment({ id: 'outside', at: later })]);
  expect(await counted()).toEqual({ hour: 2, ever: 4 });
});
