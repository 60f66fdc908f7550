/** A few payments of two cards with everything that formats disagree about, and the features that rows of a spine must have. */
import type { ColumnType } from '../../engine/aggregators/partial-aggregate.ts';
import { compileRepo } from '../../engine/definitions/compile.ts';
import {
  any,
  boolean,
  count,
  double,
  entity,
  featureService,
  featureView,
  integer,
  last,
  lastN,
  long,
  max,
  streamSource,
  string,
  sum,
  timestamp,
  topKFrequent,
} from '../../index.ts';
import type { Rows } from './table-writers.ts';

export const payments = streamSource({
  name: 'payments',
  columns: {
    id: long(),
    at: timestamp(),
    card: string(),
    amount: double({ nullable: true }),
    shop: string({ nullable: true }),
    online: boolean({ nullable: true }),
    pin: integer({ nullable: true }),
    account: long({ nullable: true }),
    settled: timestamp({ nullable: true }),
  },
  eventTime: 'at',
  eventId: 'id',
});

export const card = entity('card');

const byCard = featureView({
  name: 'payments_by_card',
  source: payments,
  entity: card,
  features: {
    n: count().over('30d'),
    total: sum('amount').over('30d'),
    amounts: lastN('amount', 2).over('30d'),
    shop: last('shop').over('30d'),
    shops: lastN('shop', 4).over('30d'),
    shops_n: count().by('shop').over('30d'),
    shops_settled: last('settled').by('shop').over('30d'),
    shops_top: topKFrequent('shop', 2).over('30d'),
    online: any('online').over('30d'),
    onlines: lastN('online', 3).over('30d'),
    pin: max('pin').over('30d'),
    pins: lastN('pin', 2).over('30d'),
    account: last('account').over('30d'),
    accounts: lastN('account', 3).over('30d'),
    accounts_top: topKFrequent('account', 1).over('30d'),
    settled: last('settled').over('30d'),
    settleds: lastN('settled', 3).over('30d'),
  },
});

export const repo = compileRepo([byCard, featureService({ name: 'all', features: [byCard] })]);

/** Types of the catalogue, and of the values of pairs. */
export const FEATURE_TYPES: Readonly<Record<string, readonly [type: string, column: ColumnType]>> = {
  n: ['integer', 'string'],
  total: ['double', 'string'],
  amounts: ['double[]', 'double'],
  shop: ['string', 'string'],
  shops: ['string[]', 'string'],
  shops_n: ['map<integer>', 'string'],
  shops_settled: ['map<timestamp>', 'timestamp'],
  shops_top: ['pair[]', 'string'],
  online: ['boolean', 'string'],
  onlines: ['boolean[]', 'boolean'],
  pin: ['integer', 'string'],
  pins: ['integer[]', 'integer'],
  account: ['long', 'string'],
  accounts: ['long[]', 'long'],
  accounts_top: ['pair[]', 'long'],
  settled: ['timestamp', 'string'],
  settleds: ['timestamp[]', 'timestamp'],
};

export const BASE_MS = Date.parse('2024-02-29T23:59:58.123Z');
const BIG = 9_223_372_036_854_775_807n;
const SMALL = -9_223_372_036_854_775_808n;
/** With a comma, quotes, a newline, characters beyond the first plane and a byte order mark in front. */
export const ODD = '\ufeffé, "so"\n😀';

const types = Object.fromEntries(
  Object.entries(payments.columns).map(([name, { type }]) => [name, type]),
) as Record<string, ColumnType>;

export const history: Rows = {
  types,
  rows: [
    {
      ...{ id: BIG, at: BASE_MS, card: 'a', amount: 0.1, shop: ODD, online: false, pin: 1 },
      ...{ account: BIG, settled: BASE_MS + 1 },
    },
    {
      ...{ id: 2, at: BASE_MS + 1, card: 'a', amount: null, shop: '#1', online: null, pin: null },
      ...{ account: null, settled: null },
    },
    {
      ...{ id: 3, at: BASE_MS + 2, card: ODD, amount: -2.5e-7, shop: null, online: true, pin: -7 },
      ...{ account: SMALL, settled: 0 },
    },
    {
      ...{
        id: SMALL,
        at: BASE_MS + 3,
        card: 'a',
        amount: 0.2,
        shop: ODD,
        online: true,
        pin: 9_007_199_254_740_991,
      },
      ...{ account: SMALL, settled: BASE_MS + 999 },
    },
    {
      ...{
        id: 5,
        at: BASE_MS + 4,
        card: '#1',
        amount: 7,
        shop: 'x',
        online: true,
        pin: 5,
        account: 5,
        settled: 5,
      },
    },
  ],
};

