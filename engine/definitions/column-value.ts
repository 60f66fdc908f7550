/** What each column type admits: one reader per type, used for JSON events, request data and projections. */
import type { ColumnType, ColumnValue } from '../aggregators/partial-aggregate.ts';
import { type RowFailure, rowFailure } from './row-error.ts';
import { parseTimestampMs, TIMESTAMP_EXPECTED, TIMESTAMP_LIMIT_MS } from './timestamp.ts';
import { isWellFormed } from './well-formed.ts';

export const COLUMN_TYPES: readonly ColumnType[] = [
  'string',
  'integer',
  'long',
  'double',
  'boolean',
  'timestamp',
];

/** So that squares and sums over any window stay finite. */
export const DOUBLE_MAX = 1e140;
/** UTF-16 code units of a text: what is kept of an event and of a tile has to have an end. */
export const TEXT_LENGTH_MAX = 8_192;
export const LONG_MIN = -(2n ** 63n);
export const LONG_MAX = 2n ** 63n - 1n;

/** The normal form of a value, or why it is none. `null` is never passed in. */
export type ValueReader = (value: unknown) => ColumnValue | RowFailure;

const LONG_PATTERN = /^-?(0|[1-9][0-9]{0,18})$/;

/** A 64-bit integer: a number where safe, otherwise a bigint; null where the text or value is none. */
export function normalLong(value: bigint): number | bigint | null {
  if (value < LONG_MIN || value > LONG_MAX) return null;
  const asNumber = Number(value);
  return Number.isSafeInteger(asNumber) ? asNumber : value;
}

/** Decimal text within 64 bits; undefined: not an integer; null: out of range. */
export function parseLong(text: string): number | bigint | null | undefined {
  // '-0', like the number −0, is 0.
  return LONG_PATTERN.test(text)
    ? normalLong(BigInt(text))
    : /^-?[0-9]+$/.test(text) && !/^-?0/.test(text)
      ? null
      : undefined;
}

/** Failures of one column; `subject` begins the message, e.g. `column 'amount'`. */
export function valueReader(type: ColumnType, column: string, subject = `column '${column}'`): ValueReader {
  const failure = (code: RowFailure['code'], expected: string) =>
    rowFailure(code, column, `${subject} must be ${expected}`);
  switch (type) {
    case 'string': {
      const wrongType = failure('wrong_type', 'a string');
      const invalidText = failure('invalid_text', 'well-formed Unicode: it has a lone surrogate');
      const tooLong = failure('text_too_long', `at most ${TEXT_LENGTH_MAX} characters (UTF-16 code units)`);
      return (value) => {
        if (typeof value !== 'string') return wrongType;
        if (value.length > TEXT_LENGTH_MAX) return tooLong;
        return isWellFormed(value) ? value : invalidText;
      };
    }
    case 'integer': {
      const wrongType = failure('wrong_type', 'an integer');
      const outOfRange = failure(
        'integer_out_of_range',
        'an integer within ±(2^53 − 1); for 64-bit integers declare the column as long and send a string of digits',
      );
      return (value) => {
        if (typeof value !== 'number') return wrongType;
        if (Number.isSafeInteger(value)) return value + 0; // −0 + 0 = 0
        return Number.isInteger(value) ? outOfRange : wrongType;
      };
    }
    case 'long': {
      const wrongType = failure('wrong_type', 'a 64-bit integer, as a number or a string of digits');
      const unsafe = failure(
        'integer_out_of_range',
        'within ±(2^53 − 1) when sent as a JSON number, or it would be rounded: send a string of digits instead',
      );
      const outOfRange = failure('integer_out_of_range', 'within −2^63 to 2^63 − 1');
      return (value) => {
        if (typeof value === 'number') {
          if (Number.isSafeInteger(value)) return value + 0;
          return Number.isInteger(value) ? unsafe : wrongType;
        }
        if (typeof value === 'bigint') return normalLong(value) ?? outOfRange;
        if (typeof value !== 'string') return wrongType;
        const parsed = parseLong(value);
        return parsed === undefined ? wrongType : (parsed ?? outOfRange);
      };
    }
    case 'double': {
      const wrongType = failure('wrong_type', 'a number');
      const outOfRange = failure('number_out_of_range', 'a finite number within ±1e140');
      return (value) => {
        if (typeof value !== 'number') return wrongType;
        return value >= -DOUBLE_MAX && value <= DOUBLE_MAX ? value + 0 : outOfRange;
      };
    }
    case 'boolean': {
      const wrongType = failure('wrong_type', 'true or false');
      return (value) => (typeof value === 'boolean' ? value : wrongType);
    }
    case 'timestamp': {
      const wrongType = failure('wrong_type', `${TIMESTAMP_EXPECTED}, or milliseconds since the epoch`);
      const invalid = failure(
        'invalid_timestamp',
        `${TIMESTAMP_EXPECTED}, or whole milliseconds since the epoch`,
      );
      const outOfRange = failure('timestamp_out_of_range', 'a time from 1970 to the year 3084');
      return (value) => {
        let timeMs: number | null;
        if (typeof value === 'number') timeMs = Number.isInteger(value) ? value : null;
        else if (typeof value === 'string') timeMs = parseTimestampMs(value);
        else return wrongType;
        if (timeMs === null) return invalid;
        return timeMs >= 0 && timeMs < TIMESTAMP_LIMIT_MS ? timeMs + 0 : outOfRange;
      };
    }
  }
}

export function isFailure(value: ColumnValue | RowFailure): value is RowFailure {
  return typeof value === 'object' && value !== null;
}
