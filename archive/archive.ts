/** What the archives of all partitions of a process share: the directory, the writer, and the room for rows that wait. */
import type { StreamSource } from '../engine/definitions/types.ts';
import { archiveColumns } from './archive-columns.ts';
import { ARCHIVE_FILES, type ArchiveFiles } from './archive-files.ts';
import { ParquetWriter } from './duckdb.ts';

export interface ArchiveSettings {
  /** Created if missing. Any number of processes may share it. */
  readonly directory: string;
  /** How long rows wait at most before they are committed, ms of wall time. @default 5 min */
  readonly everyMs?: number;
  /** Of the process, for the footers of files. @default unknown */
  readonly version?: string;
}

export interface ArchiveLimits {
  /** Of rows that wait, by the size of their records and 16 bytes a column: for all partitions, and for one. */
  readonly totalBytes: number;
  readonly partitionBytes: number;
  /** Of one partition. */
  readonly rows: number;
  /** Kept of one partition. */
  readonly commits: number;
}

export const ARCHIVE_LIMITS: ArchiveLimits = {
  totalBytes: 64 * 1024 * 1024,
  partitionBytes: 32 * 1024 * 1024,
  rows: 250_000,
  commits: 64,
};

export const DEFAULT_ARCHIVE_EVERY_MS = 300_000;

export class Archive {
  readonly directory: string;
  readonly everyMs: number;
  readonly version: string;
  readonly files: ArchiveFiles;
  readonly limits: ArchiveLimits;
  readonly writer = new ParquetWriter();
  #partitions = 0;

  /** @param parts for tests */
  constructor(
    settings: ArchiveSettings,
    parts: { readonly files?: ArchiveFiles; readonly limits?: Partial<ArchiveLimits> } = {},
  ) {
    this.directory = settings.directory;
    this.everyMs = settings.everyMs ?? DEFAULT_ARCHIVE_EVERY_MS;
    this.version = settings.version ?? 'unknown';
    this.files = parts.files ?? ARCHIVE_FILES;
    this.limits = { ...ARCHIVE_LIMITS, ...parts.limits };
  }

  /** @throws {ArchiveColumnsError} where one of the sources cannot be archived */
  check(sources: Iterable<{ readonly definition: StreamSource }>): void {
    for (const { definition } of sources) archiveColumns(definition);
  }

  /** Bytes of rows that may wait in one partition. */
  get share(): number {
    const { totalBytes, partitionBytes } = this.limits;
    return Math.min(partitionBytes, Math.floor(totalBytes / Math.max(1, this.#partitions)));
  }

  /** A partition begins to gather rows. @returns to be called when it ends */
  enter(): () => void {
    this.#partitions++;
    let left = false;
    return () => {
      if (!left) this.#partitions--;
      left = true;
    };
  }

  async makeDirectory(): Promise<void> {
    await this.files.makeDirectory(this.directory, this.directory);
  }

  /** Behind all partitions. */
  close(): Promise<void> {
    return this.writer.close();
  }
}
