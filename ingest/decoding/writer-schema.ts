/** What the formats have in common: a writer's schema, compiled for the columns of one source. */
import type { ColumnType } from '../../engine/aggregators/partial-aggregate.ts';
import type { Decoded } from './record-decoder.ts';

/** Why records of a schema cannot fill a column. */
export interface ColumnMisfit {
  readonly column: string;
  /** Completes the sentence `column 'x' …`. */
  readonly problem: string;
  /** False: only some values are refused, such as a null that the schema allows and the column does not. */
  readonly always: boolean;
}

export interface WriterSchema {
  /** Reads a value from `start`, behind the schema id, to its end. Never throws for what the bytes hold. */
  decode(value: Buffer, start: number): Decoded;
  /** What the source's columns will not find in records of this schema. */
  readonly misfits: readonly ColumnMisfit[];
}

/** The schema is of a kind, or has parts, that this version cannot read. Never retryable. */
export class UnusableSchemaError extends Error {
  override readonly name = 'UnusableSchemaError';
}

/** Thrown by readers where a value's type does not fit its column: its record breaks the schema. */
export class MisfitValue extends Error {
  override readonly name = 'MisfitValue';
  readonly refusal: Extract<Decoded, { ok: false }>;

  constructor(misfit: ColumnMisfit) {
    const message = misfitMessage(misfit);
    super(message);
    this.refusal = { ok: false, reason: 'breaks_schema', message };
  }
}

export const misfitMessage = ({ column, problem }: ColumnMisfit): string => `column '${column}' ${problem}`;

/** `must be …`, as the messages of the column readers have it. */
export const EXPECTED: Readonly<Record<ColumnType, string>> = {
  string: 'a string',
  integer: 'an integer',
  long: 'a 64-bit integer',
  double: 'a number',
  boolean: 'a boolean',
  timestamp: 'a time',
};

export function wrongType(column: string, type: ColumnType, found: string): ColumnMisfit {
  return {
    column,
    problem: `must be ${EXPECTED[type]}; in the writer's schema it is ${found}`,
    always: true,
  };
}

export function maybeNull(column: string): ColumnMisfit {
  return { column, problem: "is not nullable; in the writer's schema it may be null", always: false };
}

export function notInSchema(column: string): ColumnMisfit {
  return { column, problem: "is not nullable and not in the writer's schema", always: true };
}
