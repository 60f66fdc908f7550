import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { integerEventId, textEventId } from '../event-id.ts';
import { count } from './aggregation.ts';
import { boolean, double, integer, long, string, timestamp } from './column.ts';
import { compileRepo } from './compile.ts';
import { decodeEvent, eventDecoder, readEntityKey } from './decode-event.ts';
import { entity } from './entity.ts';
import { checkEntityKey } from './entity-key.ts';
import { featureView } from './feature-view.ts';
import { ROW_ERRORS } from './row-error.ts';
import { streamSource } from './stream-source.ts';
import { toJsonValue } from './to-json-value.ts';

const payments = streamSource({
  name: 'payments',
  columns: {
    id: long(),
    at: timestamp(),
    card: string(),
    note: string({ nullable: true }),
    quantity: integer(),
    amount: double(),
    online: boolean(),
    shippedAt: timestamp({ nullable: true }),
  },
  eventTime: 'at',
  eventId: 'id',
});

const good = {
  id: 7,
  at: '2018-04-01T00:00:31Z',
  card: 'c1',
  note: null,
  quantity: 3,
  amount: 9.5,
  online: true,
};

const decode = eventDecoder(payments);

function decoded(changes: object) {
  const result = decode({ ...good, ...changes });
  if (!result.ok) throw new Error(`${result.code}: ${result.message}`);
  return result;
}

function refused(changes: object) {
  const result = decode({ ...good, ...changes });
  if (result.ok) throw new Error('was accepted');
  return result;
}

