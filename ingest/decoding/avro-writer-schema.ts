/**
 * Avro records, read by the schema they were written with.
 *
 * Avro's rules for a reader with another schema than the writer's (fields are matched by name, unknown ones
 * skipped, numbers promoted) come out as one list: for each field of the writer, in its order, a function that
 * reads it into a column or skips it. avsc parses the schemas; its own decoder is not used, as it loops for as long
 * as a damaged record says, rounds longs, and names of records would have to agree.
 */
import type { Type, types } from 'avsc';
import type { Column, StreamSource } from '../../engine/definitions/types.ts';
import { ByteCursor, signed64 } from './byte-cursor.ts';
import { type Decoded, refused } from './record-decoder.ts';
import {
  type ColumnMisfit,
  MisfitValue,
  maybeNull,
  notInSchema,
  UnusableSchemaError,
  type WriterSchema,
  wrongType,
} from './writer-schema.ts';

type Avro = typeof import('avsc');
type Read = (cursor: ByteCursor) => unknown;
type Skip = (cursor: ByteCursor) => void;

const MALFORMED = refused('the record does not match its Avro schema');
const TOO_DEEP = refused('the record is nested too deeply');

/** Logical types that change what a column reads, or whether it can. Of all others the underlying type counts. */
const LOGICAL_TYPES = [
  'timestamp-millis',
  'timestamp-micros',
  'timestamp-nanos',
  'local-timestamp-millis',
  'local-timestamp-micros',
  'local-timestamp-nanos',
  'date',
  'time-millis',
  'time-micros',
  'decimal',
  'duration',
];

/**
 * @param schema JSON text of the writer's schema
 * @param references texts of the schemas it refers to, each after those it needs itself
 * @throws UnusableSchemaError
 */
export function compileAvro(args: {
  avro: Avro;
  schema: string;
  references: Iterable<string>;
  source: StreamSource;
}): WriterSchema {
  const type = parse(args.avro, args.schema, args.references);
  const branches = isUnion(type) ? type.types.map(named) : [named(type)];
  const records = branches.map((branch) =>
    isRecord(branch.type) ? recordSchema(branch.type, args.source) : null,
  );
  if (records.every((record) => record === null)) {
    throw new UnusableSchemaError(`is ${branches[0]!.label}, not a record with fields`);
  }
  return isUnion(type) ? unionSchema(records) : records[0]!;
}

function parse(avro: Avro, schema: string, references: Iterable<string>): Type {
  class Logical extends avro.types.LogicalType {
    // Without these avsc warns about the missing methods; values never pass through here.
    protected override _fromValue(value: unknown): unknown {
      return value;
    }
    protected override _toValue(value: unknown): unknown {
      return value;
    }
  }
  const logicalTypes = Object.fromEntries(LOGICAL_TYPES.map((name) => [name, Logical]));
  const registry: Record<string, Type> = {};
  try {
    for (const reference of references) {
      avro.Type.forSchema(JSON.parse(reference), { registry, logicalTypes });
    }
    return avro.Type.forSchema(JSON.parse(schema), { registry, logicalTypes });
  } catch (error) {
    throw new UnusableSchemaError(`cannot be parsed: ${(error as Error).message}`, { cause: error });
  }
}

const isUnion = (type: Type): type is types.WrappedUnionType => type.typeName.startsWith('union:');
const isRecord = (type: Type): type is types.RecordType => type.typeName === 'record';

/** A type without its logical type, and what to call it in messages. */
interface Named {
  readonly type: Type;
  /** null: none of those listed above. */
  readonly logical: string | null;
  readonly label: string;
}

function named(type: Type): Named {
  if (!type.typeName.startsWith('logical:')) return { type, logical: null, label: type.typeName };
  const logical = type.typeName.slice('logical:'.length);
  const { underlyingType } = type as types.LogicalType;
  return { type: underlyingType, logical, label: `${underlyingType.typeName} (${logical})` };
}

