import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseTimestampMs } from './timestamp.ts';

describe('timestamp text', () => {
  it.each([
    ['2018-04-01T00:00:31Z', Date.UTC(2018, 3, 1, 0, 0, 31)],
    ['2018-04-01 00:00:31Z', Date.UTC(2018, 3, 1, 0, 0, 31)],
    ['2018-04-01T00:00:31.5Z', Date.UTC(2018, 3, 1, 0, 0, 31, 500)],
    ['2018-04-01T00:00:31.007+02:00', Date.UTC(2018, 2, 31, 22, 0, 31, 7)],
    ['2018-04-01T00:00:31-0530', Date.UTC(2018, 3, 1, 5, 30, 31)],
    ['1970-01-01T00:00:00Z', 0],
    ['1969-12-31T23:59:59.999Z', -1],
    ['2000-02-29T12:00:00Z', Date.UTC(2000, 1, 29, 12)],
  ])('reads %s', (text, expectedMs) => {
    expect(parseTimestampMs(text)).toBe(expectedMs);
  });

  it('cuts off digits beyond the millisecond, which keeps the order', () => {
    expect(parseTimestampMs('1970-01-01T00:00:00.001999999Z')).toBe(1);
  });

  it.each([
    '',
    '2018-04-01',
    '2018-04-01T00:00:31',
    '2018-04-01T00:00Z',
    '2018-04-01T24:00:00Z',
    '2018-04-01T23:59:60Z',
    '2018-04-01T23:60:00Z',
    '2018-13-01T00:00:00Z',
    '2018-00-01T00:00:00Z',
    '2018-04-31T00:00:00Z',
    '2018-02-29T00:00:00Z',
    '1900-02-29T00:00:00Z',
    '0000-01-01T00:00:00Z',
    '2018-04-01T00:00:31.Z',
    '2018-04-01T00:00:31.1234567890Z',
    '2018-04-01T00:00:31Z ',
    ' 2018-04-01T00:00:31Z',
    '2018-04-01T00:00:31z',
    '2018-04-01T00:00:31+24:00',
    '2018-04-01T00:00:31+02',
    '2018-04-01T00:00:31+02:0',
    '2018-04-01T00:00:31+02:000',
    '+002018-04-01T00:00:31Z',
    '2018-4-1T00:00:31Z',
    '２018-04-01T00:00:31Z',
    '1522540831000',
    'Sun, 01 Apr 2018 00:00:31 GMT',
    'now',
  ])('refuses %j', (text) => {
    expect(parseTimestampMs(text)).toBeNull();
  });

  it('reads every moment of the years 1 to 9999 back from toISOString', () => {
    const firstMs = Date.parse('0001-01-01T00:00:00Z');
    const lastMs = Date.parse('9999-12-31T23:59:59.999Z');
    fc.assert(
      fc.property(fc.integer({ min: firstMs, max: lastMs }), (ms) => {
        expect(parseTimestampMs(new Date(ms).toISOString())).toBe(ms);
      }),
      { numRuns: 2000 },
    );
  });

  it('reads every day from 1896 to 2110 as Date does', () => {
    for (let ms = Date.UTC(1896, 0, 1); ms < Date.UTC(2110, 0, 1); ms += 86_400_000) {
      if (parseTimestampMs(new Date(ms).toISOString()) !== ms) throw new Error(new Date(ms).toISOString());
    }
  });
});
