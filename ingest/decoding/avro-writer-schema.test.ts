import avro from 'avsc';
import { describe, expect, test } from 'vitest';
import type { ColumnType } from '../../engine/aggregators/partial-aggregate.ts';
import type { Columns } from '../../engine/definitions/types.ts';
import { SeededRandom } from '../../engine/testing/random.ts';
import { compileAvro } from './avro-writer-schema.ts';
import { sourceWith } from './testing/columns.ts';
import { exactLong } from './testing/serialized-events.ts';
import { EXPECTED, UnusableSchemaError, type WriterSchema } from './writer-schema.ts';

const record = (fields: readonly unknown[], more: object = {}) => ({
  type: 'record',
  name: 'Anything',
  namespace: 'com.example',
  fields,
  ...more,
});

const compile = (schema: unknown, columns: Columns, references: readonly unknown[] = []): WriterSchema =>
  compileAvro({
    avro,
    schema: JSON.stringify(schema),
    references: references.map((reference) => JSON.stringify(reference)),
    source: sourceWith(columns),
  });

const typeHook = (schema: unknown) =>
  schema === 'long' || (schema as { type?: unknown }).type === 'long' ? exactLong : undefined;
/** What Avro's own library writes. */
const encode = (schema: unknown, value: unknown): Buffer =>
  avro.Type.forSchema(schema as never, { typeHook } as never).toBuffer(value);

/** The value of column `x` after a trip. */
function read(type: unknown, value: unknown, column: ColumnType): unknown {
  const schema = record([{ name: 'x', type }]);
  const decoded = compile(schema, { x: { type: column, nullable: true } }).decode(
    encode(record([{ name: 'x', type }]), { x: value }),
    0,
  );
  return decoded.ok ? (decoded.data as { x: unknown }).x : decoded;
}

const logical = (type: string, logicalType: string) => ({ type, logicalType });
const symbols = { type: 'enum', name: 'Kind', symbols: ['RED', 'GREEN'] };
const BIG = 9_007_199_254_740_993n;

