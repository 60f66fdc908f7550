/** A source's events as JSON Schema (draft 2020-12): for producers, code generators and schema registries. */
import type { ColumnType } from '../aggregators/partial-aggregate.ts';
import { ENTITY_KEY_MAX_BYTES } from './entity-key.ts';
import type { Column, StreamSource } from './types.ts';

export type JsonSchema = Readonly<Record<string, unknown>>;

const TYPES: Readonly<Record<ColumnType, JsonSchema>> = {
  string: { type: 'string' },
  integer: { type: 'integer', minimum: -Number.MAX_SAFE_INTEGER, maximum: Number.MAX_SAFE_INTEGER },
  long: {
    description: 'A 64-bit integer: a number within ±(2⁵³ − 1), or any as a decimal string.',
    anyOf: [
      { type: 'integer', minimum: -Number.MAX_SAFE_INTEGER, maximum: Number.MAX_SAFE_INTEGER },
      { type: 'string', pattern: '^-?[0-9]{1,19}$' },
    ],
  },
  double: { type: 'number', minimum: -1e140, maximum: 1e140 },
  boolean: { type: 'boolean' },
  timestamp: {
    description: 'A time as ISO 8601 text with a zone, or in ms since the epoch.',
    anyOf: [
      { type: 'string', format: 'date-time' },
      { type: 'integer', minimum: 0, exclusiveMaximum: 2 ** 45 },
    ],
  },
};

function columnSchema(column: Column, key: boolean): JsonSchema {
  const schema =
    key && column.type === 'string'
      ? { ...TYPES.string, maxLength: ENTITY_KEY_MAX_BYTES }
      : TYPES[column.type];
  return column.nullable ? { anyOf: [schema, { type: 'null' }] } : schema;
}

/** @param keyColumns columns that hold an entity key in some view */
export function eventJsonSchema(source: StreamSource, keyColumns: ReadonlySet<string>): JsonSchema {
  const columns = Object.entries(source.columns);
  return {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    title: source.name,
    ...(source.description === undefined ? {} : { description: source.description }),
    type: 'object',
    properties: Object.fromEntries(
      columns.map(([name, column]) => [name, columnSchema(column, keyColumns.has(name))]),
    ),
    required: columns.filter(([, column]) => !column.nullable).map(([name]) => name),
    // Fields that are no columns are ignored, so that producers can add them first.
    additionalProperties: true,
  };
}
