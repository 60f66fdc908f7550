/**
 * One CSV record → a typed row, with the same rules and failures as JSON events. An empty field is the empty
 * text in a required string column and null in a nullable column; in any other required column it is missing.
 */
import type { ColumnType, ColumnValue } from '../aggregators/partial-aggregate.ts';
import { isFailure, type ValueReader, valueReader } from './column-value.ts';
import type { CompiledSource } from './compiled.ts';
import {
  cellReader,
  type DecodeOptions,
  type DecodeResult,
  eventFinisher,
  keyColumnsOf,
} from './decode-event.ts';
import { rowFailure } from './row-error.ts';
import type { StreamSource } from './types.ts';

const INTEGER_TEXT = /^-?(0|[1-9][0-9]*)$/;
const DOUBLE_TEXT = /^-?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?$/;
const MILLISECONDS_TEXT = /^(0|[1-9][0-9]{0,15})$/;

/** The value a field stands for, as the JSON reader of the type takes it; anything else stays text and fails there. */
function jsonValueOfField(type: ColumnType, field: string): unknown {
  switch (type) {
    case 'string':
    case 'long':
      return field;
    case 'integer':
      return INTEGER_TEXT.test(field) ? Number(field) : field;
    case 'double':
      return DOUBLE_TEXT.test(field) ? Number(field) : field;
    case 'boolean':
      return field === 'true' || field === '1' ? true : field === 'false' || field === '0' ? false : field;
    case 'timestamp':
      return MILLISECONDS_TEXT.test(field) ? Number(field) : field;
  }
}

function fieldReader(type: ColumnType, column: string): ValueReader {
  const read = valueReader(type, column);
  return type === 'string' ? read : (field) => read(jsonValueOfField(type, field as string));
}

const NOT_A_RECORD = rowFailure('not_an_object', null, 'a CSV record must be a list of text fields');

/** Columns that a source requires and a CSV header does not have: worth refusing the whole file for. */
export function missingCsvColumns(source: StreamSource, header: readonly string[]): string[] {
  const present = new Set(header);
  return Object.keys(source.columns).filter((name) => !source.columns[name]!.nullable && !present.has(name));
}

/**
 * The decoder of a source's CSV records under a header. Header names that are no columns are ignored; of two
 * equal ones the first counts.
 *
 * @example
 * const decode = csvDecoder(source, ['id', 'ts', 'amount']);
 * decode(['17', '2018-04-01T00:00:31Z', '57.16']);
 */
export function csvDecoder(
  source: StreamSource,
  header: readonly string[],
  options: DecodeOptions = {},
): (fields: readonly string[]) => DecodeResult {
  const names = Object.keys(source.columns);
  const indexes = names.map((name) => header.indexOf(name));
  const emptyIsText = names.map(
    (name) => source.columns[name]!.type === 'string' && !source.columns[name]!.nullable,
  );
  const readers = names.map((name) =>
    cellReader(source, name, fieldReader(source.columns[name]!.type, name), options),
  );
  const finish = eventFinisher(source);
  return (fields) => {
    if (!Array.isArray(fields)) return NOT_A_RECORD;
    const row: Record<string, ColumnValue> = {};
    for (let i = 0; i < names.length; i++) {
      const index = indexes[i]!;
      const field: unknown = index < 0 ? undefined : fields[index];
      const value = readers[i]!(field === '' && !emptyIsText[i] ? null : field);
      if (isFailure(value)) return value;
      row[names[i]!] = value;
    }
    return finish(row);
  };
}

/** The decoder of a compiled source's CSV records under a header; `checkKeys` as in `decodeEvent`. */
export function decodeCsvRecord(
  source: CompiledSource,
  header: readonly string[],
  options: { readonly checkKeys?: boolean } = {},
): (fields: readonly string[]) => DecodeResult {
  return csvDecoder(source.definition, header, options.checkKeys ? { keyColumns: keyColumnsOf(source) } : {});
}
