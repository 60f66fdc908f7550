/**
 * A column of a file as a column of a declared type, in SQL: the rules of `decode-event.ts` (JSON), `decode-csv.ts` and, for
 * files whose columns have types, what loses nothing. `typed-column.test.ts` holds it against the decoders.
 *
 * Types in DuckDB: `string` VARCHAR, `integer` and `long` BIGINT, `double` DOUBLE, `boolean` BOOLEAN, `timestamp` BIGINT, ms.
 */
import type { ColumnType } from '../engine/aggregators/partial-aggregate.ts';
import { DOUBLE_MAX, TEXT_LENGTH_MAX } from '../engine/definitions/column-value.ts';
import { TIMESTAMP_LIMIT_MS } from '../engine/definitions/timestamp.ts';
import type { Column } from '../engine/definitions/types.ts';

/** How a file has its values: texts of CSV, values of JSON, or columns with a type of DuckDB's. */
export type FileColumnKind = 'csv' | 'json' | { readonly type: string };

export interface TypedColumn {
  /** The value; null where there is none, and where it cannot be used. */
  readonly value: string;
  /** True where the row cannot be used for it; never null. */
  readonly invalid: string;
}

const SAFE_MAX = Number.MAX_SAFE_INTEGER;

/** What a value must be, for messages. */
export const EXPECTED: Readonly<Record<ColumnType, string>> = {
  string: `a text of at most ${TEXT_LENGTH_MAX.toLocaleString('en-US')} characters`,
  integer: 'an integer within ±(2⁵³ − 1)',
  long: 'a 64-bit integer (in JSON beyond 2⁵³ as a text)',
  double: 'a number within ±1e140',
  boolean: 'true or false',
  timestamp: 'a time (ISO 8601 with a zone, or ms since 1970)',
};

/** DuckDB's types of the declared ones. */
export const SQL_TYPES: Readonly<Record<ColumnType, string>> = {
  string: 'VARCHAR',
  integer: 'BIGINT',
  long: 'BIGINT',
  double: 'DOUBLE',
  boolean: 'BOOLEAN',
  timestamp: 'BIGINT',
};

/**
 * @param x the file's column as SQL
 * @returns null where values of that type of the file cannot stand for the declared one
 */
export function typedColumn({ type, nullable }: Column, x: string, kind: FileColumnKind): TypedColumn | null {
  if (kind === 'csv') {
    // An empty field is read as null. Of a required text it is the empty text.
    if (type === 'string' && !nullable)
      return checked(`coalesce(${x}, '')`, 'false', textFits(`coalesce(${x}, '')`));
    return withNulls(CSV[type](x), `${x} IS NULL`, nullable);
  }
  if (kind === 'json') {
    const isNull = `(${x} IS NULL OR json_type(${x}) = 'NULL')`;
    return withNulls(JSON_VALUES[type](x), isNull, nullable);
  }
  const typed = ofType(type, x, kind.type);
  if (typed === null) return null;
  // Where numbers are missing, pandas writes NaN.
  const isNull = FLOATS.test(kind.type) ? `(${x} IS NULL OR isnan(${x}))` : `${x} IS NULL`;
  return withNulls(typed, isNull, nullable);
}

/** A value that is not null, and whether it fits; `fits` may be null, which is no. */
interface Typed {
  readonly value: string;
  readonly fits: string;
}

function withNulls({ value, fits }: Typed, isNull: string, nullable: boolean): TypedColumn {
  return checked(value, isNull, fits, nullable);
}

function checked(value: string, isNull: string, fits: string, nullable = true): TypedColumn {
  return {
    value: `CASE WHEN ${isNull} THEN NULL WHEN ${fits} THEN ${value} END`,
    invalid: `CASE WHEN ${isNull} THEN ${!nullable} ELSE NOT coalesce(${fits}, false) END`,
  };
}

/** UTF-16 units: characters beyond the first plane are two. Few texts are long enough for it to be counted. */
const textFits = (x: string): string =>
  `(strlen(${x}) <= ${TEXT_LENGTH_MAX} OR length(${x}) + length(regexp_replace(${x}, '[^\\x{10000}-\\x{10FFFF}]', '', 'g')) <= ${TEXT_LENGTH_MAX})`;

