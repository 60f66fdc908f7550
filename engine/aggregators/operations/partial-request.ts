import type { ColumnNeed, PartialRequest } from '../partial-aggregate.ts';

function requestPartial(
  kind: string,
  column: string | null,
  need: ColumnNeed,
  params: readonly number[],
): PartialRequest {
  if (column === null) throw new TypeError(`${kind} needs a column`);
  return { kind, column, need, params };
}

/** A partial over the values of a column. @throws TypeError without a column (the compiler checks first) */
export function ofValues(
  kind: string,
  column: string | null,
  params: readonly number[] = [],
): PartialRequest {
  return requestPartial(kind, column, 'value', params);
}

/** A partial over all rows, or over those with a value in a column. */
export function ofRowsOrValues(
  kind: string,
  column: string | null,
  params: readonly number[] = [],
): PartialRequest {
  return { kind, column, need: 'value', params };
}

/** A partial over the values of a column, in the order of another. @throws TypeError without either */
export function ofOrderedValues(
  kind: string,
  column: string | null,
  orderBy: string | undefined,
  params: readonly number[],
): PartialRequest {
  if (orderBy === undefined) throw new TypeError(`${kind} needs a column to order by`);
  return { ...requestPartial(kind, column, 'value', params), orderBy };
}

/** A partial over the 53-bit hashes of a column's values. @throws TypeError without a column */
export function ofHashes(
  kind: string,
  column: string | null,
  params: readonly number[] = [],
): PartialRequest {
  return requestPartial(kind, column, 'hash', params);
}
