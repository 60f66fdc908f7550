/** Facts in an engine: years old, of the future, corrected, and at equal times; in any order, and pushed twice. */
import { expect, onTestFinished, test } from 'vitest';
import {
  batchSource,
  compileRepo,
  count,
  entity,
  featureService,
  featureView,
  last,
  string,
  timestamp,
} from '../index.ts';
import { TestEngine } from './testing/test-engine.ts';
import { NOON_MS } from './testing/test-repo.ts';

const DAY_MS = 86_400_000;

const prices = batchSource({
  name: 'prices',
  columns: { product: string(), price: string(), valid_from: timestamp() },
  key: 'product',
  from: 'prices.csv',
  effectiveTime: 'valid_from',
});
const price = featureView({
  name: 'price',
  source: prices,
  entity: entity('product'),
  features: { price: last('price').lifetime(), versions: count().lifetime() },
  asOfRetention: '4000d',
});
const repo = compileRepo([price, featureService({ name: 'priced', features: [price] })]);

const fact = (id: number, fromMs: number, value: string) => ({
  ...{ fact_id: String(10_000_000_000_000_000n + BigInt(id)), product: 'p', price: value },
  valid_from: fromMs,
});

test('facts hold from their time on, whenever they come', async () => {
  const engine = await TestEngine.open({ repo });
  onTestFinished(() => engine.close());
  const facts = [
    fact(4, NOON_MS + 30 * DAY_MS, 'next month'),
    fact(3, NOON_MS - 3 * DAY_MS, 'corrected'),
    fact(1, NOON_MS - 3_000 * DAY_MS, 'years ago'),
    fact(2, NOON_MS - 3 * DAY_MS, 'wrong'),
  ];
  for (const one of facts) {
    expect((await engine.push('prices', [one])).body).toMatchObject({ accepted: 1, rejected: [] });
  }
  // As a load does that was killed before it had written down what was acknowledged.
  expect((await engine.push('prices', facts)).body).toMatchObject({ accepted: 0, duplicates: 4 });
  await engine.restart();
  expect((await engine.push('prices', facts)).status).toBe(200);
  const at = async (atMs?: number): Promise<unknown> => {
    const body = { entities: { product: 'p' }, ...(atMs === undefined ? {} : { at: atMs }) };
    return (await engine.read('priced', body)).body.features;
  };
  expect(await at()).toEqual({ price: 'corrected', versions: 3 });
  expect(await at(NOON_MS - 3 * DAY_MS - 1)).toEqual({ price: 'years ago', versions: 1 });
  expect(await at(NOON_MS - 3_000 * DAY_MS - 1)).toEqual({ price: null, versions: 0 });
  engine.clock.advanceTo(NOON_MS + 30 * DAY_MS - 1);
  expect(await at()).toEqual({ price: 'corrected', versions: 3 });
  engine.clock.advanceTo(NOON_MS + 30 * DAY_MS);
  expect(await at()).toEqual({ price: 'next month', versions: 4 });
});

test('that facts of next year are known is no reason to answer for next year', async () => {
  const engine = await TestEngine.open({ repo });
  onTestFinished(() => engine.close());
  const ahead = (ms: number) => engine.read('priced', { entities: { product: 'p' }, at: NOON_MS + ms });
  expect((await ahead(600_000)).status).toBe(200);
  expect((await ahead(600_001)).body.error.code).toBe('at_in_future');
  const tooEarly = await engine.push('prices', [fact(9, NOON_MS + 366 * DAY_MS + 1, 'never')]);
  expect(tooEarly.body.rejected[0].code).toBe('too_far_in_future');
});
