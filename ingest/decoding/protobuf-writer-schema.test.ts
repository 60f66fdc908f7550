import {
  create,
  createFileRegistry,
  type DescMessage,
  type MessageInitShape,
  toBinary,
} from '@bufbuild/protobuf';
import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import {
  type FileDescriptorProto,
  FileDescriptorProtoSchema,
  file_google_protobuf_timestamp,
  file_google_protobuf_wrappers,
} from '@bufbuild/protobuf/wkt';
import { describe, expect, test } from 'vitest';
import type { ColumnType } from '../../engine/aggregators/partial-aggregate.ts';
import type { Columns } from '../../engine/definitions/types.ts';
import { SeededRandom } from '../../engine/testing/random.ts';
import { parseProtoFiles } from './protobuf-files.ts';
import { compileProtobuf } from './protobuf-writer-schema.ts';
import { sourceWith } from './testing/columns.ts';
import { UnusableSchemaError, type WriterSchema } from './writer-schema.ts';

async function compile(
  text: string,
  columns: Columns,
  imports: readonly string[] = [],
): Promise<WriterSchema> {
  return compileProtobuf({ ...(await parseProtoFiles(text, imports)), source: sourceWith(columns) });
}

const nullable = (type: ColumnType) => ({ x: { type, nullable: true } }) as const;
const required = (type: ColumnType) => ({ x: { type, nullable: false } }) as const;

/** A payload of the first message: its index, then fields. */
const payload = (write: (writer: BinaryWriter) => void): Buffer => {
  const writer = new BinaryWriter();
  write(writer);
  return Buffer.concat([Buffer.from([0]), writer.finish()]);
};

const proto3 = (fields: string): string => `syntax = "proto3"; package p; message M { ${fields} }`;

async function read(
  type: string,
  column: ColumnType,
  write: (writer: BinaryWriter) => void,
): Promise<unknown> {
  const { decode } = await compile(
    `${proto3(`${type} x = 1;`)} enum Color { RED = 0; GREEN = 1; }`,
    nullable(column),
  );
  const decoded = decode(payload(write), 0);
  return decoded.ok ? (decoded.data as { x: unknown }).x : decoded;
}

const tag = (wire: WireType) => (writer: BinaryWriter) => writer.tag(1, wire);
const varint = tag(WireType.Varint);
const fixed32 = tag(WireType.Bit32);
const fixed64 = tag(WireType.Bit64);
const length = tag(WireType.LengthDelimited);
const MIN = -(2n ** 63n);
const MAX = 2n ** 63n - 1n;
const nested = (write: (writer: BinaryWriter) => void) => (writer: BinaryWriter) => {
  length(writer).fork();
  write(writer);
  return writer.join();
};

