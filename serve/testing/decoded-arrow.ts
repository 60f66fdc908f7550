/** An Arrow stream read by Flechette, an implementation that shares nothing with the one that wrote it. */
import { tableFromIPC } from '@uwdata/flechette';

export interface DecodedArrow {
  /** Metadata of the schema. */
  readonly metadata: ReadonlyMap<string, string>;
  /** Types of the columns, as flechette calls them, by name. */
  readonly columns: ReadonlyMap<string, string>;
  /** Of each row: values by column; int64 as bigint, lists as arrays, maps as `Map`, times as ms. */
  readonly rows: readonly ReadonlyMap<string, unknown>[];
}

export function decodeArrow(stream: Uint8Array): DecodedArrow {
  const table = tableFromIPC(stream, { useBigInt: true, useMap: true, useDate: false });
  const columns = table.schema.fields.map(({ name }, c) => ({ name, column: table.getChildAt(c) }));
  return {
    metadata: table.schema.metadata ?? new Map(),
    columns: new Map(table.schema.fields.map(({ name, type }) => [name, describe(type)])),
    rows: Array.from(
      { length: table.numRows },
      (_, r) => new Map(columns.map(({ name, column }) => [name, plain(column.at(r))])),
    ),
  };
}

interface AnyType {
  readonly typeId: number;
  readonly children?: readonly { readonly name: string; readonly type: AnyType }[];
  readonly bitWidth?: number;
  readonly precision?: number;
  readonly timezone?: string | null;
  readonly dictionary?: AnyType;
}

/** Type ids of the Arrow format (Schema.fbs), and −1 for dictionaries as flechette has them. */
function describe(type: unknown): string {
  const { typeId, children = [], bitWidth, timezone, dictionary } = type as AnyType;
  const inner = children.map((child) => `${child.name}: ${describe(child.type)}`).join(', ');
  switch (typeId) {
    case -1:
      return `dictionary<${describe(dictionary)}>`;
    case 2:
      return `int${bitWidth}`;
    case 3:
      return 'double';
    case 5:
      return 'utf8';
    case 6:
      return 'bool';
    case 10:
      return `timestamp<${timezone}>`;
    case 12:
      return `list<${inner}>`;
    case 13:
      return `struct<${inner}>`;
    case 17:
      return `map<${inner}>`;
    default:
      return `type ${typeId}`;
  }
}

/** Typed arrays and rows of flechette as plain values. */
function plain(value: unknown): unknown {
  if (value === null || typeof value !== 'object') return value;
  if (value instanceof Map) return new Map([...value].map(([key, own]) => [key, plain(own)]));
  if (Array.isArray(value) || ArrayBuffer.isView(value)) return Array.from(value as unknown[], plain);
  return Object.fromEntries(Object.entries(value).map(([key, own]) => [key, plain(own)]));
}
