import { describe, expect, test } from 'vitest';
import * as retail from '../examples/retail/features.ts';
import { lockstep } from './lockstep.ts';
import { csvRows, dataPresent } from './published-data.ts';

const FILES = ['retail_lines.csv.gz', 'retail_features_expected.csv.gz'] as const;

describe.skipIf(!dataPresent(...FILES))('invoice lines of a shop', () => {
  test('every row is equal: exact counts, sums to the third place, ties by arrival', async () => {
    const expected = new Map<number, Record<string, string>>();
    for await (const row of csvRows(FILES[1])) expected.set(Number(row.row_no ?? row.ROW_NO), row);
    const compared = new Set<number>();
    let values = 0;
    const { events, compacted } = await lockstep({
      definitions: retail,
      source: 'retail_lines',
      file: FILES[0],
      shape: { leafBytesMax: 2048, tailRowsMax: 16 },
      foldAfterMs: 6 * 3_600_000,
      questions: ({ row_no, customer_id, stock_code }) => {
        if (!expected.has(Number(row_no))) return [];
        const product = { service: 'retail_product', entities: { stock_code } };
        return customer_id === null
          ? [product]
          : [{ service: 'retail_customer', entities: { customer_id } }, product];
      },
      answer: (row, question, features) => {
        const id = Number(row.row_no);
        compared.add(id);
        for (const [name, value] of Object.entries(features)) {
          const text = expected.get(id)![name];
          if (text === undefined) throw new Error(`no published column ${name}`);
          values++;
          // Amounts are products of doubles; the published ones are exact decimals.
          const equal = /SPEND|_LINE_/.test(name)
            ? Math.abs(value! - Number(text)) < 5e-7
            : value === Number(text);
          if (!equal) expect.fail(`row ${id}: ${question.service}.${name} is ${value}, expected ${text}`);
        }
      },
    });
    console.log(
      `${compared.size} rows, ${values} values equal, ${events} events, ${compacted} states compacted`,
    );
    expect(compared.size).toBe(5_671);
  });
});