describe('what a column reads', () => {
  test.each([
    ['string', 'string', 'ü', 'ü'],
    ['string', logical('string', 'uuid'), 'abc', 'abc'],
    ['string', symbols, 'GREEN', 'GREEN'],
    ['string', 'bytes', Buffer.from('text'), 'text'],
    ['integer', 'int', -5, -5],
    ['integer', 'long', 2 ** 40, 2 ** 40],
    // Not exact: the column refuses it, as it does in JSON.
    ['integer', 'long', BIG, Number(BIG)],
    ['long', 'int', 7, 7],
    ['long', 'long', BIG, BIG],
    ['long', 'long', -(2n ** 63n), -(2n ** 63n)],
    ['long', logical('long', 'timestamp-micros'), 5, 5],
    ['double', 'double', 0.1, 0.1],
    ['double', 'float', 0.5, 0.5],
    ['double', 'int', 3, 3],
    ['double', 'long', BIG, Number(BIG)],
    ['boolean', 'boolean', true, true],
    ['timestamp', 'long', 1_700_000_000_123, 1_700_000_000_123],
    ['timestamp', logical('long', 'timestamp-millis'), 1_700_000_000_123, 1_700_000_000_123],
    ['timestamp', logical('long', 'timestamp-micros'), 1_700_000_000_123_999, 1_700_000_000_123],
    ['timestamp', logical('long', 'timestamp-nanos'), 1_700_000_000_123_999_999n, 1_700_000_000_123],
    ['timestamp', 'string', '2026-01-01T00:00:00Z', '2026-01-01T00:00:00Z'],
    ['long', ['null', 'long'], BIG, BIG],
    ['long', ['long', 'null'], null, null],
    ['string', ['null', 'int', 'string'], 'a', 'a'],
  ] as [ColumnType, unknown, unknown, unknown][])('%s from %j', (column, type, value, expected) => {
    expect(read(type, value, column)).toBe(expected);
  });

  test.each([
    ['string', 'int', 1, 'int'],
    ['string', logical('bytes', 'decimal'), Buffer.from([1]), 'bytes (decimal)'],
    ['integer', 'string', '1', 'string'],
    ['integer', 'double', 1, 'double'],
    ['long', 'bytes', Buffer.from([1]), 'bytes'],
    ['double', { type: 'fixed', name: 'F', size: 2 }, Buffer.alloc(2), 'fixed'],
    ['double', logical('bytes', 'decimal'), Buffer.from([1]), 'bytes (decimal)'],
    ['boolean', 'int', 1, 'int'],
    ['timestamp', logical('int', 'date'), 20_000, 'int (date)'],
    ['timestamp', logical('long', 'local-timestamp-millis'), 1, 'long (local-timestamp-millis)'],
    ['string', { type: 'array', items: 'string' }, ['a'], 'array'],
    ['string', { type: 'map', values: 'string' }, { a: 'b' }, 'map'],
    ['string', { type: 'record', name: 'R', fields: [] }, {}, 'record'],
  ] as [ColumnType, unknown, unknown, string][])('%s does not read %j', (column, type, value, label) => {
    // avsc wants parameters of a decimal that it does not need here.
    const plain = (type as { logicalType?: string }).logicalType ? (type as { type: string }).type : type;
    const schema = record([{ name: 'x', type }]);
    const compiled = compile(schema, { x: { type: column, nullable: true } });
    const problem = `must be ${EXPECTED[column]}; in the writer's schema it is ${label}`;
    expect(compiled.misfits).toEqual([{ column: 'x', problem, always: true }]);
    expect(compiled.decode(encode(record([{ name: 'x', type: plain }]), { x: value }), 0)).toEqual({
      ok: false,
      reason: 'breaks_schema',
      message: `column 'x' ${problem}`,
    });
  });

  test('of a union only the branches that do not fit are refused', () => {
    const schema = record([{ name: 'x', type: ['null', 'string', 'int'] }]);
    const { misfits, decode } = compile(schema, { x: { type: 'string', nullable: true } });
    expect(misfits).toMatchObject([{ column: 'x', always: false }]);
    expect(decode(encode(schema, { x: 'a' }), 0)).toEqual({ ok: true, data: { x: 'a' } });
    expect(decode(encode(schema, { x: null }), 0)).toEqual({ ok: true, data: { x: null } });
    expect(decode(encode(schema, { x: 1 }), 0)).toMatchObject({ ok: false, reason: 'breaks_schema' });
  });
});

