import avro from 'avsc';
import { describe, expect, test } from 'vitest';
import { SeededRandom } from '../../engine/testing/random.ts';
import { parseProto } from './proto-text.ts';
import { eventAvroSchema, eventProtobufSchema, subjectSchema } from './subject-schemas.ts';
import { sourceWith } from './testing/columns.ts';
import { randomSource } from './testing/random-source.ts';
import { messageOf } from './testing/serialized-events.ts';

const source = {
  ...sourceWith({
    id: { type: 'long', nullable: false },
    count: { type: 'integer', nullable: true },
    text: { type: 'string', nullable: false },
    share: { type: 'double', nullable: true },
    flag: { type: 'boolean', nullable: false },
  }),
  description: 'What happens.\nIn two lines.',
};

test('Avro', () => {
  expect(eventAvroSchema(source)).toEqual({
    type: 'record',
    name: 'events',
    namespace: 'millrace',
    doc: 'What happens.\nIn two lines.',
    fields: [
      { name: 'at', type: ['null', { type: 'long', logicalType: 'timestamp-millis' }], default: null },
      { name: 'id', type: 'long' },
      { name: 'count', type: ['null', 'long'], default: null },
      { name: 'text', type: 'string' },
      { name: 'share', type: ['null', 'double'], default: null },
      { name: 'flag', type: 'boolean' },
    ],
  });
});

test('Protobuf', () => {
  expect(eventProtobufSchema(source)).toBe(`syntax = "proto3";

package millrace;

import "google/protobuf/timestamp.proto";

// What happens.
// In two lines.
message events {
  optional google.protobuf.Timestamp at = 1;
  int64 id = 2;
  optional int64 count = 3;
  string text = 4;
  optional double share = 5;
  bool flag = 6;
}
`);
});

test('in Protobuf, names that would clash in camelCase keep their own in JSON', () => {
  const columns = { a_b: { type: 'long', nullable: false }, aB: { type: 'long', nullable: false } } as const;
  const text = eventProtobufSchema(sourceWith(columns));
  expect(text).toContain('  int64 a_b = 2 [json_name = "a_b"];\n  int64 aB = 3 [json_name = "aB"];\n');
  expect(text).not.toContain('at = 1 [');
});

test("in Protobuf, the numbers that are Protobuf's own are left out", () => {
  const columns = Object.fromEntries(
    Array.from({ length: 19_000 }, (_, i) => [`c${i}`, { type: 'long', nullable: false } as const]),
  );
  const text = eventProtobufSchema(sourceWith(columns));
  expect(text).toContain('int64 c18997 = 18999;\n  int64 c18998 = 20000;\n  int64 c18999 = 20001;');
});

test('JSON Schema is of a draft that every registry reads', () => {
  const { type, schema } = subjectSchema(source, 'json', new Set(['text']));
  expect(type).toBe('JSON');
  expect(JSON.parse(schema)).toMatchObject({
    $schema: 'http://json-schema.org/draft-07/schema#',
    properties: { text: { type: 'string', maxLength: 1024 } },
    required: ['id', 'text', 'flag'],
  });
});

describe('schemas of random sources are valid and name every column', () => {
  test.each([1, 2, 3, 4, 5, 6, 7, 8])('seed %i', (seed) => {
    const random = randomSource(new SeededRandom(seed), 'events');
    const names = Object.keys(random.columns);
    const type = avro.Type.forSchema(eventAvroSchema(random) as never) as avro.types.RecordType;
    expect(type.fields.map(({ name }) => name)).toEqual(names);
    const [message] = parseProto(eventProtobufSchema(random)).messages;
    expect(message!.fields.map(({ name, number, presence }) => ({ name, number, presence }))).toEqual(
      messageOf(random).fields.map(({ name, number, proto }) => ({
        name,
        number,
        presence: proto.proto3Optional,
      })),
    );
  });
});
