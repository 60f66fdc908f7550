import { expect, test } from 'vitest';
import { integer, string, timestamp } from '../engine/definitions/column.ts';
import { streamSource } from '../engine/definitions/stream-source.ts';
import type { Columns } from '../engine/definitions/types.ts';
import { ArchiveColumnsError, archiveColumns, columnsFingerprint } from './archive-columns.ts';

const columnsOf = (columns: Columns) =>
  // The types know no columns made at run time.
  archiveColumns(
    streamSource({ name: 's', columns: { at: timestamp(), ...columns }, eventTime: 'at' as never }),
  );

test.each([
  '_partition',
  '_offset',
  '_appended_at',
  '_stamp',
  '_origin_offset',
  'source',
  'day',
  'Day',
  '_OFFSET',
])('a source with a column %s is refused', (name) => {
  expect(() => columnsOf({ [name]: string() })).toThrow(ArchiveColumnsError);
  expect(() => columnsOf({ [name]: string() })).toThrow(
    `source s cannot be archived: its column '${name}' has the name of a column of the archive`,
  );
});

test('so is one with two columns that differ only in case', () => {
  expect(() => columnsOf({ amount: integer(), Amount: integer() })).toThrow(
    "its column 'Amount' has the name of its column 'amount' but for the case",
  );
});

test('the fingerprint tells names, types and their order apart', () => {
  const fingerprints = [
    columnsOf({ a: integer(), b: string() }),
    columnsOf({ b: string(), a: integer() }),
    columnsOf({ a: string(), b: string() }),
    columnsOf({ a: integer() }),
  ].map(columnsFingerprint);
  expect(new Set(fingerprints).size).toBe(4);
  expect(columnsFingerprint(columnsOf({ a: integer(), b: string() }))).toBe(fingerprints[0]);
});
