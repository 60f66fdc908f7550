import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { boolean, double, integer, long, string, timestamp } from './column.ts';
import { csvDecoder, missingCsvColumns } from './decode-csv.ts';
import { eventDecoder } from './decode-event.ts';
import { streamSource } from './stream-source.ts';

const source = streamSource({
  name: 'payments',
  columns: {
    id: long(),
    at: timestamp(),
    card: string(),
    note: string({ nullable: true }),
    quantity: integer(),
    amount: double(),
    online: boolean(),
    port: integer({ nullable: true }),
  },
  eventTime: 'at',
  eventId: 'id',
});
const header = ['id', 'at', 'card', 'note', 'quantity', 'amount', 'online', 'port'];
const good = ['7', '2018-04-01T00:00:31Z', 'c1', 'hi', '3', '9.50', 'true', '22'];
const decode = csvDecoder(source, header);
const change = (column: string, field: string): string[] => good.with(header.indexOf(column), field);

describe('decoding a CSV record', () => {
  it('gives the same event as its JSON twin', () => {
    const twin = {
      id: 7,
      at: '2018-04-01T00:00:31Z',
      card: 'c1',
      note: 'hi',
      quantity: 3,
      amount: 9.5,
      online: true,
      port: 22,
    };
    expect(decode(good)).toEqual(eventDecoder(source)(twin));
  });

  it('reads an empty field as empty text where text is required and as null where null is allowed', () => {
    expect(decode(change('card', ''))).toMatchObject({ ok: true, row: { card: '' } });
    expect(decode(change('note', ''))).toMatchObject({ ok: true, row: { note: null } });
    expect(decode(change('port', ''))).toMatchObject({ ok: true, row: { port: null } });
    for (const column of ['id', 'at', 'quantity', 'amount', 'online']) {
      expect(decode(change(column, ''))).toMatchObject({ ok: false, code: 'missing_value', column });
    }
  });

  it('keeps blanks, commas and quotes of text', () => {
    expect(decode(change('card', ' a,"b" '))).toMatchObject({ row: { card: ' a,"b" ' } });
  });

  it.each([
    ['id', '9223372036854775807', 2n ** 63n - 1n],
    ['quantity', '-12', -12],
    ['quantity', '-0', 0],
    ['amount', '1e-3', 0.001],
    ['amount', '.5', 0.5],
    ['amount', '5.', 5],
    ['amount', '-0.0', 0],
    ['online', '1', true],
    ['online', '0', false],
    ['online', 'false', false],
    ['at', '1522540831000', 1522540831000],
  ])('reads %s: %j', (column, field, expected) => {
    const result = decode(change(column, field));
    expect(result.ok && Object.is(result.row[column], expected)).toBe(true);
  });

  it.each([
    ['id', '9223372036854775808', 'integer_out_of_range'],
    ['id', '1.0', 'wrong_type'],
    ['quantity', ' 3', 'wrong_type'],
    ['quantity', '3 ', 'wrong_type'],
    ['quantity', '0x10', 'wrong_type'],
    ['quantity', '1e3', 'wrong_type'],
    ['quantity', '03', 'wrong_type'],
    ['quantity', '3.0', 'wrong_type'],
    ['quantity', '9007199254740993', 'integer_out_of_range'],
    ['amount', 'NaN', 'wrong_type'],
    ['amount', 'Infinity', 'wrong_type'],
    ['amount', '1,5', 'wrong_type'],
    ['amount', '0x1p3', 'wrong_type'],
    ['amount', '.', 'wrong_type'],
    ['amount', ' 1', 'wrong_type'],
    ['amount', '1e400', 'number_out_of_range'],
    ['online', 'TRUE', 'wrong_type'],
    ['online', 'yes', 'wrong_type'],
    ['at', '2018-04-01', 'invalid_timestamp'],
    ['at', '-1', 'invalid_timestamp'],
    ['at', '99999999999999', 'timestamp_out_of_range'],
  ])('refuses %s: %j as %s', (column, field, code) => {
    expect(decode(change(column, field))).toMatchObject({ ok: false, code, column });
  });

  it('ignores columns it does not know, finds its own by name, and misses what the record lacks', () => {
    const shuffled = csvDecoder(source, ['extra', ...header.toReversed()]);
    expect(shuffled(['?', ...good.toReversed()])).toEqual(decode(good));
    expect(decode(good.slice(0, 6))).toMatchObject({ ok: false, code: 'missing_value', column: 'online' });
    expect(decode(good.slice(0, 7))).toMatchObject({ ok: true, row: { port: null } });
    expect(decode('id,at' as never)).toMatchObject({ ok: false, code: 'not_an_object' });
  });

  it('names the required columns that a header lacks', () => {
    expect(missingCsvColumns(source, header)).toEqual([]);
    expect(missingCsvColumns(source, ['at', 'id', 'card'])).toEqual(['quantity', 'amount', 'online']);
  });

  it('reads back every double and integer as JavaScript writes them', () => {
    fc.assert(
      fc.property(
        fc.double({ min: -1e140, max: 1e140, noNaN: true }),
        fc.maxSafeInteger(),
        (amount, quantity) => {
          const fields = change('amount', String(amount)).with(header.indexOf('quantity'), String(quantity));
          expect(decode(fields)).toMatchObject({ ok: true, row: { amount: amount + 0, quantity } });
        },
      ),
    );
  });
});
