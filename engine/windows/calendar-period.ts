/**
 * Where the hour, day, week, month or year of a moment begins in a time zone: the old edge of a calendar window.
 *
 * Luxon knows the rules of the zones (through `Intl`) and what to do where a clock is set: a day may have 23 or 25
 * hours and need not begin at 00:00, and an hour that the clocks show twice is two hours (half of one that they show
 * twice, as on Lord Howe Island, belongs to it). Hours are worked out here: they need no calendar, and where clocks are
 * set off the full hour luxon's begin an hour late or early. It costs some tens of microseconds, so the periods met last are kept; questions mostly stay within one.
 */
import { DateTime, IANAZone } from 'luxon';

export const CALENDAR_UNITS = ['hour', 'day', 'week', 'month', 'year'] as const;
export type CalendarUnit = (typeof CALENDAR_UNITS)[number];

/** ISO 8601 counts from Monday. */
export const WEEK_STARTS = ['monday', 'sunday', 'saturday'] as const;
export type WeekStart = (typeof WEEK_STARTS)[number];

const HOUR_MS = 3_600_000;
const DAY_MS = 86_400_000;

/** The longest there are while clocks are not set. */
const PERIOD_MS: Readonly<Record<CalendarUnit, number>> = {
  hour: HOUR_MS,
  day: DAY_MS,
  week: 7 * DAY_MS,
  month: 31 * DAY_MS,
  year: 366 * DAY_MS,
};

/** Luxon's number of a weekday: 1 is Monday. */
const FIRST_WEEKDAY: Readonly<Record<WeekStart, number>> = { monday: 1, saturday: 6, sunday: 7 };

/** Periods remembered. */
const KEPT = 8;

export function isTimeZone(name: string): boolean {
  return IANAZone.isValidZone(name);
}

/** The length of the longest such period while clocks are not set, ms. */
export function periodMs(unit: CalendarUnit): number {
  return PERIOD_MS[unit];
}

/** An upper bound of the length of a calendar window, ms: its period, and a day for the zone. */
export function longestPeriodMs(unit: CalendarUnit): number {
  return PERIOD_MS[unit] + DAY_MS;
}

interface Period {
  readonly startMs: number;
  /** The start of the next. */
  readonly endMs: number;
}

export class CalendarPeriods {
  readonly #unit: CalendarUnit;
  readonly #zone: IANAZone;
  readonly #firstWeekday: number;
  /** Most recently made first. */
  readonly #known: Period[] = [];

  /** @param timeZone IANA name, e.g. `Europe/Berlin`; see `isTimeZone` */
  constructor(unit: CalendarUnit, timeZone: string, weekStart: WeekStart) {
    this.#unit = unit;
    this.#zone = IANAZone.create(timeZone);
    this.#firstWeekday = FIRST_WEEKDAY[weekStart];
  }

  /** The first millisecond of the period that holds `timeMs`. */
  startOf(timeMs: number): number {
    for (const { startMs, endMs } of this.#known) if (startMs <= timeMs && timeMs < endMs) return startMs;
    const period = this.#unit === 'hour' ? this.#hour(timeMs) : this.#days(timeMs);
    this.#known.unshift(period);
    if (this.#known.length > KEPT) this.#known.pop();
    return period.startMs;
  }

  #days(timeMs: number): Period {
    const start = this.#start(DateTime.fromMillis(timeMs, { zone: this.#zone }));
    // Into the next period by half a day: where clocks are set, its start is not where the length says.
    const beyond = start.plus({ [this.#unit]: 1 }).plus({ hours: 12 });
    return { startMs: start.toMillis(), endMs: this.#start(beyond).toMillis() };
  }

  /** The hour that clocks show, from its first moment or from when they were set, until they are set again. */
  #hour(timeMs: number): Period {
    const offsetMs = this.#offsetMs(timeMs);
    const shownHour = Math.floor((timeMs + offsetMs) / HOUR_MS);
    let startMs = shownHour * HOUR_MS - offsetMs;
    let endMs = startMs + HOUR_MS;
    if (this.#offsetMs(startMs) !== offsetMs) startMs = this.#nextSetMs(startMs, timeMs);
    if (this.#offsetMs(endMs - 1) !== offsetMs) endMs = this.#nextSetMs(timeMs, endMs - 1);
    // Set within the hour: what clocks showed before may be the same hour.
    const beforeMs = this.#offsetMs(startMs - 1);
    if (
      startMs !== shownHour * HOUR_MS - offsetMs &&
      Math.floor((startMs - 1 + beforeMs) / HOUR_MS) === shownHour
    ) {
      startMs = shownHour * HOUR_MS - beforeMs;
    }
    return { startMs, endMs };
  }

  /** What clocks are ahead of UTC. */
  #offsetMs(timeMs: number): number {
    return this.#zone.offset(timeMs) * 60_000;
  }

  /** When the clocks are set, by halving: lowMs is before it, highMs is not. */
  #nextSetMs(lowMs: number, highMs: number): number {
    const offsetMs = this.#offsetMs(lowMs);
    let low = lowMs;
    let high = highMs;
    while (high - low > 1) {
      const middle = Math.floor((low + high) / 2);
      if (this.#offsetMs(middle) === offsetMs) low = middle;
      else high = middle;
    }
    return high;
  }

  #start(at: DateTime): DateTime {
    if (this.#unit !== 'week') return firstMidnight(at.startOf(this.#unit));
    const days = (at.weekday - this.#firstWeekday + 7) % 7;
    return firstMidnight(at.minus({ days }).startOf('day'));
  }
}

/** Where clocks go back from 1:00 to 0:00 (Cuba), the day begins at the first of its two midnights. */
function firstMidnight(midnight: DateTime): DateTime {
  const before = midnight.minus({ milliseconds: 1 });
  // Not `hasSame`: to luxon the day before ends with the second midnight.
  return before.day === midnight.day ? before.startOf('day') : midnight;
}
