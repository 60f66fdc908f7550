import { expect, test } from 'vitest';
import { eventDecoder } from '../../engine/definitions/decode-event.ts';
import { eventJsonSchema } from '../../engine/definitions/json-schema.ts';
import type { Column } from '../../engine/definitions/types.ts';
import { compileJson } from './json-writer-schema.ts';
import { sourceWith } from './testing/columns.ts';
import { UnusableSchemaError } from './writer-schema.ts';

const misfits = (schema: unknown, x: Column) =>
  compileJson({ schema: JSON.stringify(schema), source: sourceWith({ x }) }).misfits.map(
    ({ problem, always }) => `${always ? 'always' : 'some'}: ${problem}`,
  );
const long: Column = { type: 'long', nullable: false };
const optional: Column = { type: 'long', nullable: true };
const property = (schema: unknown, required = ['x']) => ({
  type: 'object',
  properties: { x: schema },
  required,
});

test.each([
  ['a type that fits', property({ type: 'integer' }), long, []],
  ['one of several', property({ type: ['boolean', 'string'] }), long, []],
  ['one of some branches', property({ anyOf: [{ type: 'object' }, { type: 'integer' }] }), long, []],
  ['no type', property({ minimum: 5 }), long, []],
  ['a branch of no known type', property({ oneOf: [{ const: 5 }, { type: 'object' }] }), long, []],
  ['no properties', { type: 'object' }, long, []],
  ['any', true, long, []],
  [
    'a reference',
    { ...property({ $ref: '#/definitions/a~1b' }), definitions: { 'a/b': { type: 'integer' } } },
    long,
    [],
  ],
  ['a reference to elsewhere', property({ $ref: 'https://example.com/x' }), long, []],
  [
    'a type that does not fit',
    property({ type: 'boolean' }),
    optional,
    ["always: must be a 64-bit integer; in the writer's schema it is boolean"],
  ],
  [
    'a reference to one',
    { ...property({ $ref: '#/$defs/x' }), $defs: { x: { type: ['array', 'null'] } } },
    optional,
    ["always: must be a 64-bit integer; in the writer's schema it is array or null"],
  ],
  [
    'null',
    property({ type: ['integer', 'null'] }),
    long,
    ["some: is not nullable; in the writer's schema it may be null"],
  ],
  [
    'left out',
    property({ type: 'integer' }, []),
    long,
    ["some: is not nullable; in the writer's schema it may be left out"],
  ],
  ['null and left out, nullable', property({ type: ['integer', 'null'] }, []), optional, []],
  ['another name', property({ type: 'integer' }), { ...long, type: 'double' as const }, []],
] as [string, unknown, Column, string[]][])('%s', (_, schema, column, expected) => {
  expect(misfits(schema, column)).toEqual(expected);
});

test('a column that is not in the schema', () => {
  const schema = { type: 'object', properties: { y: {} } };
  expect(misfits(schema, long)).toEqual(["always: is not nullable and not in the writer's schema"]);
  expect(misfits(schema, optional)).toEqual([]);
});

test("a source's own schema fits it", () => {
  const source = sourceWith({
    x: long,
    y: { type: 'timestamp', nullable: true },
    z: { type: 'string', nullable: false },
  });
  const schema = JSON.stringify(eventJsonSchema(source, new Set()));
  expect(compileJson({ schema, source }).misfits).toEqual([]);
});

test('a schema that is no JSON cannot be used', () => {
  expect(() => compileJson({ schema: '{', source: sourceWith({}) })).toThrow(UnusableSchemaError);
});

test('integers that JSON would round are refused by their column', () => {
  const source = sourceWith({ x: long });
  const { decode } = compileJson({ schema: 'true', source });
  const read = (json: string) => {
    const decoded = decode(Buffer.from(`\0\0\0\0\u0001${json}`), 5);
    return decoded.ok ? eventDecoder(source)(decoded.data) : decoded;
  };
  expect(read('{"x":9007199254740993}')).toMatchObject({ ok: false, code: 'integer_out_of_range' });
  expect(read('{"x":"9007199254740993"}')).toMatchObject({ ok: true, row: { x: 9007199254740993n } });
  expect(read('{"x":9007199254740991}')).toMatchObject({ ok: true, row: { x: 9007199254740991 } });
  expect(read('{"x":')).toMatchObject({ ok: false, reason: 'undecodable' });
});
