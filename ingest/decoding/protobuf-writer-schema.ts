/**
 * Protobuf records, read by the descriptor they were written with: fields whose names are columns are read, all
 * others skipped. What is absent without presence is at its default, as Protobuf has it; with presence it is null.
 */
import type { ColumnType } from '../../engine/aggregators/partial-aggregate.ts';
import type { Column, StreamSource } from '../../engine/definitions/types.ts';
import { ByteCursor, signed64, unsigned64 } from './byte-cursor.ts';
import { allMessages, type ProtoField, type ProtoFile, type ProtoMessage } from './proto-file.ts';
import { refused } from './record-decoder.ts';
import { readMessageIndexes } from './wire-format.ts';
import {
  type ColumnMisfit,
  MisfitValue,
  maybeNull,
  notInSchema,
  UnusableSchemaError,
  type WriterSchema,
  wrongType,
} from './writer-schema.ts';

type Read = (cursor: ByteCursor) => unknown;

const MALFORMED = refused('the record does not match its Protobuf schema');

const VARINT = 0;
const FIXED64 = 1;
const LENGTH = 2;
const GROUP_START = 3;
const GROUP_END = 4;
const FIXED32 = 5;
const GROUP_DEPTH_MAX = 100;

/** Names of messages and enums, all files taken together. */
interface Names {
  readonly messages: ReadonlyMap<string, ProtoMessage>;
  readonly enums: ReadonlyMap<string, ReadonlyMap<number, string>>;
}

/**
 * @param file the writer's schema
 * @param imports files it refers to; of those of Protobuf itself none is needed
 */
export function compileProtobuf(args: {
  file: ProtoFile;
  imports: readonly ProtoFile[];
  source: StreamSource;
}): WriterSchema {
  const { file, source } = args;
  const files = [file, ...args.imports];
  const names: Names = {
    messages: new Map(
      files.flatMap(({ messages }) => [...allMessages(messages)].map((m) => [m.fullName, m])),
    ),
    enums: new Map(files.flatMap(({ enums }) => enums.map((type) => [type.fullName, type.names]))),
  };
  if (file.messages.length === 0) throw new UnusableSchemaError('has no message');
  // A file may hold messages that no event is made of: each is compiled when a record is one.
  const compiled = new Map<ProtoMessage, MessageReader>();
  const readerOf = (message: ProtoMessage): MessageReader => {
    let reader = compiled.get(message);
    if (reader === undefined) {
      reader = new MessageReader(message, names, source);
      compiled.set(message, reader);
    }
    return reader;
  };
  const first = readerOf(file.messages[0]!);
  const cursor = new ByteCursor();
  return {
    misfits: first.misfits,
    decode: (value, start) => {
      try {
        cursor.open(value, start);
        const indexes = readMessageIndexes(cursor);
        let level = file.messages;
        let message: ProtoMessage | undefined;
        for (const index of indexes) {
          message = level[index];
          if (message === undefined) return MALFORMED;
          level = message.nested;
        }
        return { ok: true, data: readerOf(message!).read(cursor) };
      } catch (error) {
        return error instanceof MisfitValue ? error.refusal : MALFORMED;
      } finally {
        cursor.close();
      }
    },
  };
}

interface ColumnField {
  readonly name: string;
  readonly read: Read;
}

/** Reads the fields of one message that are columns. */
class MessageReader {
  readonly misfits: readonly ColumnMisfit[];
  /** The values of a record without fields. Copied for each, so that all have one shape. */
  readonly #absent: Readonly<Record<string, unknown>>;
  /** By number and wire type. */
  readonly #fields: ReadonlyMap<number, ColumnField>;

  constructor(message: ProtoMessage, names: Names, source: StreamSource) {
    const misfits: ColumnMisfit[] = [];
    const absent: Record<string, unknown> = {};
    const fields = new Map<number, ColumnField>();
    const declared = new Map(message.fields.map((field) => [field.name, field]));
    for (const [name, column] of Object.entries(source.columns)) {
      const field = declared.get(name);
      if (field === undefined) {
        if (!column.nullable) misfits.push(notInSchema(name));
        continue;
      }
      const codec = fieldCodec(field, column, names);
      if (codec === null) {
        const misfit = wrongType(name, column.type, labelOf(field));
        misfits.push(misfit);
        const error = new MisfitValue(misfit);
        const read = (): never => {
          throw error;
        };
        for (const wire of [VARINT, FIXED64, LENGTH, GROUP_START, FIXED32])
          fields.set(field.number * 8 + wire, { name, read });
        absent[name] = null;
        continue;
      }
      if (codec.absent === null && !column.nullable) misfits.push(maybeNull(name));
      fields.set(field.number * 8 + codec.wire, { name, read: codec.read });
      absent[name] = codec.absent;
    }
    this.misfits = misfits;
    this.#absent = absent;
    this.#fields = fields;
  }

