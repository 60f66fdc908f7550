/** The columns of a source's files: those it declares, and where each row was in the log. */
import { createHash } from 'node:crypto';
import type { ColumnType } from '../engine/aggregators/partial-aggregate.ts';
import type { StreamSource } from '../engine/definitions/types.ts';

/** As DuckDB names the types; README.md has what they are in Parquet. */
export type StoredType = 'VARCHAR' | 'BIGINT' | 'DOUBLE' | 'BOOLEAN' | 'TIMESTAMPTZ' | 'INTEGER';

export const STORED_TYPES: Readonly<Record<ColumnType, StoredType>> = {
  string: 'VARCHAR',
  integer: 'BIGINT',
  long: 'BIGINT',
  double: 'DOUBLE',
  boolean: 'BOOLEAN',
  timestamp: 'TIMESTAMPTZ',
};

/** Behind the declared columns, in this order. */
export const POSITION_COLUMNS = {
  _partition: 'INTEGER',
  _offset: 'BIGINT',
  _appended_at: 'TIMESTAMPTZ',
  _stamp: 'VARCHAR',
  _origin_offset: 'BIGINT',
} as const satisfies Readonly<Record<string, StoredType>>;

/** What readers take from the path, in place of what a file holds under these names. */
export const PATH_COLUMNS = ['source', 'day'] as const;

export interface ArchiveColumn {
  readonly name: string;
  readonly type: StoredType;
}

/** A source cannot be archived: its columns have names that readers of the archive would take for something else. */
export class ArchiveColumnsError extends Error {
  override readonly name = 'ArchiveColumnsError';

  /** @param problem without advice */
  constructor(readonly problem: string) {
    super(`${problem}. Rename it, or do without --archive`);
  }
}

/**
 * All columns, the declared ones first.
 * @throws {ArchiveColumnsError}
 */
export function archiveColumns({ name: source, columns }: StreamSource): readonly ArchiveColumn[] {
  const declared = Object.entries(columns).map(([name, { type }]) => ({ name, type: STORED_TYPES[type] }));
  const own = Object.entries(POSITION_COLUMNS).map(([name, type]) => ({ name, type }));
  const taken = new Map<string, string>();
  for (const name of [...own.map(({ name }) => name), ...PATH_COLUMNS])
    taken.set(name, 'a column of the archive');
  for (const { name } of declared) {
    // Most engines compare names of columns without regard to case.
    const other = taken.get(name.toLowerCase());
    if (other !== undefined) {
      throw new ArchiveColumnsError(
        `source ${source} cannot be archived: its column '${name}' has the name of ${other}`,
      );
    }
    taken.set(name.toLowerCase(), `its column '${name}' but for the case`);
  }
  return [...declared, ...own];
}

/** 16 hex digits: the same for the same names and types in the same order. */
export function columnsFingerprint(columns: readonly ArchiveColumn[]): string {
  const text = JSON.stringify(columns.map(({ name, type }) => [name, type]));
  return createHash('sha256').update(text).digest('hex').slice(0, 16);
}