describe('what a column reads', () => {
  test.each([
    ['string', 'string', 'ü', (w) => length(w).string('ü')],
    ['Color', 'string', 'GREEN', (w) => varint(w).int32(1)],
    ['int32', 'integer', -1, (w) => varint(w).int32(-1)],
    ['uint32', 'integer', 2 ** 32 - 1, (w) => varint(w).uint32(2 ** 32 - 1)],
    ['sint32', 'integer', -(2 ** 31), (w) => varint(w).sint32(-(2 ** 31))],
    ['fixed32', 'integer', 2 ** 32 - 1, (w) => fixed32(w).fixed32(2 ** 32 - 1)],
    ['sfixed32', 'integer', -2, (w) => fixed32(w).sfixed32(-2)],
    ['int64', 'integer', 2 ** 40, (w) => varint(w).int64(2n ** 40n)],
    // Not exact: the column refuses it, as it does in JSON.
    ['int64', 'integer', 2 ** 63, (w) => varint(w).int64(MAX)],
    ['int64', 'long', MIN, (w) => varint(w).int64(MIN)],
    ['int64', 'long', -5, (w) => varint(w).int64(-5)],
    ['sint64', 'long', MIN, (w) => varint(w).sint64(MIN)],
    ['uint64', 'long', 2n ** 64n - 1n, (w) => varint(w).uint64(2n ** 64n - 1n)],
    ['fixed64', 'long', 2n ** 63n, (w) => fixed64(w).fixed64(2n ** 63n)],
    ['sfixed64', 'long', MAX, (w) => fixed64(w).sfixed64(MAX)],
    ['double', 'double', 0.1, (w) => fixed64(w).double(0.1)],
    ['float', 'double', 0.5, (w) => fixed32(w).float(0.5)],
    ['int64', 'double', 2 ** 63, (w) => varint(w).int64(MAX)],
    ['bool', 'boolean', true, (w) => varint(w).bool(true)],
    ['int64', 'timestamp', 1_700_000_000_123, (w) => varint(w).int64(1_700_000_000_123)],
    ['string', 'timestamp', '2026-01-01T00:00:00Z', (w) => length(w).string('2026-01-01T00:00:00Z')],
    [
      'google.protobuf.Timestamp',
      'timestamp',
      1_700_000_000_123,
      nested((w) => w.tag(1, 0).int64(1_700_000_000).tag(2, 0).int32(123_999_999)),
    ],
    ['google.protobuf.Timestamp', 'timestamp', 0, nested(() => {})],
    ['google.protobuf.Int64Value', 'long', MAX, nested((w) => w.tag(1, 0).int64(MAX))],
    ['google.protobuf.Int64Value', 'long', 0, nested(() => {})],
    ['google.protobuf.StringValue', 'string', '', nested(() => {})],
    ['google.protobuf.BoolValue', 'boolean', true, nested((w) => w.tag(1, 0).bool(true))],
    ['google.protobuf.DoubleValue', 'double', 2.5, nested((w) => w.tag(1, 1).double(2.5))],
  ] as [string, ColumnType, unknown, (writer: BinaryWriter) => unknown][])(
    '%s into a column of type %s: %s',
    async (type, column, expected, write) => {
      expect(await read(type, column, (writer) => void write(writer))).toBe(expected);
    },
  );

  test.each([
    ['bytes', 'string', 'bytes'],
    ['string', 'long', 'string'],
    ['double', 'integer', 'double'],
    ['bool', 'integer', 'bool'],
    ['repeated string', 'string', 'repeated string'],
    ['map<string, string>', 'string', 'a map'],
    ['Color', 'integer', 'p.Color'],
    ['google.protobuf.Timestamp', 'long', 'google.protobuf.Timestamp'],
    ['google.protobuf.BytesValue', 'string', 'google.protobuf.BytesValue'],
    ['M', 'string', 'p.M'],
  ] as [string, ColumnType, string][])(
    '%s does not fill a column of type %s',
    async (type, column, label) => {
      const { misfits, decode } = await compile(
        `${proto3(`${type} x = 1;`)} enum Color { RED = 0; }`,
        nullable(column),
      );
      expect(misfits).toMatchObject([
        { column: 'x', problem: expect.stringContaining(` is ${label}`), always: true },
      ]);
      for (const wire of [
        WireType.Varint,
        WireType.Bit64,
        WireType.LengthDelimited,
        WireType.StartGroup,
        WireType.Bit32,
      ]) {
        const bytes = payload((writer) => writer.tag(1, wire).raw(new Uint8Array(8)));
        expect(decode(bytes, 0)).toMatchObject({ ok: false, reason: 'breaks_schema' });
      }
      // As long as the field is not there, there is nothing to refuse.
      expect(
        decode(
          payload(() => {}),
          0,
        ),
      ).toEqual({ ok: true, data: { x: null } });
    },
  );

  test('an enum number without a name is no text', async () => {
    expect(await read('Color', 'string', (w) => varint(w).int32(9))).toBe(9);
  });
});

describe('absent fields', () => {
  test.each([
    ['int64', 'long', 0],
    ['double', 'double', 0],
    ['bool', 'boolean', false],
    ['string', 'string', ''],
    ['Color', 'string', 'RED'],
    ['optional int64', 'long', null],
    ['optional Color', 'string', null],
    ['google.protobuf.Timestamp', 'timestamp', null],
    ['google.protobuf.Int64Value', 'long', null],
  ] as [string, ColumnType, unknown][])('%s is %s %s', async (type, column, expected) => {
    expect(await read(type, column, () => {})).toBe(expected);
    const { misfits } = await compile(
      `${proto3(`${type} x = 1;`)} enum Color { RED = 0; }`,
      required(column),
    );
    // That it may be null is a problem only for columns that must not be.
    expect(misfits.map(({ always }) => always)).toEqual(expected === null ? [false] : []);
  });

  test('in a oneof, and in proto2, absent is null', async () => {
    const oneof = await compile(proto3('oneof o { int64 x = 1; string y = 2; }'), nullable('long'));
    expect(
      oneof.decode(
        payload((w) => w.tag(2, WireType.LengthDelimited).string('a')),
        0,
      ),
    ).toEqual({
      ok: true,
      data: { x: null },
    });
    const proto2 = await compile('message M { optional int64 x = 1 [default = 5]; }', nullable('long'));
    expect(
      proto2.decode(
        payload(() => {}),
        0,
      ),
    ).toEqual({ ok: true, data: { x: null } });
  });
});

