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

describe('an hour ends where clocks are set', () => {
  test.each([
    // From 03:45 back to 02:45 at 14:00Z, on 4 April 2026.
    ['Pacific/Chatham', '2026-04-04T13:59:59.999Z', '2026-04-04T13:15:00.000Z'],
    ['Pacific/Chatham', '2026-04-04T14:00:00.000Z', '2026-04-04T14:00:00.000Z'],
    ['Pacific/Chatham', '2026-04-04T14:14:59.999Z', '2026-04-04T14:00:00.000Z'],
    ['Pacific/Chatham', '2026-04-04T14:15:00.000Z', '2026-04-04T14:15:00.000Z'],
    // From 00:01 forward to 01:01 at 03:31Z: there is no 01:00.
    ['America/St_Johns', '1990-04-01T03:30:59.999Z', '1990-04-01T03:30:00.000Z'],
    ['America/St_Johns', '1990-04-01T03:31:00.000Z', '1990-04-01T03:31:00.000Z'],
    ['America/St_Johns', '1990-04-01T04:29:59.999Z', '1990-04-01T03:31:00.000Z'],
    ['America/St_Johns', '1990-04-01T04:30:00.000Z', '1990-04-01T04:30:00.000Z'],
    // From 02:00 back to 01:30 at 15:00Z: the half hour shown twice belongs to the hour.
    ['Australia/Lord_Howe', '2026-04-04T14:59:59.999Z', '2026-04-04T14:00:00.000Z'],
    ['Australia/Lord_Howe', '2026-04-04T15:00:00.000Z', '2026-04-04T14:00:00.000Z'],
    ['Australia/Lord_Howe', '2026-04-04T15:30:00.000Z', '2026-04-04T15:30:00.000Z'],
    // From 03:00 back to 02:00 at 01:00Z: two hours.
    ['Europe/Berlin', '2026-10-25T00:59:59.999Z', '2026-10-25T00:00:00.000Z'],
    ['Europe/Berlin', '2026-10-25T01:00:00.000Z', '2026-10-25T01:00:00.000Z'],
    ['Asia/Kathmandu', '1970-01-01T00:00:00.000Z', '1969-12-31T23:30:00.000Z'],
  ])('%s at %s', (timeZone, at, start) => {
    expect(startOf('hour', timeZone, at)).toBe(start);
  });

  test('also where the hour before was asked about first', () => {
    const hours = new CalendarPeriods('hour', 'Pacific/Chatham', 'monday');
    hours.startOf(Date.parse('2026-04-04T13:59:59.999Z'));
    expect(hours.startOf(Date.parse('2026-04-04T14:00:00.000Z'))).toBe(
      Date.parse('2026-04-04T14:00:00.000Z'),
    );
  });
});