describe("writers with other schemas than the definition's", () => {
  const columns: Columns = {
    id: { type: 'long', nullable: false },
    note: { type: 'string', nullable: true },
  };

  test('a column that the writer did not know is left out, and said to be missing unless nullable', () => {
    const schema = record([{ name: 'other', type: 'int' }]);
    const { misfits, decode } = compile(schema, columns);
    expect(misfits).toEqual([
      { column: 'id', problem: "is not nullable and not in the writer's schema", always: true },
    ]);
    expect(decode(encode(schema, { other: 1 }), 0)).toEqual({ ok: true, data: {} });
  });

  test('a column that may be null in the writer is said to', () => {
    const { misfits } = compile(record([{ name: 'id', type: ['null', 'int'] }]), columns);
    expect(misfits).toMatchObject([{ column: 'id', always: false }]);
  });

  test('fields of every type that are no columns are skipped, before, between and behind', () => {
    const inner = record(
      [
        {
          name: 'list',
          type: { type: 'array', items: { type: 'map', values: ['null', 'com.example.Leaf'] } },
        },
        { name: 'next', type: ['null', 'com.example.Inner'] },
      ],
      { name: 'Inner' },
    );
    const leaf = record(
      [
        { name: 'flag', type: 'boolean' },
        { name: 'f', type: 'float' },
      ],
      { name: 'Leaf' },
    );
    const everything = record([
      { name: 'a', type: ['null', leaf] },
      { name: 'b', type: inner },
      { name: 'id', type: 'int' },
      { name: 'c', type: { type: 'fixed', name: 'Hash', size: 3 } },
      { name: 'd', type: 'bytes' },
      { name: 'e', type: 'double' },
      { name: 'n', type: 'null' },
      { name: 'note', type: ['string', 'null'] },
      { name: 'k', type: { type: 'enum', name: 'K', symbols: ['A', 'B'] } },
      { name: 'z', type: logical('long', 'time-micros') },
    ]);
    const value = {
      a: { flag: true, f: 1.5 },
      b: {
        list: [{ x: null, y: { 'com.example.Leaf': { flag: false, f: 0 } } }, {}],
        next: { 'com.example.Inner': { list: [], next: null } },
      },
      id: 12,
      c: Buffer.from('abc'),
      d: Buffer.from('bytes'),
      e: 1,
      n: null,
      note: 'here',
      k: 'B',
      z: 2 ** 40,
    };
    const bytes = avro.Type.forSchema(everything as never, { wrapUnions: false } as never);
    const unwrapped = {
      ...value,
      b: { list: [{ x: null, y: { flag: false, f: 0 } }, {}], next: { list: [], next: null } },
    };
    expect(compile(everything, columns).decode(bytes.toBuffer(unwrapped), 0)).toEqual({
      ok: true,
      data: { id: 12, note: 'here' },
    });
  });

  test('blocks with a size in front are skipped by it', () => {
    const schema = record([
      { name: 'list', type: { type: 'array', items: 'long' } },
      { name: 'id', type: 'long' },
    ]);
    // −2 items in 2 bytes, an empty block, id 4.
    expect(compile(schema, columns).decode(Buffer.from([3, 4, 2, 2, 0, 8]), 0)).toEqual({
      ok: true,
      data: { id: 4 },
    });
  });

  test('named types of other subjects are found', () => {
    const kind = { type: 'enum', name: 'com.other.Kind', symbols: ['A', 'B'] };
    const wrapper = record([{ name: 'kind', type: 'com.other.Kind' }], {
      name: 'Wrapper',
      namespace: 'com.third',
    });
    const schema = record([
      { name: 'w', type: 'com.third.Wrapper' },
      { name: 'note', type: 'com.other.Kind' },
      { name: 'id', type: 'int' },
    ]);
    const { decode } = compile(schema, columns, [kind, wrapper]);
    expect(decode(Buffer.from([0, 2, 10]), 0)).toEqual({ ok: true, data: { note: 'B', id: 5 } });
  });

  test('a union of records is read by the branch of each value', () => {
    const schema = [
      'null',
      record([{ name: 'id', type: 'int' }], { name: 'Old' }),
      record(
        [
          { name: 'note', type: 'string' },
          { name: 'id', type: 'long' },
        ],
        { name: 'New' },
      ),
    ];
    const { decode } = compile(schema, columns);
    expect(decode(Buffer.from([2, 8]), 0)).toEqual({ ok: true, data: { id: 4 } });
    expect(decode(Buffer.from([4, 2, 0x78, 8]), 0)).toEqual({ ok: true, data: { note: 'x', id: 4 } });
    expect(decode(Buffer.from([0]), 0)).toMatchObject({ ok: false, reason: 'breaks_schema' });
    expect(decode(Buffer.from([6, 0]), 0)).toMatchObject({ ok: false, reason: 'undecodable' });
  });

  test.each([
    ['no record', 'string'],
    ['a name that is nowhere', record([{ name: 'id', type: 'com.example.Missing' }])],
    ['nonsense', { type: 'nonsense' }],
  ])('%s is a schema that cannot be used', (_, schema) => {
    expect(() => compile(schema, columns)).toThrow(UnusableSchemaError);
  });
});

