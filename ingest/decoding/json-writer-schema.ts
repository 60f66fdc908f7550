/**
 * JSON records behind a schema id. They are read as they are, and the columns decide as for any JSON: the schema
 * says what producers may write, which is of use before there are records.
 */
import type { ColumnType } from '../../engine/aggregators/partial-aggregate.ts';
import type { StreamSource } from '../../engine/definitions/types.ts';
import { decodeJson } from './json-record.ts';
import {
  type ColumnMisfit,
  maybeNull,
  notInSchema,
  UnusableSchemaError,
  type WriterSchema,
  wrongType,
} from './writer-schema.ts';

/** JSON Schema's names of what a column reads. */
const READABLE: Readonly<Record<ColumnType, readonly string[]>> = {
  string: ['string'],
  integer: ['integer', 'number'],
  long: ['integer', 'number', 'string'],
  double: ['integer', 'number'],
  boolean: ['boolean'],
  timestamp: ['string', 'integer', 'number'],
};

/** @throws UnusableSchemaError */
export function compileJson({ schema, source }: { schema: string; source: StreamSource }): WriterSchema {
  let root: unknown;
  try {
    root = JSON.parse(schema);
  } catch (error) {
    throw new UnusableSchemaError(`cannot be parsed: ${(error as Error).message}`, { cause: error });
  }
  return {
    misfits: misfitsOf(root, source),
    decode: (value, start) => decodeJson(value.subarray(start)),
  };
}

type Loose = Readonly<Record<string, unknown>>;
const isObject = (value: unknown): value is Loose =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** What can be told from `properties`, `required` and plain types; anything cleverer is given the benefit of the doubt. */
function misfitsOf(root: unknown, source: StreamSource): ColumnMisfit[] {
  const schema = resolved(root, root);
  if (!isObject(schema) || !isObject(schema.properties)) return [];
  const { properties } = schema;
  const required: readonly unknown[] = Array.isArray(schema.required) ? schema.required : [];
  const misfits: ColumnMisfit[] = [];
  for (const [name, { type, nullable }] of Object.entries(source.columns)) {
    if (!Object.hasOwn(properties, name)) {
      if (!nullable) misfits.push(notInSchema(name));
      continue;
    }
    const types = typesOf(properties[name], root);
    if (types !== null && !types.some((found) => READABLE[type].includes(found))) {
      misfits.push(wrongType(name, type, types.join(' or ') || 'nothing'));
    } else if (!nullable && types?.includes('null')) {
      misfits.push(maybeNull(name));
    } else if (!nullable && !required.includes(name)) {
      const problem = "is not nullable; in the writer's schema it may be left out";
      misfits.push({ column: name, problem, always: false });
    }
  }
  return misfits;
}

/** The JSON types that a schema admits; null: not known. */
function typesOf(given: unknown, root: unknown): string[] | null {
  const schema = resolved(given, root);
  if (!isObject(schema)) return null;
  if (typeof schema.type === 'string') return [schema.type];
  if (Array.isArray(schema.type)) return schema.type.filter((type) => typeof type === 'string');
  const branches = schema.anyOf ?? schema.oneOf;
  if (!Array.isArray(branches)) return null;
  const found = branches.map((branch) => typesOf(branch, root));
  return found.includes(null) ? null : [...new Set(found.flatMap((types) => types!))];
}

/** Follows a `$ref` within the schema, once: a second one is not worth the care that cycles need. */
function resolved(schema: unknown, root: unknown): unknown {
  if (!isObject(schema) || typeof schema.$ref !== 'string' || !schema.$ref.startsWith('#/')) return schema;
  let target = root;
  for (const part of schema.$ref.slice(2).split('/')) {
    const name = decodeURIComponent(part).replaceAll('~1', '/').replaceAll('~0', '~');
    if (!isObject(target) || !Object.hasOwn(target, name)) return schema;
    target = target[name];
  }
  return target;
}
