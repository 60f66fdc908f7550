/** A source's events in each format that schema registries know: for producers, and to register. */
import type { ColumnType } from '../../engine/aggregators/partial-aggregate.ts';
import { eventJsonSchema } from '../../engine/definitions/json-schema.ts';
import type { StreamSource } from '../../engine/definitions/types.ts';
import type { NewSchema } from './schema-registry.ts';

export const SUBJECT_FORMATS = ['avro', 'json', 'protobuf'] as const;
export type SubjectFormat = (typeof SUBJECT_FORMATS)[number];

/** Names of the files in schemas/, behind the source's name. */
export const SCHEMA_FILE_SUFFIX: Readonly<Record<SubjectFormat, string>> = {
  avro: '.avsc',
  json: '.schema.json',
  protobuf: '.proto',
};

const AVRO_TYPES: Readonly<Record<ColumnType, unknown>> = {
  string: 'string',
  // Integers reach to ±(2^53 − 1), which Avro's int does not hold.
  integer: 'long',
  long: 'long',
  double: 'double',
  boolean: 'boolean',
  timestamp: { type: 'long', logicalType: 'timestamp-millis' },
};

const PROTOBUF_TYPES: Readonly<Record<ColumnType, string>> = {
  string: 'string',
  integer: 'int64',
  long: 'int64',
  double: 'double',
  boolean: 'bool',
  timestamp: 'google.protobuf.Timestamp',
};

/** The newest that every registry reads. What is used of JSON Schema means the same in later ones. */
const JSON_DRAFT = 'http://json-schema.org/draft-07/schema#';

/** A record with a field for each column; nullable ones are a union with null, and null by default. */
export function eventAvroSchema(source: StreamSource): Readonly<Record<string, unknown>> {
  return {
    type: 'record',
    name: source.name,
    namespace: 'millrace',
    ...(source.description === undefined ? {} : { doc: source.description }),
    fields: Object.entries(source.columns).map(([name, { type, nullable }]) =>
      nullable ? { name, type: ['null', AVRO_TYPES[type]], default: null } : { name, type: AVRO_TYPES[type] },
    ),
  };
}

/**
 * A message with a field for each column, numbered in their order. Numbers identify fields in Protobuf: columns may
 * be added at the end only, and none may be taken out while records of earlier schemas are read.
 */
export function eventProtobufSchema(source: StreamSource): string {
  const columns = Object.entries(source.columns);
  const timestamps = columns.some(([, { type }]) => type === 'timestamp');
  const jsonNames = jsonNamesOf(columns.map(([name]) => name));
  const lines = [
    'syntax = "proto3";',
    '',
    'package millrace;',
    '',
    ...(timestamps ? ['import "google/protobuf/timestamp.proto";', ''] : []),
    ...(source.description === undefined ? [] : comment(source.description)),
    `message ${source.name} {`,
    ...columns.map(([name, { type, nullable }], i) => {
      const options = jsonNames.has(name) ? ` [json_name = "${name}"]` : '';
      return `  ${nullable ? 'optional ' : ''}${PROTOBUF_TYPES[type]} ${name} = ${fieldNumber(i)}${options};`;
    }),
    '}',
  ];
  return `${lines.join('\n')}\n`;
}

/** 19000 to 19999 are Protobuf's own. */
const fieldNumber = (index: number): number => (index < 18_999 ? index + 1 : index + 1_001);

const comment = (text: string): string[] =>
  text.split(/\r\n|[\r\n\u2028\u2029]/).map((line) => `// ${line}`.trimEnd());

/** Columns whose names in Protobuf's JSON (camelCase) would clash, as those of `a_b` and `aB`. */
function jsonNamesOf(names: readonly string[]): ReadonlySet<string> {
  const byJsonName = new Map<string, string[]>();
  for (const name of names) {
    const jsonName = name.replaceAll(/_+([A-Za-z0-9]?)/g, (_, letter: string) => letter.toUpperCase());
    byJsonName.set(jsonName, [...(byJsonName.get(jsonName) ?? []), name]);
  }
  return new Set([...byJsonName.values()].filter((clashing) => clashing.length > 1).flat());
}

/**
 * What is registered for a source.
 * @param keyColumns columns that hold an entity key in some view
 */
export function subjectSchema(
  source: StreamSource,
  format: SubjectFormat,
  keyColumns: ReadonlySet<string>,
): NewSchema {
  switch (format) {
    case 'avro':
      return { type: 'AVRO', schema: indented(eventAvroSchema(source)) };
    case 'json':
      return {
        type: 'JSON',
        schema: indented({ ...eventJsonSchema(source, keyColumns), $schema: JSON_DRAFT }),
      };
    case 'protobuf':
      return { type: 'PROTOBUF', schema: eventProtobufSchema(source) };
  }
}

const indented = (schema: unknown): string => `${JSON.stringify(schema, null, 2)}\n`;