  read(cursor: ByteCursor): Record<string, unknown> {
    const data = { ...this.#absent };
    while (cursor.remaining > 0) {
      const tag = readTag(cursor);
      const field = this.#fields.get(tag);
      // A known number with another wire type is an unknown field, as Protobuf has it.
      if (field === undefined) skipField(cursor, tag, 0);
      else data[field.name] = field.read(cursor);
    }
    return data;
  }
}

/** Field number and wire type, at most 32 bits. */
function readTag(cursor: ByteCursor): number {
  cursor.varint();
  const tag = cursor.low >>> 0;
  if (cursor.high !== 0 || tag < 8) cursor.fail();
  return tag;
}

function readLength(cursor: ByteCursor): number {
  cursor.varint();
  return cursor.length();
}

function skipField(cursor: ByteCursor, tag: number, depth: number): void {
  switch (tag & 7) {
    case VARINT:
      cursor.varint();
      return;
    case FIXED64:
      cursor.skip(8);
      return;
    case LENGTH:
      cursor.skip(readLength(cursor));
      return;
    case FIXED32:
      cursor.skip(4);
      return;
    case GROUP_START: {
      if (depth === GROUP_DEPTH_MAX) cursor.fail();
      for (;;) {
        const inner = readTag(cursor);
        if ((inner & 7) === GROUP_END) {
          if (inner >>> 3 !== tag >>> 3) cursor.fail();
          return;
        }
        skipField(cursor, inner, depth + 1);
      }
    }
    default:
      cursor.fail();
  }
}

interface FieldCodec {
  readonly wire: number;
  readonly read: Read;
  /** The column's value where the field is absent. */
  readonly absent: unknown;
}

const labelOf = ({ type, kind, repeated }: ProtoField): string =>
  kind === 'map' || kind === 'group' ? `a ${kind}` : repeated ? `repeated ${type}` : type;

/** How values of a field become those of a column; null: they do not. */
function fieldCodec(field: ProtoField, { type }: Column, names: Names): FieldCodec | null {
  if (field.repeated) return null;
  if (field.kind === 'scalar') {
    const codec = scalarCodec(field.type, type);
    return codec === null || !field.presence ? codec : { ...codec, absent: null };
  }
  if (field.kind !== 'named') return null;
  const symbols = names.enums.get(field.type);
  if (symbols !== undefined) {
    if (type !== 'string') return null;
    // A number without a name came from a newer enum; it is no text, which the column refuses.
    const read: Read = (cursor) => symbols.get(readInt32(cursor)) ?? cursor.low;
    return { wire: VARINT, read, absent: field.presence ? null : (symbols.get(0) ?? 0) };
  }
  // Messages are there or not whatever their label.
  if (field.type === 'google.protobuf.Timestamp') {
    return type === 'timestamp' ? { wire: LENGTH, read: readTimestampMs, absent: null } : null;
  }
  const wrapped = WRAPPERS.get(field.type);
  if (wrapped === undefined) return null;
  const inner = scalarCodec(wrapped, type);
  return inner === null ? null : { wire: LENGTH, read: wrapperReader(inner), absent: null };
}

const WRAPPERS: ReadonlyMap<string, string> = new Map([
  ['google.protobuf.DoubleValue', 'double'],
  ['google.protobuf.FloatValue', 'float'],
  ['google.protobuf.Int64Value', 'int64'],
  ['google.protobuf.UInt64Value', 'uint64'],
  ['google.protobuf.Int32Value', 'int32'],
  ['google.protobuf.UInt32Value', 'uint32'],
  ['google.protobuf.BoolValue', 'bool'],
  ['google.protobuf.StringValue', 'string'],
]);

/** A wrapper is a message whose field 1 is the value. */
function wrapperReader({ wire, read, absent }: FieldCodec): Read {
  const tag = 8 + wire;
  return (cursor) => {
    const end = cursor.enter(readLength(cursor));
    let value = absent;
    while (cursor.remaining > 0) {
      const found = readTag(cursor);
      if (found === tag) value = read(cursor);
      else skipField(cursor, found, 0);
    }
    cursor.leave(end);
    return value;
  };
}

const SECONDS_TAG = 8 + VARINT;
const NANOS_TAG = 16 + VARINT;

/** The millisecond at or before: an event must not move into a window that had not begun. */
const readTimestampMs: Read = (cursor) => {
  const end = cursor.enter(readLength(cursor));
  let seconds = 0;
  let nanos = 0;
  while (cursor.remaining > 0) {
    const tag = readTag(cursor);
    if (tag === SECONDS_TAG) {
      cursor.varint();
      seconds = Number(signed64(cursor.low, cursor.high));
    } else if (tag === NANOS_TAG) nanos = readInt32(cursor);
    else skipField(cursor, tag, 0);
  }
  cursor.leave(end);
  return seconds * 1000 + Math.floor(nanos / 1_000_000);
};

function readInt32(cursor: ByteCursor): number {
  cursor.varint();
  return cursor.low;
}

/** An integer, exact. */
type ReadInteger = (cursor: ByteCursor) => number | bigint;

const INTEGERS: ReadonlyMap<string, { readonly wire: number; readonly read: ReadInteger }> = new Map([
  ['int32', { wire: VARINT, read: readInt32 }],
  ['uint32', { wire: VARINT, read: (cursor) => readInt32(cursor) >>> 0 }],
  [
    'sint32',
    {
      wire: VARINT,
      read: (cursor) => {
        const bits = readInt32(cursor);
        return (bits >>> 1) ^ -(bits & 1);
      },
    },
  ],
  [
    'int64',
    {
      wire: VARINT,
      read: (cursor) => {
        cursor.varint();
        return signed64(cursor.low, cursor.high);
      },
    },
  ],
  [
    'uint64',
    {
      wire: VARINT,
      read: (cursor) => {
        cursor.varint();
        return unsigned64(cursor.low, cursor.high);
      },
    },
  ],
  [
    'sint64',
    {
      wire: VARINT,
      read: (cursor) => {
        cursor.varint();
        cursor.unzigzag();
        return signed64(cursor.low, cursor.high);
      },
    },
  ],
  [
    'fixed32',
    {
      wire: FIXED32,
      read: (cursor) => {
        cursor.fixed32();
        return cursor.low >>> 0;
      },
    },
  ],
  [
    'sfixed32',
    {
      wire: FIXED32,
      read: (cursor) => {
        cursor.fixed32();
        return cursor.low;
      },
    },
  ],
  [
    'fixed64',
    {
      wire: FIXED64,
      read: (cursor) => {
        cursor.fixed64();
        return unsigned64(cursor.low, cursor.high);
      },
    },
  ],
  [
    'sfixed64',
    {
      wire: FIXED64,
      read: (cursor) => {
        cursor.fixed64();
        return signed64(cursor.low, cursor.high);
      },
    },
  ],
]);

/** How values of a scalar become those of a column; null: they do not. */
function scalarCodec(scalar: string, column: ColumnType): FieldCodec | null {
  const integer = INTEGERS.get(scalar);
  switch (column) {
    case 'string':
      return scalar === 'string' ? TEXT : null;
    case 'boolean':
      return scalar === 'bool' ? BOOLEAN : null;
    case 'double':
      if (scalar === 'double') return { wire: FIXED64, read: (cursor) => cursor.double(), absent: 0 };
      if (scalar === 'float') return { wire: FIXED32, read: (cursor) => cursor.float(), absent: 0 };
      return integer === undefined ? null : rounded(integer);
    case 'integer':
      // Rounded: the column refuses what is not exact, and says what to do.
      return integer === undefined ? null : rounded(integer);
    case 'long':
      return integer === undefined ? null : { ...integer, absent: 0 };
    case 'timestamp':
      if (scalar === 'string') return TEXT;
      return integer === undefined ? null : rounded(integer);
  }
}

const rounded = ({ wire, read }: { wire: number; read: ReadInteger }): FieldCodec => ({
  wire,
  read: (cursor) => Number(read(cursor)),
  absent: 0,
});

const TEXT: FieldCodec = { wire: LENGTH, read: (cursor) => cursor.text(readLength(cursor)), absent: '' };

const BOOLEAN: FieldCodec = {
  wire: VARINT,
  read: (cursor) => {
    cursor.varint();
    return (cursor.low | cursor.high) !== 0;
  },
  absent: false,
};
