/**
 * One JSON event → a typed row. What a column admits is decided once, when the decoder is made; a decoder is
 * a list of closures walked in column order, so that every row has the same shape.
 *
 * Fields that are no columns are ignored, as producers add fields before consumers know them.
 */
import type { ColumnValue } from '../aggregators/partial-aggregate.ts';
import { type EventId, integerEventId, textEventId } from '../event-id.ts';
import { isFailure, type ValueReader, valueReader } from './column-value.ts';
import type { CompiledSource } from './compiled.ts';
import { checkEntityKey, ENTITY_KEY_MAX_BYTES, entityKeyText } from './entity-key.ts';
import { type RowFailure, rowFailure } from './row-error.ts';
import type { EventRow, StreamSource } from './types.ts';

export interface DecodedEvent {
  readonly ok: true;
  readonly row: EventRow;
  readonly eventTimeMs: number;
  /** Order and identity of the event (C3); null where the source declares no event id. */
  readonly eventId: EventId | null;
  /** The id's canonical text; null likewise. */
  readonly idText: string | null;
}

export type DecodeResult = DecodedEvent | RowFailure;

export interface DecodeOptions {
  /** Columns whose values must be entity keys (≤ 1024 bytes of UTF-8). */
  readonly keyColumns?: ReadonlySet<string>;
}

/** Reads a value that may be missing. */
export type CellReader = (value: unknown) => ColumnValue | RowFailure;

/** The reader of a source's column: null handled, key columns bounded. */
export function cellReader(
  source: StreamSource,
  name: string,
  read: ValueReader,
  options: DecodeOptions,
): CellReader {
  const { nullable } = source.columns[name]!;
  const missing = rowFailure('missing_value', name, `column '${name}' is required: it is null or missing`);
  const tooLong = rowFailure(
    'key_too_long',
    name,
    `column '${name}' is an entity key and must be at most ${ENTITY_KEY_MAX_BYTES} bytes of UTF-8`,
  );
  const bounded: ValueReader =
    options.keyColumns?.has(name) && source.columns[name]!.type === 'string'
      ? (value) => {
          // A code unit takes a byte at least. Of a key the smaller limit is the one to tell.
          if (typeof value === 'string' && value.length > ENTITY_KEY_MAX_BYTES) return tooLong;
          const result = read(value);
          return typeof result === 'string' && checkEntityKey(result) === 'key_too_long' ? tooLong : result;
        }
      : read;
  return (value) => (value === null || value === undefined ? (nullable ? null : missing) : bounded(value));
}

/** Makes the decoded event out of a complete row. */
export function eventFinisher(source: StreamSource): (row: EventRow) => DecodedEvent {
  const timeColumn = source.eventTime;
  const idColumn = source.eventId;
  if (idColumn === null) {
    return (row) => ({ ok: true, row, eventTimeMs: row[timeColumn] as number, eventId: null, idText: null });
  }
  if (source.columns[idColumn]!.type === 'string') {
    return (row) => {
      const id = row[idColumn] as string;
      return { ok: true, row, eventTimeMs: row[timeColumn] as number, eventId: textEventId(id), idText: id };
    };
  }
  return (row) => {
    const id = row[idColumn] as number | bigint;
    return {
      ok: true,
      row,
      eventTimeMs: row[timeColumn] as number,
      eventId: integerEventId(id),
      idText: String(id),
    };
  };
}

const NOT_AN_OBJECT = rowFailure('not_an_object', null, 'an event must be a JSON object');

/** Names that every plain object inherits: for these, and only these, ownership must be asked. */
const isInherited = (name: string): boolean => name in Object.prototype;

/**
 * The decoder of a source's JSON events, given the definition alone. It must have passed `compileRepo`.
 *
 * @example
 * const decode = eventDecoder(source);
 * const result = decode(JSON.parse(line));
 * if (!result.ok) reject(result.code, result.column, result.message);
 */
export function eventDecoder(
  source: StreamSource,
  options: DecodeOptions = {},
): (data: unknown) => DecodeResult {
  const names = Object.keys(source.columns);
  const count = names.length;
  const readers = names.map((name) =>
    cellReader(source, name, valueReader(source.columns[name]!.type, name), options),
  );
  const inherited = names.map(isInherited);
  const finish = eventFinisher(source);
  return (data) => {
    if (typeof data !== 'object' || data === null || Array.isArray(data)) return NOT_AN_OBJECT;
    const fields = data as Record<string, unknown>;
    const row: Record<string, ColumnValue> = {};
    for (let i = 0; i < count; i++) {
      const name = names[i]!;
      const value = readers[i]!(inherited[i] && !Object.hasOwn(fields, name) ? undefined : fields[name]);
      if (isFailure(value)) return value;
      row[name] = value;
    }
    return finish(row);
  };
}

/** The columns of a source that hold an entity key in some view. */
export function keyColumnsOf(source: CompiledSource): ReadonlySet<string> {
  return new Set(source.views.map((view) => view.definition.keyColumn));
}

/**
 * The decoder of a compiled source.
 *
 * `checkKeys` is for the edge, where a too long key is refused before the event is accepted. Readers of the
 * log leave it off: which columns are keys depends on the views of the day, and an accepted event must not
 * break its schema because a view was added since. There the view's `keyOf` refuses for its own view.
 */
export function decodeEvent(
  source: CompiledSource,
  options: { readonly checkKeys?: boolean } = {},
): (data: unknown) => DecodeResult {
  return eventDecoder(source.definition, options.checkKeys ? { keyColumns: keyColumnsOf(source) } : {});
}

/** The request's or an event's entity value as a key, or why it is none. */
export function readEntityKey(
  value: unknown,
):
  | { readonly ok: true; readonly key: string }
  | { readonly ok: false; readonly problem: 'wrong_type' | 'key_too_long' | 'invalid_text' } {
  if (
    typeof value !== 'string' &&
    typeof value !== 'bigint' &&
    !(typeof value === 'number' && Number.isSafeInteger(value))
  ) {
    return { ok: false, problem: 'wrong_type' };
  }
  const key = entityKeyText(value)!;
  const problem = checkEntityKey(key);
  return problem === null ? { ok: true, key } : { ok: false, problem };
}