const matches = (x: string, pattern: string): string => `regexp_full_match(${x}, '${pattern}')`;

const INTEGER_PATTERN = '-?(0|[1-9][0-9]*)';
const LONG_PATTERN = '-?(0|[1-9][0-9]{0,18})';
const DOUBLE_PATTERN = '-?([0-9]+(\\.[0-9]*)?|\\.[0-9]+)([eE][+-]?[0-9]+)?';
const MILLISECONDS_PATTERN = '(0|[1-9][0-9]{0,15})';
const MOMENT_PATTERN =
  '[0-9]{4}-[0-9]{2}-[0-9]{2}[T ]([01][0-9]|2[0-3]):[0-9]{2}:[0-9]{2}(\\.[0-9]{1,9})?(Z|[+-]([01][0-9]|2[0-3]):?[0-5][0-9])';

const safe = (x: string): string => `(${x} BETWEEN ${-SAFE_MAX} AND ${SAFE_MAX})`;
const whole = (x: string): string => `(${x} = trunc(${x}) AND ${safe(x)})`;
const finite = (x: string): string => `(${x} BETWEEN ${-DOUBLE_MAX} AND ${DOUBLE_MAX})`;
const inTime = (x: string): string => `(${x} >= 0 AND ${x} < ${TIMESTAMP_LIMIT_MS})`;

/** Digits beyond the millisecond are cut off. */
function moment(x: string): Typed {
  const ms = `epoch_ms(TRY_CAST(${x} AS TIMESTAMP WITH TIME ZONE))`;
  return { value: ms, fits: `(${matches(x, MOMENT_PATTERN)} AND ${inTime(ms)})` };
}

/** Casts are of texts that may be anything, as nothing says in which order conditions are looked at. */
const CSV: Readonly<Record<ColumnType, (x: string) => Typed>> = {
  string: (x) => ({ value: x, fits: textFits(x) }),
  integer: (x) => {
    const value = `TRY_CAST(${x} AS BIGINT)`;
    return { value, fits: `(${matches(x, INTEGER_PATTERN)} AND ${safe(value)})` };
  },
  long: (x) => {
    const value = `TRY_CAST(${x} AS BIGINT)`;
    return { value, fits: `(${matches(x, LONG_PATTERN)} AND ${value} IS NOT NULL)` };
  },
  double: (x) => {
    const value = `TRY_CAST(${x} AS DOUBLE)`;
    return { value: `(${value} + 0)`, fits: `(${matches(x, DOUBLE_PATTERN)} AND ${finite(value)})` };
  },
  boolean: (x) => ({ value: `(${x} IN ('true', '1'))`, fits: `(${x} IN ('true', '1', 'false', '0'))` }),
  timestamp: (x) => {
    const { value, fits } = moment(x);
    const ms = `TRY_CAST(${x} AS BIGINT)`;
    return {
      value: `CASE WHEN ${matches(x, MILLISECONDS_PATTERN)} THEN ${ms} ELSE ${value} END`,
      fits: `CASE WHEN ${matches(x, MILLISECONDS_PATTERN)} THEN ${inTime(ms)} ELSE ${fits} END`,
    };
  },
};

const jsonNumber = (x: string): string => `(json_type(${x}) IN ('BIGINT', 'UBIGINT', 'DOUBLE'))`;
const jsonText = (x: string): string => `(json_type(${x}) = 'VARCHAR')`;

