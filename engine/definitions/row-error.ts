/**
 * Why an event cannot be decoded. A failure is made once per column and reused: it names the column and what
 * was expected, never the value, which may be personal data.
 */

/** The catalogue of row error codes. */
export const ROW_ERRORS = [
  {
    code: 'not_an_object',
    meaning: 'The event is not a JSON object, or the CSV record not a list of fields.',
  },
  { code: 'missing_value', meaning: 'A column that is not nullable is null or left out.' },
  { code: 'wrong_type', meaning: 'The value is not of the type of the column.' },
  {
    code: 'integer_out_of_range',
    meaning:
      'An integer is beyond ±(2⁵³ − 1) as a JSON number, or a long is beyond 64 bits. Longs beyond 2⁵³ are sent as decimal strings.',
  },
  { code: 'number_out_of_range', meaning: 'A double is not finite or |v| > 1e140.' },
  {
    code: 'invalid_timestamp',
    meaning: 'The text is not an ISO 8601 time with a zone, or the number is not whole.',
  },
  { code: 'timestamp_out_of_range', meaning: 'The time is before 1970 or after the year 3084.' },
  { code: 'invalid_text', meaning: 'The text is not well-formed Unicode (it has a lone surrogate).' },
  { code: 'text_too_long', meaning: 'A text is longer than 8192 characters (UTF-16 code units).' },
  { code: 'key_too_long', meaning: 'The value of an entity key column is longer than 1024 bytes of UTF-8.' },
] as const satisfies readonly { readonly code: string; readonly meaning: string }[];

export type RowErrorCode = (typeof ROW_ERRORS)[number]['code'];

export interface RowFailure {
  readonly ok: false;
  readonly code: RowErrorCode;
  /** null where no single column is to blame. */
  readonly column: string | null;
  readonly message: string;
}

export function rowFailure(code: RowErrorCode, column: string | null, message: string): RowFailure {
  return Object.freeze({ ok: false, code, column, message });
}