describe('messages of a file', () => {
  const text = `syntax = "proto3"; message A { string x = 1; }
    message B { map<string, string> m = 9; message C { message D { string x = 3; } string x = 2; } string x = 1; }`;

  test.each([
    ['the first by its short form', [0], 1],
    ['the first by its index', [2, 0], 1],
    ['the second', [2, 2], 1],
    // Types made for maps do not count.
    ['a nested one', [4, 2, 0], 2],
    ['one nested twice', [6, 2, 0, 0], 3],
  ])('%s', async (_, indexes, field) => {
    const { decode } = await compile(text, nullable('string'));
    const fields = new BinaryWriter().tag(field, WireType.LengthDelimited).string('here').finish();
    expect(decode(Buffer.concat([Buffer.from(indexes), fields]), 0)).toEqual({
      ok: true,
      data: { x: 'here' },
    });
  });

  test.each([
    ['that is not there', [2, 8]],
    ['below one that has none', [4, 0, 0]],
    ['that is negative', [2, 1]],
    ['in a list of negative length', [1]],
    ['in a list that is cut off', [4, 2]],
    ['in a list of 2^60', [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x20, 0, 0]],
  ])('an index %s is malformed', async (_, indexes) => {
    const { decode } = await compile(text, nullable('string'));
    expect(decode(Buffer.from(indexes), 0)).toMatchObject({ ok: false, reason: 'undecodable' });
  });

  test('types of imported files are found', async () => {
    const other = 'syntax = "proto3"; package other; enum Kind { NONE = 0; SOME = 1; }';
    const between =
      'syntax = "proto3"; package between; import "other.proto"; message Holder { other.Kind kind = 1; }';
    const main =
      'syntax = "proto3"; package main; import "between.proto"; message M { other.Kind x = 1; between.Holder h = 2; }';
    const { decode } = await compile(main, nullable('string'), [other, between]);
    expect(
      decode(
        payload((w) => varint(w).int32(1)),
        0,
      ),
    ).toEqual({ ok: true, data: { x: 'SOME' } });
  });

  test('a file without messages cannot be used', async () => {
    await expect(compile('syntax = "proto3"; enum E { A = 0; }', nullable('string'))).rejects.toThrow(
      UnusableSchemaError,
    );
    await expect(compile('nonsense', nullable('string'))).rejects.toThrow(UnusableSchemaError);
    await expect(compile('AAAA////', nullable('string'))).rejects.toThrow(UnusableSchemaError);
  });
});

describe('serialized descriptors', () => {
  const file: MessageInitShape<typeof FileDescriptorProtoSchema> = {
    name: 'event.proto',
    package: 'p',
    dependency: ['google/protobuf/timestamp.proto', 'google/protobuf/wrappers.proto'],
    messageType: [
      {
        name: 'M',
        oneofDecl: [{ name: 'o' }, { name: '_note' }],
        enumType: [
          {
            name: 'Kind',
            value: [
              { name: 'NONE', number: 0 },
              { name: 'SOME', number: 1 },
            ],
          },
        ],
        nestedType: [
          {
            name: 'TagsEntry',
            options: { mapEntry: true },
            field: [
              { name: 'key', number: 1, type: 9, label: 1 },
              { name: 'value', number: 2, type: 9, label: 1 },
            ],
          },
        ],
        field: [
          { name: 'id', number: 1, type: 16, label: 1 },
          { name: 'kind', number: 2, type: 14, label: 1, typeName: '.p.M.Kind' },
          { name: 'at', number: 3, type: 11, label: 1, typeName: '.google.protobuf.Timestamp' },
          { name: 'wrapped', number: 4, type: 11, label: 1, typeName: '.google.protobuf.Int64Value' },
          { name: 'tags', number: 5, type: 11, label: 3, typeName: '.p.M.TagsEntry' },
          { name: 'note', number: 6, type: 9, label: 1, proto3Optional: true, oneofIndex: 1 },
          { name: 'either', number: 7, type: 8, label: 1, oneofIndex: 0 },
        ],
      },
    ],
  };
  const columns: Columns = {
    id: { type: 'long', nullable: true },
    kind: { type: 'string', nullable: true },
    at: { type: 'timestamp', nullable: true },
    wrapped: { type: 'long', nullable: true },
    note: { type: 'string', nullable: true },
    either: { type: 'boolean', nullable: true },
  };
  const base64 = (descriptor: FileDescriptorProto): string =>
    Buffer.from(toBinary(FileDescriptorProtoSchema, descriptor)).toString('base64');
  const described = (syntax: string, more: object = {}) =>
    create(FileDescriptorProtoSchema, { ...file, syntax, ...more });

  function messageOf(descriptor: FileDescriptorProto): DescMessage {
    const wellKnown = [file_google_protobuf_timestamp, file_google_protobuf_wrappers];
    const registry = createFileRegistry(descriptor, (name) =>
      wellKnown.find((known) => `${known.name}.proto` === name),
    );
    return registry.getMessage('p.M')!;
  }

  test('what the Protobuf library writes by a descriptor, comes back', async () => {
    const descriptor = described('proto3');
    const message = messageOf(descriptor);
    const { decode, misfits } = await compile(base64(descriptor), columns);
    expect(misfits).toEqual([]);
    const event = create(message, {
      id: MIN,
      kind: 1,
      at: { seconds: 12n, nanos: 5_000_000 },
      wrapped: MAX,
      tags: { a: 'b' },
      note: '',
      o: { case: 'either', value: false },
    } as never);
    expect(decode(Buffer.concat([Buffer.from([0]), toBinary(message, event)]), 0)).toEqual({
      ok: true,
      data: { id: MIN, kind: 'SOME', at: 12_005, wrapped: MAX, note: '', either: false },
    });
  });

  test.each([
    ['proto3', {}, { id: 0, kind: 'NONE' }],
    ['proto2', {}, { id: null, kind: null }],
    ['editions', { edition: 1000 }, { id: null, kind: null }],
    ['editions', { edition: 1000, options: { features: { fieldPresence: 2 } } }, { id: 0, kind: 'NONE' }],
  ])('presence in %s %j', async (syntax, more, expected) => {
    const { decode } = await compile(base64(described(syntax, more)), columns);
    const absent = { at: null, wrapped: null, note: null, either: null };
    expect(decode(Buffer.from([0]), 0)).toEqual({ ok: true, data: { ...absent, ...expected } });
  });
});