const JSON_VALUES: Readonly<Record<ColumnType, (x: string) => Typed>> = {
  string: (x) => {
    const value = `(${x} ->> '$')`;
    return { value, fits: `(${jsonText(x)} AND ${textFits(value)})` };
  },
  integer: (x) => {
    const value = `TRY_CAST(${x} AS DOUBLE)`;
    return { value: `CAST(${value} AS BIGINT)`, fits: `(${jsonNumber(x)} AND ${whole(value)})` };
  },
  long: (x) => {
    const number = `TRY_CAST(${x} AS DOUBLE)`;
    const ofText = CSV.long(`(${x} ->> '$')`);
    return {
      value: `CASE WHEN ${jsonText(x)} THEN ${ofText.value} ELSE CAST(${number} AS BIGINT) END`,
      fits: `CASE WHEN ${jsonText(x)} THEN ${ofText.fits} ELSE ${jsonNumber(x)} AND ${whole(number)} END`,
    };
  },
  double: (x) => {
    const value = `TRY_CAST(${x} AS DOUBLE)`;
    return { value: `(${value} + 0)`, fits: `(${jsonNumber(x)} AND ${finite(value)})` };
  },
  boolean: (x) => ({ value: `TRY_CAST(${x} AS BOOLEAN)`, fits: `(json_type(${x}) = 'BOOLEAN')` }),
  timestamp: (x) => {
    const number = `TRY_CAST(${x} AS DOUBLE)`;
    const ofText = moment(`(${x} ->> '$')`);
    return {
      value: `CASE WHEN ${jsonText(x)} THEN ${ofText.value} ELSE CAST(${number} AS BIGINT) END`,
      fits: `CASE WHEN ${jsonText(x)} THEN ${ofText.fits} ELSE ${jsonNumber(x)} AND ${whole(number)} AND ${inTime(number)} END`,
    };
  },
};

const INTEGERS = /^U?(TINYINT|SMALLINT|INTEGER|BIGINT|HUGEINT)$/;
const FLOATS = /^(FLOAT|DOUBLE)$/;
const DECIMALS = /^DECIMAL\(/;
const TIMES = /^(DATE|TIMESTAMP(_S|_MS|_NS)?|TIMESTAMP WITH TIME ZONE)$/;
const TEXTS = /^(VARCHAR|UUID|ENUM\()/;

/** A number of the file as an integer of 64 bits. */
function integerOf(x: string, fileType: string, fits: (x: string) => string): Typed | null {
  if (INTEGERS.test(fileType)) return { value: `TRY_CAST(${x} AS BIGINT)`, fits: fits(x) };
  // Pandas makes doubles of integers where some are missing.
  if (FLOATS.test(fileType) || DECIMALS.test(fileType)) {
    return { value: `TRY_CAST(${x} AS BIGINT)`, fits: `(${x} = trunc(${x}) AND ${safe(x)})` };
  }
  return null;
}

function ofType(type: ColumnType, x: string, fileType: string): Typed | null {
  switch (type) {
    case 'string': {
      const value = fileType === 'VARCHAR' ? x : `CAST(${x} AS VARCHAR)`;
      return TEXTS.test(fileType) ? { value, fits: textFits(value) } : null;
    }
    case 'integer':
      return integerOf(x, fileType, safe);
    case 'long':
      return integerOf(x, fileType, (integer) => `(TRY_CAST(${integer} AS BIGINT) IS NOT NULL)`);
    case 'double': {
      if (!INTEGERS.test(fileType) && !FLOATS.test(fileType) && !DECIMALS.test(fileType)) return null;
      const value = `CAST(${x} AS DOUBLE)`;
      return { value: `(${value} + 0)`, fits: finite(value) };
    }
    case 'boolean':
      return fileType === 'BOOLEAN' ? { value: x, fits: 'true' } : null;
    case 'timestamp': {
      if (TIMES.test(fileType)) {
        // Without a zone it is UTC.
        const ms =
          fileType === 'TIMESTAMP WITH TIME ZONE'
            ? `epoch_ms(${x})`
            : fileType === 'TIMESTAMP_NS'
              ? `(epoch_ns(${x}) // 1000000)`
              : `epoch_ms(CAST(${x} AS TIMESTAMP))`;
        return { value: ms, fits: inTime(ms) };
      }
      if (fileType === 'VARCHAR') return moment(x);
      const integer = integerOf(x, fileType, safe);
      return integer === null ? null : { value: integer.value, fits: `(${integer.fits} AND ${inTime(x)})` };
    }
  }
}
