import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { DurationError, formatDuration, parseDurationMs, spellDuration } from './duration.ts';

describe('duration', () => {
  it.each([
    ['250ms', 250],
    ['30s', 30_000],
    ['5m', 300_000],
    ['1h', 3_600_000],
    ['7d', 604_800_000],
    ['2w', 1_209_600_000],
    ['90d', 7_776_000_000],
    ['0s', 0],
  ])('reads %s as %d ms', (text, expectedMs) => {
    expect(parseDurationMs(text)).toBe(expectedMs);
  });

  it('takes a number as milliseconds, unchanged', () => {
    expect(parseDurationMs(1500)).toBe(1500);
    expect(parseDurationMs(-1)).toBe(-1);
  });

  it.each([
    '',
    '7',
    'd',
    '7 d',
    ' 7d',
    '7D',
    '1.5h',
    '-5m',
    '+5m',
    '1e3s',
    '07d',
    '5min',
    '1h30m',
    '٣s',
    '7d\n',
  ])('refuses %j with a message that says what to write', (text) => {
    expect(() => parseDurationMs(text)).toThrow(DurationError);
    expect(() => parseDurationMs(text)).toThrow(/write a whole number and a unit/);
  });

  it('refuses a duration beyond 2⁵³ − 1 ms and values that are neither text nor number', () => {
    expect(() => parseDurationMs('9999999999999999w')).toThrow(/too long/);
    expect(() => parseDurationMs(null as unknown as string)).toThrow(DurationError);
  });

  it('formats with the largest unit that is exact, and reads back what it wrote', () => {
    expect(formatDuration(604_800_000)).toBe('7d');
    expect(formatDuration(90_000)).toBe('90s');
    expect(formatDuration(5_400_000)).toBe('90m');
    expect(formatDuration(0)).toBe('0ms');
    expect(formatDuration(1)).toBe('1ms');
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 2 ** 45 }), (ms) => parseDurationMs(formatDuration(ms)) === ms),
    );
  });

  it('are spelled for people in as many units as it takes', () => {
    expect(spellDuration(691_800_000)).toBe('8d 10m');
    expect(spellDuration(604_800_000)).toBe('7d');
    expect(spellDuration(90_061_001)).toBe('1d 1h 1m 1s 1ms');
    expect(spellDuration(0)).toBe('0ms');
  });
});