describe('decoding a JSON event', () => {
  it('gives a row of every declared column, in order, with time and identity', () => {
    const result = decoded({ unknown_field: 1 });
    expect(result.row).toEqual({
      id: 7,
      at: Date.UTC(2018, 3, 1, 0, 0, 31),
      card: 'c1',
      note: null,
      quantity: 3,
      amount: 9.5,
      online: true,
      shippedAt: null,
    });
    expect(Object.keys(result.row)).toEqual(Object.keys(payments.columns));
    expect(result.eventTimeMs).toBe(Date.UTC(2018, 3, 1, 0, 0, 31));
    expect(result.eventId).toEqual(integerEventId(7));
    expect(result.idText).toBe('7');
  });

  it('has the same column order whatever the order of the fields', () => {
    const reversed = decode(Object.fromEntries(Object.entries(good).reverse()));
    expect(reversed.ok && Object.keys(reversed.row)).toEqual(Object.keys(payments.columns));
  });

  it('identifies an event by text where the id column is text, and by nothing where there is none', () => {
    const byText = streamSource({
      name: 's',
      columns: { at: timestamp(), id: string() },
      eventTime: 'at',
      eventId: 'id',
    });
    expect(eventDecoder(byText)({ at: 5, id: 'é' })).toMatchObject({
      eventId: textEventId('é'),
      idText: 'é',
    });
    const without = streamSource({ name: 's', columns: { at: timestamp() }, eventTime: 'at' });
    expect(eventDecoder(without)({ at: 5 })).toMatchObject({ eventId: null, idText: null, eventTimeMs: 5 });
  });

  it.each([[undefined], [null], [17], ['{}'], [[]], [[{ ...good }]], [true]])(
    'refuses %j, which is not an object',
    (data) => {
      expect(decode(data)).toMatchObject({ ok: false, code: 'not_an_object', column: null });
    },
  );

  it.each(['id', 'at', 'card', 'quantity', 'amount', 'online'])(
    'refuses an event whose required column %s is null or missing',
    (column) => {
      expect(refused({ [column]: null })).toMatchObject({ code: 'missing_value', column });
      expect(refused({ [column]: undefined })).toMatchObject({ code: 'missing_value', column });
    },
  );

  it('takes a text of 8192 characters', () => {
    const note = 'é'.repeat(8192);
    expect(decode({ ...good, note })).toMatchObject({ ok: true, row: { note } });
  });

  it('reads nullable columns that are null or left out as null', () => {
    const { note: _, ...without } = good;
    expect(decode(without)).toMatchObject({ ok: true, row: { note: null, shippedAt: null } });
  });

  it.each([
    ['card', 5, 'wrong_type'],
    ['card', ['c1'], 'wrong_type'],
    ['card', { toString: 'x' }, 'wrong_type'],
    ['card', 'a\ud800', 'invalid_text'],
    ['note', 'x'.repeat(8193), 'text_too_long'],
    ['quantity', '3', 'wrong_type'],
    ['quantity', 3.5, 'wrong_type'],
    ['quantity', true, 'wrong_type'],
    ['quantity', 3n, 'wrong_type'],
    ['quantity', Number.NaN, 'wrong_type'],
    ['quantity', Number.POSITIVE_INFINITY, 'wrong_type'],
    ['quantity', 2 ** 53, 'integer_out_of_range'],
    ['quantity', -(2 ** 53), 'integer_out_of_range'],
    ['quantity', 1e300, 'integer_out_of_range'],
    ['id', 2 ** 53, 'integer_out_of_range'],
    ['id', '9223372036854775808', 'integer_out_of_range'],
    ['id', '-9223372036854775809', 'integer_out_of_range'],
    ['id', '99999999999999999999999999', 'integer_out_of_range'],
    ['id', 2n ** 63n, 'integer_out_of_range'],
    ['id', '', 'wrong_type'],
    ['id', ' 7', 'wrong_type'],
    ['id', '0x7', 'wrong_type'],
    ['id', '7.0', 'wrong_type'],
    ['id', '007', 'wrong_type'],
    ['id', '+7', 'wrong_type'],
    ['id', 7.5, 'wrong_type'],
    ['amount', '9.5', 'wrong_type'],
    ['amount', Number.NaN, 'number_out_of_range'],
    ['amount', Number.NEGATIVE_INFINITY, 'number_out_of_range'],
    ['amount', 1.1e140, 'number_out_of_range'],
    ['online', 1, 'wrong_type'],
    ['online', 'true', 'wrong_type'],
    ['at', true, 'wrong_type'],
    ['at', 'yesterday', 'invalid_timestamp'],
    ['at', '2018-04-01T00:00:31', 'invalid_timestamp'],
    ['at', '1522540831000', 'invalid_timestamp'],
    ['at', 1.5, 'invalid_timestamp'],
    ['at', Number.NaN, 'invalid_timestamp'],
    ['at', -1, 'timestamp_out_of_range'],
    ['at', '1969-12-31T23:59:59Z', 'timestamp_out_of_range'],
    ['at', 2 ** 45, 'timestamp_out_of_range'],
  ])('refuses %s: %o as %s', (column, value, code) => {
    expect(refused({ [column]: value })).toMatchObject({ ok: false, code, column });
  });

  it.each([
    ['card', '', ''],
    ['quantity', -0, 0],
    ['quantity', 2 ** 53 - 1, 2 ** 53 - 1],
    ['id', -0, 0],
    ['id', '-0', 0],
    ['id', '12', 12],
    ['id', 12n, 12],
    ['id', '9007199254740993', 9007199254740993n],
    ['id', '-9223372036854775808', -(2n ** 63n)],
    ['id', '9223372036854775807', 2n ** 63n - 1n],
    ['amount', -0, 0],
    ['amount', -1e140, -1e140],
    ['amount', 1e16, 1e16],
    ['at', 0, 0],
    ['at', 2 ** 45 - 1, 2 ** 45 - 1],
    ['at', '1970-01-01T00:00:00.001+00:00', 1],
  ])('reads %s: %o as %s', (column, value, expected) => {
    expect(Object.is(decoded({ [column]: value }).row[column], expected)).toBe(true);
  });

  it('tells how to send an integer that JSON would round', () => {
    const rounded: unknown = JSON.parse('9007199254740993');
    expect(refused({ id: rounded }).message).toMatch(/send a string of digits/);
    expect(refused({ quantity: rounded }).message).toMatch(/declare the column as long/);
  });

  it('never shows a value, only the column and what was expected', () => {
    for (const column of Object.keys(good)) {
      for (const secret of ['4711-SECRET', 4711.5, { s: '4711' }, 4711e200]) {
        const result = decode({ ...good, [column]: secret });
        if (result.ok) continue;
        expect(result.message).not.toMatch(/4711|SECRET/);
        expect(result.message).toContain(`'${column}'`);
      }
    }
  });

  it('looks at own properties only: columns may be called like what objects inherit', () => {
    const source = streamSource({
      name: 's',
      columns: {
        at: timestamp(),
        constructor: string({ nullable: true }),
        toString: integer({ nullable: true }),
      },
      eventTime: 'at',
    });
    const decodeOdd = eventDecoder(source);
    expect(decodeOdd({ at: 1 })).toMatchObject({ ok: true });
    const empty = decodeOdd({ at: 1 });
    expect(empty.ok && Object.entries(empty.row)).toEqual([
      ['at', 1],
      ['constructor', null],
      ['toString', null],
    ]);
    const given = decodeOdd(JSON.parse('{"at":1,"constructor":"c","toString":2,"__proto__":{"at":9}}'));
    expect(given.ok && Object.entries(given.row)).toEqual([
      ['at', 1],
      ['constructor', 'c'],
      ['toString', 2],
    ]);
    expect(decodeOdd(JSON.parse('{"__proto__":{"at":9}}'))).toMatchObject({
      code: 'missing_value',
      column: 'at',
    });
  });

  it('decodes what toJsonValue made, through JSON text, to an equal event', () => {
    const cell = <T>(value: fc.Arbitrary<T>) => fc.option(value, { nil: null });
    fc.assert(
      fc.property(
        fc.record({
          id: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }).map(String),
          at: fc.nat({ max: 2 ** 45 - 1 }),
          card: fc.string({ unit: 'grapheme' }),
          note: cell(fc.string({ unit: 'binary' }).filter((text) => checkEntityKey(text) === null)),
          quantity: fc.maxSafeInteger(),
          amount: fc.double({ min: -1e140, max: 1e140, noNaN: true }),
          online: fc.boolean(),
          shippedAt: cell(fc.nat({ max: 2 ** 45 - 1 })),
        }),
        (event) => {
          const once = decode(event);
          if (!once.ok) throw new Error(once.message);
          expect(decode(JSON.parse(JSON.stringify(toJsonValue(once.row))))).toEqual(once);
        },
      ),
    );
  });

  it('leaves a row without big integers as it is for JSON', () => {
    const { row } = decoded({});
    expect(toJsonValue(row)).toBe(row);
  });

  it('never throws, whatever JSON comes in', () => {
    fc.assert(
      fc.property(
        fc.anything({ withBigInt: true, withNullPrototype: true }),
        fc.constantFrom(...Object.keys(good)),
        (value, column) => {
          const result = decode({ ...good, [column]: value });
          expect(result.ok || ROW_ERRORS.some(({ code }) => code === result.code)).toBe(true);
          decode(value);
        },
      ),
    );
  });
});

