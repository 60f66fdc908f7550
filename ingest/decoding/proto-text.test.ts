import { describe, expect, test } from 'vitest';
import type { ProtoField, ProtoMessage } from './proto-file.ts';
import { ProtoSyntaxError, parseProto } from './proto-text.ts';

const fieldsOf = (message: ProtoMessage): Record<string, Partial<ProtoField>> =>
  Object.fromEntries(
    message.fields.map(({ name, number, type, kind, repeated, presence }) => [
      name,
      { number, type, kind, repeated, presence },
    ]),
  );
const plain = { kind: 'scalar', repeated: false, presence: false } as const;

test('a file with everything in it', () => {
  const { messages, enums } = parseProto(`
    // A comment; with { braces }
    syntax = 'proto3';
    package com.example.v1;
    import public "other.proto"; import weak "third.proto";
    option java_package = "com.example"; option (custom).thing = { a: 1, b: [ { c: "}" } ] };
    /* extend nothing { */
    enum Color { option allow_alias = true; reserved 9, 20 to max; reserved "OLD";
      RED = 0; ROUGE = 0 [deprecated = true]; GREEN = 0x2; BLUE = -1; }
    message Empty {}
    message Event {
      reserved 3, 5 to 7; reserved "gone";
      option deprecated = true;
      int64 id = 1 [(validate.rules).int64 = { gt: 0 lt: 10 }, json_name = "theId", deprecated = false];
      optional string note = 2;
      repeated double many = 4 [packed = true];
      map<string, Event.Inner> by_name = 8;
      message Inner { enum Kind { A = 0; } Kind kind = 1; .com.example.v1.Color color = 2; Deep deep = 3;
        message Deep { Inner up = 1; Color.Shade odd = 2; } }
      oneof either { option (x) = 1; bool yes = 9; Inner inner = 10; }
      google.protobuf.Timestamp at = 11;
      Color color = 12;
      message.Thing message = 13;
      string option = 14; string oneof = 15; bytes map = 16; int32 optional = 17; string reserved = 18;
    }
    service Reads { rpc Get (Event) returns (stream Event) { option (http) = { get: "/v1/{id}" }; } }
    extend google.protobuf.MessageOptions { string mine = 50000; }
    ;
  `);
  expect(messages.map(({ fullName }) => fullName)).toEqual(['com.example.v1.Empty', 'com.example.v1.Event']);
  expect(fieldsOf(messages[1]!)).toEqual({
    id: { number: 1, type: 'int64', ...plain },
    note: { number: 2, type: 'string', ...plain, presence: true },
    many: { number: 4, type: 'double', ...plain, repeated: true },
    by_name: { number: 8, type: 'map', kind: 'map', repeated: true, presence: false },
    yes: { number: 9, type: 'bool', ...plain, presence: true },
    inner: { number: 10, type: 'com.example.v1.Event.Inner', kind: 'named', repeated: false, presence: true },
    at: { number: 11, type: 'google.protobuf.Timestamp', kind: 'named', repeated: false, presence: false },
    color: { number: 12, type: 'com.example.v1.Color', kind: 'named', repeated: false, presence: false },
    message: { number: 13, type: 'message.Thing', kind: 'named', repeated: false, presence: false },
    option: { number: 14, type: 'string', ...plain },
    oneof: { number: 15, type: 'string', ...plain },
    map: { number: 16, type: 'bytes', ...plain },
    optional: { number: 17, type: 'int32', ...plain },
    reserved: { number: 18, type: 'string', ...plain },
  });
  const inner = messages[1]!.nested[0]!;
  expect(inner.fields.map(({ type }) => type)).toEqual([
    'com.example.v1.Event.Inner.Kind',
    'com.example.v1.Color',
    'com.example.v1.Event.Inner.Deep',
  ]);
  expect(inner.nested[0]!.fields[0]!.type).toBe('com.example.v1.Event.Inner');
  expect(enums.map(({ fullName }) => fullName)).toEqual([
    'com.example.v1.Color',
    'com.example.v1.Event.Inner.Kind',
  ]);
  expect([...enums[0]!.names]).toEqual([
    [0, 'RED'],
    [2, 'GREEN'],
    [-1, 'BLUE'],
  ]);
});

test('names of imported files are found from the innermost scope out', () => {
  const text =
    'syntax = "proto3"; package a.b; message M { c.Thing one = 1; b.Thing two = 2; Thing three = 3; }';
  const types = (known: string[]) =>
    parseProto(text, new Set(known)).messages[0]!.fields.map(({ type }) => type);
  expect(types(['a.c.Thing', 'a.b.Thing', 'c.Thing'])).toEqual(['a.c.Thing', 'a.b.Thing', 'a.b.Thing']);
  expect(types(['c.Thing', 'a.b.b.Thing'])).toEqual(['c.Thing', 'a.b.b.Thing', 'Thing']);
});

describe('presence', () => {
  const presences = (text: string) =>
    Object.fromEntries(parseProto(text).messages[0]!.fields.map(({ name, presence }) => [name, presence]));

  test('proto2, which is also what a file without syntax is', () => {
    const body =
      'message M { required int32 a = 1; optional int32 b = 2 [default = -5]; repeated int32 c = 3;' +
      ' optional group Extra = 4 { optional int32 inside = 1; } extensions 100 to max; }';
    const expected = { a: true, b: true, c: false, extra: true };
    expect(presences(body)).toEqual(expected);
    expect(presences(`syntax = "proto2"; ${body}`)).toEqual(expected);
    expect(parseProto(body).messages[0]!.nested[0]!.fullName).toBe('M.Extra');
  });

  test('editions: explicit, unless the file or the field says otherwise', () => {
    const body =
      'message M { int32 a = 1; int32 b = 2 [features.field_presence = IMPLICIT];' +
      ' int32 c = 3 [features.field_presence = EXPLICIT]; }';
    expect(presences(`edition = "2023"; ${body}`)).toEqual({ a: true, b: false, c: true });
    const implicit = 'option features.field_presence = IMPLICIT;';
    expect(presences(`edition = "2023"; ${implicit} ${body}`)).toEqual({ a: false, b: false, c: true });
  });
});

test.each([
  ['an end that is missing', 'message M { int32 a = 1;'],
  ['no number', 'message M { int32 a; }'],
  ['no JSON', '{"type":"record"}'],
  ['nothing that is a name', 'message M { 5 a = 1; }'],
])('%s is a syntax error', (_, text) => {
  expect(() => parseProto(text)).toThrow(ProtoSyntaxError);
});