describe('hostile bytes', () => {
  const columns: Columns = { id: { type: 'long', nullable: true }, text: { type: 'string', nullable: true } };
  const malformed = { ok: false, reason: 'undecodable' };

  test('lengths and counts beyond the record take neither time nor memory', () => {
    const huge = [0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1];
    const text = compile(record([{ name: 'text', type: 'string' }]), columns);
    expect(text.decode(Buffer.from(huge), 0)).toMatchObject(malformed);
    expect(text.decode(Buffer.from([9, 0x61]), 0)).toMatchObject(malformed);
    for (const items of [
      'null',
      'int',
      { type: 'record', name: 'Empty', fields: [] },
      { type: 'fixed', name: 'F', size: 0 },
    ]) {
      const list = compile(record([{ name: 'list', type: { type: 'array', items } }]), columns);
      // 2^63 − 1 items that take no bytes, or more than there are; then the empty block.
      const decoded = list.decode(Buffer.from([...huge, 0]), 0);
      expect(decoded.ok).toBe(items !== 'int');
      expect(list.decode(Buffer.from([1, ...huge]), 0)).toMatchObject(malformed);
    }
  });

  test('a record without end is refused', () => {
    const endless = record([{ name: 'next', type: ['null', 'com.example.Anything'] }]);
    expect(compile(endless, columns).decode(Buffer.alloc(1_000_000, 2), 0)).toMatchObject(malformed);
  });

  test.each([
    ['bytes left over', [8, 0, 1]],
    ['bytes missing', [8]],
    ['no bytes', []],
    ['text that is no UTF-8', [8, 2, 0xff]],
  ])('%s', (_, bytes) => {
    const schema = record([
      { name: 'id', type: 'long' },
      { name: 'text', type: 'string' },
    ]);
    expect(compile(schema, columns).decode(Buffer.from(bytes), 0)).toMatchObject(malformed);
  });

  test('a boolean is 0 or 1, an index of a union or enum one that there is', () => {
    const nullable = { type: 'string', nullable: true } as const;
    for (const [type, column] of [
      ['boolean', { type: 'boolean', nullable: true }],
      [['null', 'string'], nullable],
      [{ type: 'enum', name: 'E', symbols: ['A'] }, nullable],
    ] as const) {
      const { decode } = compile(record([{ name: 'x', type }]), { x: column });
      for (const byte of [2 + (type === 'boolean' ? 0 : 2), 1, 0x7f]) {
        if (type === 'boolean' && byte === 1) continue;
        expect(decode(Buffer.from([byte]), 0), JSON.stringify(type)).toMatchObject(malformed);
      }
    }
  });

  test('random and damaged bytes are decoded or refused, never thrown', () => {
    const schema = record([
      { name: 'list', type: { type: 'array', items: ['null', 'string', { type: 'map', values: 'double' }] } },
      { name: 'id', type: ['null', 'long'] },
      { name: 'self', type: ['null', 'com.example.Anything'] },
      { name: 'text', type: 'string' },
      { name: 'flag', type: 'boolean' },
    ]);
    const { decode } = compile(schema, columns);
    const whole = avro.Type.forSchema(schema as never, { wrapUnions: false } as never).toBuffer({
      list: ['a', null, { k: 1.5 }],
      id: 77,
      self: { list: [], id: null, self: null, text: 'inner', flag: true },
      text: 'outer',
      flag: false,
    });
    expect(decode(whole, 0).ok).toBe(true);
    for (let length = 0; length < whole.length; length++) {
      expect(decode(whole.subarray(0, length), 0), `cut at ${length}`).toMatchObject(malformed);
    }
    const seed = 11;
    const random = new SeededRandom(seed);
    for (let round = 0; round < 20_000; round++) {
      const bytes = random.chance(0.5)
        ? Buffer.from(Array.from({ length: random.below(40) }, () => random.below(256)))
        : Buffer.from(whole);
      for (let flips = random.below(4); flips > 0 && bytes.length > 0; flips--) {
        bytes[random.below(bytes.length)] = random.below(256);
      }
      try {
        expect(typeof decode(bytes, 0).ok).toBe('boolean');
      } catch (error) {
        throw new Error(`seed ${seed}, round ${round}: ${bytes.toString('hex')}`, { cause: error });
      }
    }
  });
});
