/**
 * Both sides of the edges of calendar periods, enumerated: leap days, years that look like leap years, and both changes
 * of the clocks, in zones that have them. Where the periods begin is written out, not computed.
 */
import { expect, test } from 'vitest';
import { count, featureView, last, sum } from '../../index.ts';
import { card, describeForms, event, source } from '../testing/edge-forms.ts';
import type { CalendarUnit } from './calendar-period.ts';

interface Period {
  readonly unit: CalendarUnit;
  readonly timeZone: string;
  readonly start: string;
  /** Of the next one. */
  readonly next: string;
  /** Where something happens to the calendar within. */
  readonly within: string;
}

const period = (
  unit: CalendarUnit,
  timeZone: string,
  start: string,
  within: string,
  next: string,
): Period => ({
  unit,
  timeZone,
  start: `${start}:00.000Z`,
  within: `${within}:00.000Z`,
  next: `${next}:00.000Z`,
});

const PERIODS: readonly Period[] = [
  // 29 February, and years without one.
  period('day', 'UTC', '2024-02-29T00:00', '2024-02-29T12:00', '2024-03-01T00:00'),
  period('day', 'UTC', '2025-02-28T00:00', '2025-02-28T12:00', '2025-03-01T00:00'),
  period('day', 'Europe/Berlin', '2024-02-28T23:00', '2024-02-29T00:00', '2024-02-29T23:00'),
  period('week', 'UTC', '2024-02-26T00:00', '2024-02-29T00:00', '2024-03-04T00:00'),
  period('month', 'UTC', '2024-02-01T00:00', '2024-02-29T00:00', '2024-03-01T00:00'),
  period('month', 'UTC', '2025-02-01T00:00', '2025-02-28T00:00', '2025-03-01T00:00'),
  period('month', 'UTC', '2000-02-01T00:00', '2000-02-29T00:00', '2000-03-01T00:00'),
  period('month', 'UTC', '2100-02-01T00:00', '2100-02-28T00:00', '2100-03-01T00:00'),
  period('month', 'Europe/Berlin', '2024-01-31T23:00', '2024-02-28T23:00', '2024-02-29T23:00'),
  period('year', 'UTC', '2024-01-01T00:00', '2024-02-29T00:00', '2025-01-01T00:00'),
  period('year', 'UTC', '2025-01-01T00:00', '2025-02-28T00:00', '2026-01-01T00:00'),
  // Berlin: from 02:00 forward to 03:00 on 29 March, from 03:00 back to 02:00 on 25 October 2026, both at 01:00Z.
  period('hour', 'Europe/Berlin', '2026-03-29T00:00', '2026-03-29T00:30', '2026-03-29T01:00'),
  period('hour', 'Europe/Berlin', '2026-03-29T01:00', '2026-03-29T01:30', '2026-03-29T02:00'),
  period('hour', 'Europe/Berlin', '2026-10-25T00:00', '2026-10-25T00:30', '2026-10-25T01:00'),
  period('hour', 'Europe/Berlin', '2026-10-25T01:00', '2026-10-25T01:30', '2026-10-25T02:00'),
  period('day', 'Europe/Berlin', '2026-03-28T23:00', '2026-03-29T01:00', '2026-03-29T22:00'),
  period('day', 'Europe/Berlin', '2026-03-29T22:00', '2026-03-29T23:00', '2026-03-30T22:00'),
  period('day', 'Europe/Berlin', '2026-10-24T22:00', '2026-10-25T01:00', '2026-10-25T23:00'),
  period('day', 'Europe/Berlin', '2026-10-25T23:00', '2026-10-26T22:00', '2026-10-26T23:00'),
  period('week', 'Europe/Berlin', '2026-03-22T23:00', '2026-03-29T01:00', '2026-03-29T22:00'),
  period('week', 'Europe/Berlin', '2026-10-18T22:00', '2026-10-25T01:00', '2026-10-25T23:00'),
  period('month', 'Europe/Berlin', '2026-02-28T23:00', '2026-03-29T01:00', '2026-03-31T22:00'),
  period('month', 'Europe/Berlin', '2026-09-30T22:00', '2026-10-25T01:00', '2026-10-31T23:00'),
  period('year', 'Europe/Berlin', '2025-12-31T23:00', '2026-03-29T01:00', '2026-12-31T23:00'),
  // New York: forward at 07:00Z on 8 March, back at 06:00Z on 1 November 2026.
  period('day', 'America/New_York', '2026-03-08T05:00', '2026-03-08T07:00', '2026-03-09T04:00'),
  period('day', 'America/New_York', '2026-11-01T04:00', '2026-11-01T06:00', '2026-11-02T05:00'),
  // Havana: a day that begins at 01:00, as there is no midnight, and one with two.
  period('day', 'America/Havana', '2026-03-08T05:00', '2026-03-08T06:00', '2026-03-09T04:00'),
  period('day', 'America/Havana', '2026-11-01T04:00', '2026-11-01T05:00', '2026-11-02T05:00'),
];

const DAY_MS = 86_400_000;

describeForms((open) => {
  test.each(PERIODS)('the $unit that begins in $timeZone at $start', async (of) => {
    const [startMs, withinMs, nextMs] = [of.start, of.within, of.next].map(Date.parse) as [
      number,
      number,
      number,
    ];
    const { unit, timeZone } = of;
    const definition = featureView({
      name: 'view',
      source,
      entity: card,
      features: {
        n: count().since(unit, { timeZone }),
        newest: last('at').since(unit, { timeZone }),
        ids: sum('id').since(unit, { timeZone }),
        // 24 hours, whatever the calendar says.
        n_1d: count().over('1d'),
      },
      asOfRetention: '4000d',
    } as never);
    const times = [startMs, withinMs, nextMs].flatMap((timeMs) => [timeMs - 1, timeMs, timeMs + 1]);
    const state = await open(
      definition,
      times.map((timeMs, i) => event(timeMs, 2 ** i)),
    );
    const questions = times.flatMap((timeMs) => [timeMs, timeMs + DAY_MS]);
    for (const atMs of questions.filter((atMs) => startMs <= atMs && atMs <= nextMs + 1)) {
      const fromMs = atMs < nextMs ? startMs : nextMs;
      const inside = times.flatMap((timeMs, i) => (fromMs <= timeMs && timeMs <= atMs ? [2 ** i] : []));
      const ids = inside.reduce((total, id) => total + id, 0);
      expect(await state.values('c', atMs), new Date(atMs).toISOString()).toEqual({
        n: inside.length,
        newest: Math.max(...times.filter((timeMs) => timeMs <= atMs)),
        ids,
        n_1d: times.filter((timeMs) => atMs - DAY_MS < timeMs && timeMs <= atMs).length,
      });
    }
  });
});