describe('entity keys of events', () => {
  const repo = compileRepo([
    featureView({ name: 'v', source: payments, entity: entity('card'), features: { n: count().over('1d') } }),
  ]);
  const source = repo.sources.get('payments')!;
  const longest = 'x'.repeat(1024);

  it('are bounded at the edge and not when the log is read again', () => {
    const atEdge = decodeEvent(source, { checkKeys: true });
    expect(atEdge({ ...good, card: longest })).toMatchObject({ ok: true });
    expect(atEdge({ ...good, card: `${longest}x` })).toMatchObject({
      ok: false,
      code: 'key_too_long',
      column: 'card',
    });
    expect(decodeEvent(source)({ ...good, card: `${longest}x` })).toMatchObject({ ok: true });
    expect(atEdge({ ...good, note: `${longest}x` })).toMatchObject({ ok: true });
  });

  it('are counted in bytes of UTF-8', () => {
    expect(checkEntityKey('')).toBeNull();
    expect(checkEntityKey('é'.repeat(512))).toBeNull();
    expect(checkEntityKey('é'.repeat(513))).toBe('key_too_long');
    expect(checkEntityKey('😀'.repeat(256))).toBeNull();
    expect(checkEntityKey(`${'😀'.repeat(256)}a`)).toBe('key_too_long');
    expect(checkEntityKey('a\udc00')).toBe('invalid_text');
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme', minLength: 200, maxLength: 1200 }), (key) => {
        expect(checkEntityKey(key) === null).toBe(Buffer.byteLength(key) <= 1024);
      }),
    );
  });

  it('compare as text: the number 1 and the text "1" are one key', () => {
    expect(readEntityKey(1)).toEqual({ ok: true, key: '1' });
    expect(readEntityKey('1')).toEqual({ ok: true, key: '1' });
    expect(readEntityKey(-0)).toEqual({ ok: true, key: '0' });
    expect(readEntityKey(2n ** 60n)).toEqual({ ok: true, key: '1152921504606846976' });
    expect(readEntityKey('__proto__')).toEqual({ ok: true, key: '__proto__' });
    for (const value of [null, undefined, {}, [], true, 1.5, Number.NaN, 2 ** 53]) {
      expect(readEntityKey(value)).toEqual({ ok: false, problem: 'wrong_type' });
    }
    expect(readEntityKey('x'.repeat(10_000))).toEqual({ ok: false, problem: 'key_too_long' });
    expect(readEntityKey('\ud800')).toEqual({ ok: false, problem: 'invalid_text' });
  });
});

describe('the catalogue of row errors', () => {
  it('names each code once, with a meaning', () => {
    const codes = ROW_ERRORS.map(({ code }) => code);
    expect(new Set(codes).size).toBe(codes.length);
    for (const { code, meaning } of ROW_ERRORS) {
      expect(code).toMatch(/^[a-z]+(_[a-z]+)*$/);
      expect(meaning).toMatch(/^[A-Z].*\.$/);
    }
  });
});
