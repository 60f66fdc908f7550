import type { ColumnType } from '../partial-aggregate.ts';

export const ANY_TYPE: readonly ColumnType[] = [
  'string',
  'integer',
  'long',
  'double',
  'boolean',
  'timestamp',
];

/** What can be added up. */
export const NUMERIC_TYPES: readonly ColumnType[] = ['integer', 'long', 'double'];

/** What has a least and a greatest value. */
export const ORDERED_TYPES: readonly ColumnType[] = ['integer', 'long', 'double', 'timestamp'];