function recordSchema(type: types.RecordType, source: StreamSource): WriterSchema {
  const cursor = new ByteCursor();
  const misfits: ColumnMisfit[] = [];
  const names: (string | null)[] = [];
  const steps: Read[] = [];
  const present = new Set(type.fields.map(({ name }) => name));
  for (const [name, { nullable }] of Object.entries(source.columns)) {
    if (!present.has(name) && !nullable) misfits.push(notInSchema(name));
  }
  for (const field of type.fields) {
    const column = Object.hasOwn(source.columns, field.name) ? source.columns[field.name]! : null;
    names.push(column === null ? null : field.name);
    steps.push(
      column === null ? skipperOf(field.type) : columnReader(field.type, field.name, column, misfits),
    );
  }
  // Copied for each record, so that all have one shape.
  const template: Record<string, unknown> = {};
  for (const name of names) if (name !== null) template[name] = null;
  const count = steps.length;
  return {
    misfits,
    decode: (value, start) => {
      try {
        cursor.open(value, start);
        const data = { ...template };
        for (let i = 0; i < count; i++) {
          const name = names[i]!;
          if (name === null) steps[i]!(cursor);
          else data[name] = steps[i]!(cursor);
        }
        return cursor.remaining === 0 ? { ok: true, data } : MALFORMED;
      } catch (error) {
        return refusalOf(error);
      } finally {
        cursor.close();
      }
    },
  };
}

function refusalOf(error: unknown): Decoded {
  if (error instanceof MisfitValue) return error.refusal;
  // The call stack is full: a schema that contains itself, and bytes that go on saying so.
  return error instanceof RangeError ? TOO_DEEP : MALFORMED;
}

/** A topic of several record types: the first number says which. */
function unionSchema(records: readonly (WriterSchema | null)[]): WriterSchema {
  const cursor = new ByteCursor();
  const notARecord = refused('the record is not an Avro record with fields', 'breaks_schema');
  return {
    misfits: records.flatMap(
      (record) => record?.misfits.map((misfit) => ({ ...misfit, always: false })) ?? [],
    ),
    decode: (value, start) => {
      let at: number;
      let branch: number;
      try {
        cursor.open(value, start);
        branch = branchIndex(cursor, records.length);
        at = cursor.position;
      } catch {
        return MALFORMED;
      }
      return records[branch]?.decode(value, at) ?? notARecord;
    },
  };
}

/** The index of a union's branch. */
function branchIndex(cursor: ByteCursor, count: number): number {
  cursor.varint();
  cursor.unzigzag();
  const { low, high } = cursor;
  if (high !== 0 || low < 0 || low >= count) cursor.fail();
  return low;
}

function columnReader(type: Type, name: string, column: Column, misfits: ColumnMisfit[]): Read {
  if (!isUnion(type)) return branchReader(named(type), name, column, misfits);
  const found: ColumnMisfit[] = [];
  const readers = type.types.map((branch) => branchReader(named(branch), name, column, found));
  // One branch that fits is enough for the column not to be hopeless.
  const hopeless = type.types.every(
    (branch) => branch.typeName === 'null' || branchProblem(named(branch), name, column) !== null,
  );
  misfits.push(...found.map((misfit) => ({ ...misfit, always: misfit.always && hopeless })));
  const count = readers.length;
  return (cursor) => readers[branchIndex(cursor, count)]!(cursor);
}

function branchProblem({ type, logical, label }: Named, name: string, column: Column): ColumnMisfit | null {
  if (type.typeName === 'null') return column.nullable ? null : maybeNull(name);
  return readerOf(type, logical, column) === null ? wrongType(name, column.type, label) : null;
}

function branchReader(branch: Named, name: string, column: Column, misfits: ColumnMisfit[]): Read {
  const problem = branchProblem(branch, name, column);
  if (problem !== null) misfits.push(problem);
  // A null is the column readers' to refuse: they say so for every format alike.
  if (branch.type.typeName === 'null') return readNull;
  const read = readerOf(branch.type, branch.logical, column);
  if (read !== null) return read;
  const misfit = new MisfitValue(problem!);
  return () => {
    throw misfit;
  };
}

/** How values of a type become those of a column; null: they do not. */
function readerOf(type: Type, logical: string | null, { type: columnType }: Column): Read | null {
  const { typeName } = type;
  switch (columnType) {
    case 'string':
      if (typeName === 'string') return readText;
      if (typeName === 'enum') return symbolReader((type as types.EnumType).symbols);
      // Avro lets a reader take bytes for text; a decimal's bytes are none.
      return typeName === 'bytes' && logical === null ? readText : null;
    case 'boolean':
      return typeName === 'boolean' ? readBoolean : null;
    case 'double':
      if (typeName === 'double') return readDouble;
      if (typeName === 'float') return readFloat;
      return isInteger(typeName) && logical === null ? readRounded : null;
    case 'integer':
      // Rounded: the column refuses what is not exact, and says what to do.
      return isInteger(typeName) ? readRounded : null;
    case 'long':
      return isInteger(typeName) ? readLong : null;
    case 'timestamp':
      if (typeName === 'string') return readText;
      return isInteger(typeName) ? timestampReader(logical) : null;
  }
}