describe('hostile bytes', () => {
  const text = proto3(`repeated int64 many = 1; string x = 2; google.protobuf.Timestamp at = 3;
    M inner = 4; google.protobuf.Int64Value y = 5; map<string, M> m = 6;`);
  const columns: Columns = { x: { type: 'string', nullable: true }, y: { type: 'long', nullable: true } };
  const malformed = { ok: false, reason: 'undecodable' };

  test('unknown fields of every wire type are skipped, groups with what is in them', async () => {
    const { decode } = await compile(text, columns);
    const bytes = payload((writer) => {
      writer.tag(100, WireType.Varint).uint64(5);
      writer.tag(101, WireType.Bit64).double(5);
      writer.tag(102, WireType.LengthDelimited).string('five');
      writer.tag(103, WireType.StartGroup).tag(1, WireType.StartGroup).tag(2, WireType.Varint).int32(1);
      writer.tag(1, WireType.EndGroup).tag(103, WireType.EndGroup);
      writer.tag(104, WireType.Bit32).float(5);
      // A known field with another wire type is unknown.
      writer.tag(2, WireType.Varint).int32(5);
      writer.tag(2, WireType.LengthDelimited).string('first').tag(2, WireType.LengthDelimited).string('last');
    });
    expect(decode(bytes, 0)).toMatchObject({ ok: true, data: { x: 'last' } });
  });

  test.each([
    ['no message index', []],
    ['field number 0', [0, 0x02, 0]],
    ['a wire type that is none', [0, 0x0f]],
    ['the end of a group that did not begin', [0, 0x0c]],
    ['a group that ends as another', [0, 0x0b, 0x14]],
    ['a group without end', [0, 0x0b]],
    ['groups in groups', [0, ...Array<number>(1_000_000).fill(0x0b)]],
    ['a length beyond the record', [0, 0x12, 5, 0x61]],
    ['a length of 2^63', [0, 0x12, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 1]],
    ['text that is no UTF-8', [0, 0x12, 1, 0xff]],
    ['a number beyond its message', [0, 0x2a, 1, 0x08, 5]],
    ['a tag of more than 32 bits', [0, 0x80, 0x80, 0x80, 0x80, 0x10]],
  ])('%s', async (_, bytes) => {
    const { decode } = await compile(text, columns);
    expect(decode(Buffer.from(bytes), 0)).toMatchObject(malformed);
  });

  test('random and damaged bytes are decoded or refused, never thrown', async () => {
    const { decode } = await compile(text, columns);
    const whole = payload((writer) => {
      writer.tag(2, WireType.LengthDelimited).string('text');
      writer.tag(3, WireType.LengthDelimited).fork().tag(1, WireType.Varint).int64(5).join();
      writer.tag(5, WireType.LengthDelimited).fork().tag(1, WireType.Varint).int64(MAX).join();
      writer.tag(1, WireType.LengthDelimited).fork().int64(1).int64(MIN).join();
    });
    const seed = 12;
    const random = new SeededRandom(seed);
    for (let round = 0; round < 20_000; round++) {
      const bytes = random.chance(0.5)
        ? Buffer.from(Array.from({ length: random.below(30) }, () => random.below(256)))
        : Buffer.from(whole.subarray(0, random.below(whole.length + 1)));
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