export const spine: Rows = {
  types: {
    card: 'string',
    timestamp: 'timestamp',
    label: 'integer',
    code: 'string',
    weight: 'double',
    kept: 'boolean',
    reviewed: 'timestamp',
  },
  rows: [
    {
      ...{ card: 'a', timestamp: BASE_MS + 3, label: 1, code: '007' },
      ...{ weight: 0.1, kept: true, reviewed: BASE_MS + 86_400_000 },
    },
    { card: ODD, timestamp: BASE_MS + 2, label: 0, code: ODD, weight: null, kept: false, reviewed: null },
    { card: 'nobody', timestamp: BASE_MS, label: null, code: 'F', weight: 2, kept: null, reviewed: 1 },
    {
      card: 'a',
      timestamp: BASE_MS,
      label: -1,
      code: null,
      weight: 1e21,
      kept: true,
      reviewed: 1_700_000_000_500,
    },
    { card: null, timestamp: BASE_MS, label: 3, code: '01/02/2024', weight: -1, kept: true, reviewed: 2 },
    {
      card: '#1',
      timestamp: BASE_MS + 40 * 86_400_000,
      label: 4,
      code: '#',
      weight: 1,
      kept: true,
      reviewed: 3,
    },
  ],
};

/** Values as `canonicalValue` has them: integers as texts, maps as entries by their keys, pairs as lists. */
export const expectedFeatures: readonly Readonly<Record<string, unknown>>[] = (() => {
  const empty = {
    ...{ n: '0', total: 0, amounts: null, shop: null, shops: null, shops_n: [], shops_settled: [] },
    ...{
      shops_top: null,
      online: false,
      onlines: null,
      pin: null,
      pins: null,
      account: null,
      accounts: null,
    },
    ...{ accounts_top: null, settled: null, settleds: null },
  };
  const first = {
    ...{ n: '1', total: 0.1, amounts: [0.1], shop: ODD, shops: [ODD], shops_n: [[ODD, '1']] },
    ...{ shops_settled: [[ODD, BASE_MS + 1]], shops_top: [[ODD, 1]], online: false, onlines: [false] },
    ...{ pin: '1', pins: ['1'], account: `${BIG}`, accounts: [`${BIG}`], accounts_top: [[`${BIG}`, 1]] },
    ...{ settled: BASE_MS + 1, settleds: [BASE_MS + 1] },
  };
  const all = {
    ...{ n: '3', total: 0.1 + 0.2, amounts: [0.1, 0.2], shop: ODD, shops: [ODD, '#1', ODD] },
    ...{
      shops_n: [
        ['#1', '1'],
        [ODD, '2'],
      ],
      shops_settled: [
        ['#1', null],
        [ODD, BASE_MS + 999],
      ],
    },
    ...{
      shops_top: [
        [ODD, 2],
        ['#1', 1],
      ],
      online: true,
      onlines: [false, true],
    },
    ...{ pin: '9007199254740991', pins: ['1', '9007199254740991'], account: `${SMALL}` },
    ...{ accounts: [`${BIG}`, `${SMALL}`], accounts_top: [[`${SMALL}`, 1]] },
    ...{ settled: BASE_MS + 999, settleds: [BASE_MS + 1, BASE_MS + 999] },
  };
  const other = {
    ...{ ...empty, n: '1', total: -2.5e-7, amounts: [-2.5e-7], online: true, onlines: [true], pin: '-7' },
    ...{ pins: ['-7'], account: `${SMALL}`, accounts: [`${SMALL}`], accounts_top: [[`${SMALL}`, 1]] },
    ...{ settled: 0, settleds: [0] },
  };
  const nothing = Object.fromEntries(Object.keys(empty).map((name) => [name, null]));
  return [all, other, empty, first, nothing, empty];
})();
