/**
 * Events of one millisecond, enumerated: as a whole at every edge of every kind of window, and one by one in questions
 * about one of them, recorded or not.
 */
import { expect, test } from 'vitest';
import { count, featureView, last, max, sum } from '../../index.ts';
import { card, describeForms, event, source } from '../testing/edge-forms.ts';

const HOUR_MS = 3_600_000;
const TIE_MS = Date.UTC(2026, 2, 2, 12);
/** Not in the order of their ids; one before and one after them. */
const TIED = [16, 2, 8, 1, 4];
const BEFORE_ID = 32;
const AFTER_ID = 64;
const ALL_TIED = 31;

const view = featureView({
  name: 'view',
  source,
  entity: card,
  features: {
    hour: sum('id').over('1h'),
    hour_before: sum('id').over('1h', { offset: '1h' }),
    ever: sum('id').lifetime(),
    today: sum('id').since('day', { timeZone: 'UTC' }),
    hours: sum('id').series({ start: '2h', size: '1h' }),
    two: sum('id').lastEvents(2),
    newest: last('id').over('1h'),
    greatest: max('id').over('1h'),
    n: count().over('1h'),
  },
  asOfRetention: '30d',
} as never);

const events = [
  event(TIE_MS - 1, BEFORE_ID),
  event(TIE_MS + 1, AFTER_ID),
  ...TIED.map((id) => event(TIE_MS, id)),
];

/** Ids are in the order of their numbers, so of those up to one the sum is all the bits up to its own. */
const upTo = (id: number): number => 2 * id - 1;

describeForms((open) => {
  test('the millisecond counts as a whole where no event is asked about', async () => {
    const state = await open(view, events);
    const valueAt = async (atMs: number, feature: string) => (await state.values('c', atMs))[feature];
    // The new edge.
    expect(await valueAt(TIE_MS - 1, 'hour')).toBe(BEFORE_ID);
    expect(await valueAt(TIE_MS, 'hour')).toBe(BEFORE_ID + ALL_TIED);
    expect(await valueAt(TIE_MS + 1, 'hour')).toBe(BEFORE_ID + ALL_TIED + AFTER_ID);
    // The old edge: exactly an hour old is out.
    expect(await valueAt(TIE_MS + HOUR_MS - 2, 'hour')).toBe(BEFORE_ID + ALL_TIED + AFTER_ID);
    expect(await valueAt(TIE_MS + HOUR_MS - 1, 'hour')).toBe(ALL_TIED + AFTER_ID);
    expect(await valueAt(TIE_MS + HOUR_MS, 'hour')).toBe(AFTER_ID);
    expect(await valueAt(TIE_MS + HOUR_MS + 1, 'hour')).toBe(0);
    // Both edges of a window with an offset.
    expect(await valueAt(TIE_MS + HOUR_MS - 1, 'hour_before')).toBe(BEFORE_ID);
    expect(await valueAt(TIE_MS + HOUR_MS, 'hour_before')).toBe(BEFORE_ID + ALL_TIED);
    expect(await valueAt(TIE_MS + 2 * HOUR_MS - 1, 'hour_before')).toBe(ALL_TIED + AFTER_ID);
    expect(await valueAt(TIE_MS + 2 * HOUR_MS, 'hour_before')).toBe(AFTER_ID);
    // The edge between two windows of a series.
    expect(await valueAt(TIE_MS + HOUR_MS - 1, 'hours')).toEqual([BEFORE_ID, ALL_TIED + AFTER_ID]);
    expect(await valueAt(TIE_MS + HOUR_MS, 'hours')).toEqual([BEFORE_ID + ALL_TIED, AFTER_ID]);
    // Of equal times the last is the one with the greatest id.
    expect(await valueAt(TIE_MS, 'newest')).toBe(16);
    expect(await valueAt(TIE_MS, 'two')).toBe(16 + 8);
    expect(await valueAt(TIE_MS + 1, 'two')).toBe(AFTER_ID + 16);
    expect(await valueAt(TIE_MS, 'ever')).toBe(BEFORE_ID + ALL_TIED);
    expect(await valueAt(TIE_MS, 'today')).toBe(BEFORE_ID + ALL_TIED);
  });

  test.each(TIED)('a question about the recorded event %i counts up to it', async (id) => {
    const state = await open(view, events);
    const counted = TIED.filter((other) => other <= id);
    expect(await state.values('c', TIE_MS, event(TIE_MS, id))).toEqual({
      hour: BEFORE_ID + upTo(id),
      hour_before: 0,
      ever: BEFORE_ID + upTo(id),
      today: BEFORE_ID + upTo(id),
      hours: [0, BEFORE_ID + upTo(id)],
      two: id + (id === 1 ? BEFORE_ID : id / 2),
      newest: id,
      greatest: BEFORE_ID,
      n: 1 + counted.length,
    });
    // A millisecond later it is one of many, and at an hour's age it is as old as the others.
    expect((await state.values('c', TIE_MS + 1, event(TIE_MS, id))).hour).toBe(
      BEFORE_ID + ALL_TIED + AFTER_ID,
    );
    expect((await state.values('c', TIE_MS + HOUR_MS, event(TIE_MS, id))).hour).toBe(AFTER_ID);
  });

  test.each([
    // Before all, between two, and behind all of its millisecond.
    { id: 0, upToIt: 0, two: BEFORE_ID },
    { id: 3, upToIt: 1 + 2 + 3, two: 3 + 2 },
    { id: 100, upToIt: ALL_TIED + 100, two: 100 + 16 },
  ])('a question about the unrecorded event $id counts it in its place', async ({ id, upToIt, two }) => {
    const state = await open(view, events);
    const values = await state.values('c', TIE_MS, event(TIE_MS, id));
    expect(values).toMatchObject({ hour: BEFORE_ID + upToIt, ever: BEFORE_ID + upToIt, two, newest: id });
    const later = await state.values('c', TIE_MS + 1, event(TIE_MS, id));
    expect(later.hour).toBe(BEFORE_ID + ALL_TIED + AFTER_ID + id);
    // A question records nothing.
    expect((await state.values('c', TIE_MS)).hour).toBe(BEFORE_ID + ALL_TIED);
  });
});
