import { describe, expect, test } from 'vitest';
import { CalendarPeriods, type CalendarUnit } from './calendar-period.ts';

const startOf = (unit: CalendarUnit, timeZone: string, at: string): string =>
  new Date(new CalendarPeriods(unit, timeZone, 'sunday').startOf(Date.parse(at))).toISOString();

describe('a day with two midnights begins at the first of them', () => {
  // On Sunday, 1 November 2026, clocks in Havana go from 01:00 back to 00:00 at 05:00Z.
  test.each([
    ['2026-11-01T03:59:59.999Z', '2026-10-31T04:00:00.000Z'],
    ['2026-11-01T04:00:00.000Z', '2026-11-01T04:00:00.000Z'],
    ['2026-11-01T04:59:59.999Z', '2026-11-01T04:00:00.000Z'],
    ['2026-11-01T05:00:00.000Z', '2026-11-01T04:00:00.000Z'],
    ['2026-11-02T04:59:59.999Z', '2026-11-01T04:00:00.000Z'],
    ['2026-11-02T05:00:00.000Z', '2026-11-02T05:00:00.000Z'],
  ])('the day of %s', (at, start) => {
    expect(startOf('day', 'America/Havana', at)).toBe(start);
  });

  test.each(['week', 'month'] as const)('a %s that begins with it as well', (unit) => {
    expect(startOf(unit, 'America/Havana', '2026-11-01T04:00:00.000Z')).toBe('2026-11-01T04:00:00.000Z');
    expect(startOf(unit, 'America/Havana', '2026-11-05T12:00:00.000Z')).toBe('2026-11-01T04:00:00.000Z');
  });

  test('also where the day before was asked about first', () => {
    const days = new CalendarPeriods('day', 'America/Havana', 'monday');
    days.startOf(Date.parse('2026-11-01T03:59:59.999Z'));
    expect(days.startOf(Date.parse('2026-11-01T04:00:00.000Z'))).toBe(Date.parse('2026-11-01T04:00:00.000Z'));
  });
});
