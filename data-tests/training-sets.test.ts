import { describe, expect, test } from 'vitest';
import * as cardFraud from '../examples/card-fraud/features.ts';
import * as retail from '../examples/retail/features.ts';
import { CARD_FILES } from './card-transactions.ts';
import { csvRows, dataPresent } from './published-data.ts';
import { trainedFeatures, trainedPayments } from './training-sets.ts';

describe.skipIf(!dataPresent(...CARD_FILES))('a training set of card payments', () => {
  test('every published row of four days is equal: counts, means within 1e-9', async () => {
    const trained = await trainedPayments(cardFraud);
    let rows = 0;
    let values = 0;
    for await (const published of csvRows('card_features_expected.csv.gz')) {
      const id = Number(published.TRANSACTION_ID);
      const features = trained.get(id)!;
      rows++;
      for (const [name, text] of Object.entries(published)) {
        if (name === 'TRANSACTION_ID') continue;
        const value = features[name];
        values++;
        const equal = /_AVG_|_RISK_/.test(name)
          ? Math.abs(value! - Number(text)) <= 1e-9
          : value === Number(text);
        if (!equal) expect.fail(`transaction ${id}: ${name} is ${value}, published ${text}`);
      }
    }
    console.log(`${rows} rows, ${values} values equal`);
    expect(rows).toBe(38_071);
    expect(trained.size).toBe(38_071);
    expect(values).toBe(38_071 * 14);
  });
});

const RETAIL_FILES = ['retail_lines.csv.gz', 'retail_features_expected.csv.gz'] as const;

describe.skipIf(!dataPresent(...RETAIL_FILES))('training sets of invoice lines', () => {
  test('every row is equal: exact counts, sums to the third place, ties by arrival', async () => {
    const spine = (key: string) => (file: string) =>
      `SELECT CAST(row_no AS BIGINT) AS row_no, CAST(ts AS TIMESTAMPTZ) AS ts, nullif(${key}, '') AS ${key}
       FROM ${file} WHERE ts[:10] IN ('2011-03-17', '2011-11-14')`;
    const train = (service: string, key: string) =>
      trainedFeatures({
        ...{ definitions: retail, service, file: RETAIL_FILES[0], id: 'row_no', spine: spine(key) },
      });
    const customers = await train('retail_customer', 'customer_id');
    const products = await train('retail_product', 'stock_code');
    let rows = 0;
    let values = 0;
    for await (const expected of csvRows(RETAIL_FILES[1])) {
      const id = Number(expected.row_no ?? expected.ROW_NO);
      rows++;
      for (const [name, value] of Object.entries({ ...customers.get(id), ...products.get(id) })) {
        const text = expected[name];
        if (text === undefined) throw new Error(`no published column ${name}`);
        values++;
        // A line without a customer has no features of one. Amounts are products of doubles, published ones exact decimals.
        const equal =
          text === ''
            ? value === null
            : /SPEND|_LINE_/.test(name)
              ? Math.abs(value! - Number(text)) < 5e-7
              : value === Number(text);
        if (!equal) expect.fail(`row ${id}: ${name} is ${value}, expected ${text}`);
      }
    }
    console.log(`${rows} rows, ${values} values equal`);
    expect(rows).toBe(5_671);
    expect(values).toBe(5_671 * 10);
  });
});