const isInteger = (typeName: string): boolean => typeName === 'int' || typeName === 'long';

function timestampReader(logical: string | null): Read | null {
  switch (logical) {
    case null:
    case 'timestamp-millis':
      return readRounded;
    // To the millisecond at or before: an event must not move into a window that had not begun.
    case 'timestamp-micros':
      return (cursor) => floorDivided(readLong(cursor), 1_000);
    case 'timestamp-nanos':
      return (cursor) => floorDivided(readLong(cursor), 1_000_000);
    default:
      // Local times name no moment, dates and times of day even less.
      return null;
  }
}

function floorDivided(value: number | bigint, by: number): number {
  if (typeof value === 'number') return Math.floor(value / by);
  // Division of bigints truncates towards zero; times before 1970 are refused later, so no floor is needed.
  return Number(value / BigInt(by));
}

const readNull: Read = () => null;

function readLong(cursor: ByteCursor): number | bigint {
  cursor.varint();
  cursor.unzigzag();
  return signed64(cursor.low, cursor.high);
}

const readRounded: Read = (cursor) => Number(readLong(cursor));
const readDouble: Read = (cursor) => cursor.double();
const readFloat: Read = (cursor) => cursor.float();

function readLength(cursor: ByteCursor): number {
  cursor.varint();
  cursor.unzigzag();
  return cursor.length();
}

const readText: Read = (cursor) => cursor.text(readLength(cursor));

const readBoolean: Read = (cursor) => {
  const byte = cursor.byte();
  if (byte > 1) cursor.fail();
  return byte === 1;
};

function symbolReader(symbols: readonly string[]): Read {
  return (cursor) => symbols[branchIndex(cursor, symbols.length)];
}

const skipVarint: Skip = (cursor) => cursor.varint();
const skipText: Skip = (cursor) => cursor.skip(readLength(cursor));

/**
 * Moves past a value. Types that contain themselves are why skippers are made when first needed.
 * @param made skippers of the records on the way here
 */
function skipperOf(type: Type, made: Map<Type, Skip> = new Map()): Skip {
  const { type: bare } = named(type);
  if (isUnion(bare)) {
    const skippers = bare.types.map((branch) => skipperOf(branch, made));
    return (cursor) => skippers[branchIndex(cursor, skippers.length)]!(cursor);
  }
  switch (bare.typeName) {
    case 'null':
      return () => {};
    case 'boolean':
      return (cursor) => cursor.skip(1);
    case 'int':
    case 'long':
    case 'enum':
      return skipVarint;
    case 'float':
      return (cursor) => cursor.skip(4);
    case 'double':
      return (cursor) => cursor.skip(8);
    case 'bytes':
    case 'string':
      return skipText;
    case 'fixed': {
      const { size } = bare as types.FixedType;
      return (cursor) => cursor.skip(size);
    }
    case 'array':
      return blockSkipper((bare as types.ArrayType).itemsType, made, null);
    case 'map':
      return blockSkipper((bare as types.MapType).valuesType as Type, made, skipText);
    case 'record':
    case 'error': {
      const known = made.get(bare);
      if (known !== undefined) return known;
      let skippers: readonly Skip[] = [];
      const skip: Skip = (cursor) => {
        for (const next of skippers) next(cursor);
      };
      made.set(bare, skip);
      skippers = (bare as types.RecordType).fields.map((field) => skipperOf(field.type, made));
      return skip;
    }
    default:
      throw new UnusableSchemaError(`has a type ${bare.typeName}, which is not known`);
  }
}

/** Arrays and maps: blocks of items until an empty one; a negative count is followed by the block's bytes. */
function blockSkipper(items: Type, made: Map<Type, Skip>, skipKey: Skip | null): Skip {
  const skipItem = skipperOf(items, made);
  return (cursor) => {
    for (;;) {
      const count = readLong(cursor);
      if (count === 0) return;
      if (count < 0) {
        cursor.skip(readLength(cursor));
        continue;
      }
      for (let i = 0; i < count; i++) {
        const before = cursor.position;
        skipKey?.(cursor);
        skipItem(cursor);
        // Items without bytes are all alike: a count of 2^60 nulls must not take as many steps.
        if (cursor.position === before) break;
      }
    }
  };
}
