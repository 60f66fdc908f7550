/**
 * Moments as text: ISO 8601 with a zone, read strictly (`Date.parse` guesses) and by hand, since every event
 * has one: a regular expression takes seven times as long.
 */

/** 2⁴⁵ ms, in the year 3084: no moment may be at or beyond it. */
export const TIMESTAMP_LIMIT_MS = 2 ** 45;

export const TIMESTAMP_EXPECTED = 'an ISO 8601 time with a zone, e.g. 2018-05-23T10:00:00Z';

const ZERO = 0x30;
const DASH = 0x2d;
const COLON = 0x3a;
const BLANK = 0x20;
const DOT = 0x2e;
const PLUS = 0x2b;
const UPPER_T = 0x54;
const UPPER_Z = 0x5a;

/** The digit at an index, or NaN: every number it is part of becomes NaN, which fails all comparisons. */
function digit(text: string, index: number): number {
  const value = text.charCodeAt(index) - ZERO;
  return value >= 0 && value <= 9 ? value : Number.NaN;
}

const twoDigits = (text: string, index: number): number => digit(text, index) * 10 + digit(text, index + 1);

const DAYS_BEFORE_MONTH = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];

function daysInMonth(year: number, month: number): number {
  if (month === 2) return isLeap(year) ? 29 : 28;
  return month === 4 || month === 6 || month === 9 || month === 11 ? 30 : 31;
}

const isLeap = (year: number): boolean => year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0);

/** Days from 1970-01-01 in the proleptic Gregorian calendar. */
function epochDay(year: number, month: number, day: number): number {
  const before = year - 1;
  const leapDays = Math.floor(before / 4) - Math.floor(before / 100) + Math.floor(before / 400);
  // 719 162 days from 0001-01-01 to 1970-01-01.
  const yearStart = before * 365 + leapDays - 719_162;
  return yearStart + DAYS_BEFORE_MONTH[month - 1]! + (month > 2 && isLeap(year) ? 1 : 0) + day - 1;
}

/**
 * Milliseconds since the epoch, or null where the text is no moment: no zone, a day that does not exist, a
 * leap second. `YYYY-MM-DDThh:mm:ss`, a blank allowed for the `T`, then up to nine digits of a fraction, then
 * `Z`, `+hh:mm` or `+hhmm`. Digits beyond the millisecond are cut off, which keeps the order of events. Not
 * checked against `TIMESTAMP_LIMIT_MS`; may be negative.
 */
export function parseTimestampMs(text: string): number | null {
  const year = twoDigits(text, 0) * 100 + twoDigits(text, 2);
  const month = twoDigits(text, 5);
  const day = twoDigits(text, 8);
  const hour = twoDigits(text, 11);
  const minute = twoDigits(text, 14);
  const second = twoDigits(text, 17);
  const separator = text.charCodeAt(10);
  const wellFormed =
    text.charCodeAt(4) === DASH &&
    text.charCodeAt(7) === DASH &&
    (separator === UPPER_T || separator === BLANK) &&
    text.charCodeAt(13) === COLON &&
    text.charCodeAt(16) === COLON;
  const exists =
    year >= 1 &&
    month >= 1 &&
    month <= 12 &&
    day >= 1 &&
    day <= daysInMonth(year, month) &&
    hour <= 23 &&
    minute <= 59 &&
    second <= 59;
  if (!wellFormed || !exists) return null;

  let index = 19;
  let millisecond = 0;
  if (text.charCodeAt(index) === DOT) {
    const start = ++index;
    for (let place = 100; !Number.isNaN(digit(text, index)); index++, place /= 10) {
      if (place >= 1) millisecond += digit(text, index) * place;
    }
    if (index === start || index > start + 9) return null;
  }

  let zoneMinutes = 0;
  const zone = text.charCodeAt(index++);
  if (zone === PLUS || zone === DASH) {
    const zoneHour = twoDigits(text, index);
    index += text.charCodeAt(index + 2) === COLON ? 3 : 2;
    const zoneMinute = twoDigits(text, index);
    index += 2;
    if (!(zoneHour <= 23 && zoneMinute <= 59)) return null;
    zoneMinutes = (zone === PLUS ? 1 : -1) * (zoneHour * 60 + zoneMinute);
  } else if (zone !== UPPER_Z) return null;
  if (index !== text.length) return null;

  const minutes = (epochDay(year, month, day) * 24 + hour) * 60 + minute - zoneMinutes;
  return (minutes * 60 + second) * 1000 + millisecond;
}
