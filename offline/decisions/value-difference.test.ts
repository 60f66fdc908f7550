import { describe, expect, test } from 'vitest';
import type { FeatureValue } from '../../engine/aggregators/partial-aggregate.ts';
import { BEYOND_64_BITS, valueDifference } from './value-difference.ts';

const differ = (type: string, logged: unknown, computed: FeatureValue, column = 'string', tolerance = 1e-9) =>
  valueDifference({ type, column }, logged, computed, tolerance);

const NO_NUMBER = { absolute: null, relative: null };
const BIG = 9_223_372_036_854_775_807n;

describe('values of a log and computed ones', () => {
  test.each<[type: string, logged: unknown, computed: FeatureValue, column?: string]>([
    ['integer', 3, 3],
    ['long', `${BIG}`, BIG],
    ['long', '-9007199254740993', -9007199254740993n],
    ['double', 0.1 + 0.2, 0.3],
    ['double', -0, 0],
    ['double', 1e-300, 1e-300 * (1 + 1e-10)],
    ['boolean', false, false],
    ['string', 'a\ufffd', 'a\ud800'],
    ['string', '', ''],
    ['timestamp', 5, 5],
    ['double', null, null],
    ['double[]', [1, null, 2], [1, null, 2 * (1 + 1e-12)]],
    ['long[]', [`${BIG}`, 1], [BIG, 1]],
    [
      'map<integer>',
      { b: 1, __proto__x: 2 },
      new Map([
        ['__proto__x', 2],
        ['b', 1],
      ]),
    ],
    ['map<double>[]', [{ a: 1 }], [new Map([['a', 1]])] as unknown as FeatureValue],
    ['pair[]', [['x', 2]], [['x', 2]] as unknown as FeatureValue],
    ['pair[]', [[`${BIG}`, 2]], [[BIG, 2]] as unknown as FeatureValue, 'long'],
    ['pair[]', [[0.3, 2]], [[0.1 + 0.2, 2]] as unknown as FeatureValue, 'double'],
  ])('%s, case %#: the same', (type, logged, computed, column) => {
    expect(differ(type, logged, computed, column)).toBeNull();
  });

  test.each<
    [type: string, logged: unknown, computed: FeatureValue, absolute: number | null, relative: number | null]
  >([
    ['integer', 3, 4, 1, 0.25],
    ['integer', 0, 1, 1, 1],
    ['long', '9223372036854775807', BIG - 1n, 1, 1 / Number(BIG)],
    ['long', 9007199254740992, 9007199254740993n, 1, 2 ** -53],
    ['double', 1, 1.5, 0.5, 0.5 / 1.5],
    ['double', 1, -1, 2, 2],
    ['double', 0, 1e-300, 1e-300, 1],
    ['timestamp', 1_000, 999, 1, 0.001],
    ['double', null, 0, null, null],
    ['double', 0, null, null, null],
    ['integer', '3', 4, 1, 0.25],
    ['integer', 'x', 4, null, null],
    ['string', 'a', 'b', null, null],
    ['boolean', true, false, null, null],
    ['double[]', [1, 2], [1, 4], 2, 0.5],
    ['double[]', [1, 2], [2, 1], 1, 0.5],
    ['double[]', [1], [1, 1], null, null],
    ['integer[]', [1, null], [2, 1], null, null],
    [
      'map<integer>',
      { a: 1, b: 8 },
      new Map([
        ['a', 2],
        ['b', 9],
      ]),
      1,
      0.5,
    ],
    ['map<integer>', { a: 1 }, new Map([['b', 1]]), null, null],
    ['map<integer>', {}, new Map([['b', 1]]), null, null],
    ['pair[]', [['x', 2]], [['x', 3]] as unknown as FeatureValue, 1, 1 / 3],
    ['pair[]', [['x', 2]], [['y', 2]] as unknown as FeatureValue, null, null],
  ])('%s, case %#: another one', (type, logged, computed, absolute, relative) => {
    expect(differ(type, logged, computed)).toEqual({ absolute, relative });
  });

  test('a tolerance is of doubles alone', () => {
    expect(differ('double', 100, 101, 'string', 0.01)).toBeNull();
    expect(differ('integer', 100, 101, 'string', 0.01)).not.toBeNull();
    expect(differ('double', 1, 1 + 2 ** -52, 'string', 0)).not.toBeNull();
  });

  test('sums that no training set has are told', () => {
    const max = '9223372036854775807';
    expect(differ('long', '9223372036854775808', null)).toBe(BEYOND_64_BITS);
    expect(differ('integer', '-9223372036854775809', null)).toBe(BEYOND_64_BITS);
    expect(differ('long', max, null)).toEqual(NO_NUMBER);
    expect(differ('string', '9223372036854775808', null)).toEqual(NO_NUMBER);
    const sums = { a: '9223372036854775808', b: 1 };
    expect(
      differ(
        'map<long>',
        sums,
        new Map([
          ['a', null],
          ['b', 1],
        ]) as never,
      ),
    ).toBe(BEYOND_64_BITS);
    expect(
      differ(
        'map<long>',
        sums,
        new Map([
          ['a', null],
          ['b', 2],
        ]) as never,
      ),
    ).toEqual({ absolute: 1, relative: 0.5 });
  });
});
