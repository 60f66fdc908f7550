/** Events as producers write them: by the serializers of Confluent's own client, which share no code with our decoders. */

import { create, createFileRegistry, createMutableRegistry, type DescMessage } from '@bufbuild/protobuf';
import {
  FieldDescriptorProto_Label,
  FieldDescriptorProto_Type,
  FieldDescriptorProtoSchema,
  FileDescriptorProtoSchema,
  file_google_protobuf_timestamp,
  timestampFromMs,
} from '@bufbuild/protobuf/wkt';
import type { Client } from '@confluentinc/schemaregistry';
import { AvroSerializer } from '@confluentinc/schemaregistry/dist/serde/avro.js';
import { JsonSerializer } from '@confluentinc/schemaregistry/dist/serde/json.js';
import { ProtobufSerializer } from '@confluentinc/schemaregistry/dist/serde/protobuf.js';
import { SerdeType, SubjectNameStrategyType } from '@confluentinc/schemaregistry/dist/serde/serde.js';
import avro from 'avsc';
import type { ColumnType, ColumnValue } from '../../../engine/aggregators/partial-aggregate.ts';
import type { EventRow, StreamSource } from '../../../engine/definitions/types.ts';
import { type SubjectFormat, subjectSchema } from '../subject-schemas.ts';

const TOPIC_STRATEGY = { subjectNameStrategyType: SubjectNameStrategyType.TOPIC };

/** avsc's long with all 64 bits: a bigint, or a number where that is safe. */
export const exactLong = avro.types.LongType.__with({
  fromBuffer: (bytes: Buffer) => {
    const value = bytes.readBigInt64LE();
    return Number.isSafeInteger(Number(value)) ? Number(value) : value;
  },
  toBuffer: (value: number | bigint) => {
    const bytes = Buffer.alloc(8);
    bytes.writeBigInt64LE(BigInt(value));
    return bytes;
  },
  fromJSON: (value: number) => value,
  toJSON: (value: number | bigint) => Number(value),
  isValid: (value: unknown) => typeof value === 'bigint' || Number.isSafeInteger(value),
  compare: (a: number | bigint, b: number | bigint) => (a < b ? -1 : a > b ? 1 : 0),
});

const typeHook = (schema: unknown): unknown =>
  schema === 'long' || (schema as { type?: unknown }).type === 'long' ? exactLong : undefined;

/** Registers the schema of a source under its topic, and writes rows by it. */
export async function serializeEvents(args: {
  client: Client;
  source: StreamSource;
  format: SubjectFormat;
  rows: readonly EventRow[];
}): Promise<Uint8Array[]> {
  const { client, source, format, rows } = args;
  const { type, schema } = subjectSchema(source, format, new Set());
  const info = { schemaType: type, schema };
  await client.register(`${source.topic}-value`, info, false);
  const serialize = serializerOf(client, source, format);
  const values: Uint8Array[] = [];
  for (const row of rows) values.push(await serialize(row));
  return values;
}

function serializerOf(
  client: Client,
  source: StreamSource,
  format: SubjectFormat,
): (row: EventRow) => Promise<Uint8Array> {
  const config = { ...TOPIC_STRATEGY, useLatestVersion: true };
  switch (format) {
    case 'avro': {
      const serializer = new AvroSerializer(client, SerdeType.VALUE, { ...config, typeHook } as never);
      return (row) => serializer.serialize(source.topic, { ...row });
    }
    case 'json': {
      const serializer = new JsonSerializer(client, SerdeType.VALUE, config);
      const asText = ([name, value]: [string, ColumnValue]): [string, unknown] => [
        name,
        typeof value === 'bigint' ? String(value) : value,
      ];
      return (row) => serializer.serialize(source.topic, Object.fromEntries(Object.entries(row).map(asText)));
    }
    case 'protobuf': {
      const message = messageOf(source);
      const registry = createMutableRegistry(message);
      const serializer = new ProtobufSerializer(client, SerdeType.VALUE, { ...config, registry });
      return (row) => serializer.serialize(source.topic, protobufEvent(message, source, row));
    }
  }
}

const PROTOBUF_TYPES: Readonly<Record<ColumnType, FieldDescriptorProto_Type>> = {
  string: FieldDescriptorProto_Type.STRING,
  integer: FieldDescriptorProto_Type.INT64,
  long: FieldDescriptorProto_Type.INT64,
  double: FieldDescriptorProto_Type.DOUBLE,
  boolean: FieldDescriptorProto_Type.BOOL,
  timestamp: FieldDescriptorProto_Type.MESSAGE,
};

/** The message that producers compile from the source's .proto file, made without reading it. */
export function messageOf(source: StreamSource): DescMessage {
  const columns = Object.entries(source.columns);
  const optional = columns.filter(([, { nullable }]) => nullable).map(([name]) => name);
  const file = create(FileDescriptorProtoSchema, {
    name: `${source.name}.proto`,
    package: 'millrace',
    syntax: 'proto3',
    dependency: ['google/protobuf/timestamp.proto'],
    messageType: [
      {
        name: source.name,
        oneofDecl: optional.map((name) => ({ name: `_${name}` })),
        field: columns.map(([name, { type, nullable }], i) =>
          create(FieldDescriptorProtoSchema, {
            name,
            number: i + 1,
            label: FieldDescriptorProto_Label.OPTIONAL,
            type: PROTOBUF_TYPES[type],
            ...(type === 'timestamp' ? { typeName: '.google.protobuf.Timestamp' } : {}),
            ...(nullable ? { proto3Optional: true, oneofIndex: optional.indexOf(name) } : {}),
          }),
        ),
      },
    ],
  });
  return createFileRegistry(file, () => file_google_protobuf_timestamp).getMessage(
    `millrace.${source.name}`,
  )!;
}

function protobufEvent(message: DescMessage, source: StreamSource, row: EventRow) {
  const fields = message.fields.flatMap((field): [string, unknown][] => {
    const value = row[field.name];
    if (value === null || value === undefined) return [];
    switch (source.columns[field.name]!.type) {
      case 'integer':
      case 'long':
        return [[field.localName, BigInt(value as number | bigint)]];
      case 'timestamp':
        return [[field.localName, timestampFromMs(value as number)]];
      default:
        return [[field.localName, value]];
    }
  });
  return create(message, Object.fromEntries(fields));
}
