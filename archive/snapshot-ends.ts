/** What a snapshot of a source says before anything is read: which source it is of, and where its log ended then. */
import { randomBytes } from 'node:crypto';
import { dirname } from 'node:path';
import { z } from 'zod';
import type { StreamSource } from '../engine/definitions/types.ts';
import type { LogEnds } from '../ingest/log/event-log.ts';
import type { Archive } from './archive.ts';
import { archiveColumns, columnsFingerprint } from './archive-columns.ts';
import { snapshotPath } from './archive-layout.ts';

/** What is there cannot be gone on with, or the log is another one. Never retryable. */
export class SnapshotError extends Error {
  override readonly name = 'SnapshotError';
}

const FORMAT = 1;
const offset = z.int().min(0);

const SCHEMA = z.object({
  format: z.literal(FORMAT),
  source: z.string(),
  columns: z.string(),
  partitions: z.array(z.object({ startOffset: offset, endOffset: offset })),
});

/**
 * Ends by partition; null: no snapshot of the source was begun there.
 * @throws {SnapshotError} where it is of other columns, or of another version
 * @throws {ArchiveColumnsError}
 */
export async function readSnapshotEnds(
  { files, directory }: Archive,
  source: StreamSource,
): Promise<readonly LogEnds[] | null> {
  const path = snapshotPath(directory, source.name);
  const written = await files.read(path);
  if (written === null) return null;
  const fingerprint = columnsFingerprint(archiveColumns(source));
  const parsed = SCHEMA.safeParse(json(written));
  if (!parsed.success) {
    throw new SnapshotError(
      `${path} is not of a snapshot that this version can read: remove ${directory}, and begin anew`,
    );
  }
  if (parsed.data.source !== source.name || parsed.data.columns !== fingerprint) {
    throw new SnapshotError(
      `the snapshot in ${directory} is of a source ${parsed.data.source} with other columns: remove it, and begin anew`,
    );
  }
  return parsed.data.partitions;
}

/** Does nothing where another process was first: its ends count. */
export async function writeSnapshotEnds(
  archive: Archive,
  source: StreamSource,
  partitions: readonly LogEnds[],
): Promise<void> {
  const { files, directory } = archive;
  const columns = columnsFingerprint(archiveColumns(source));
  const path = snapshotPath(directory, source.name);
  await archive.makeDirectory();
  await files.makeDirectory(dirname(path), directory);
  const part = `${path}.${randomBytes(8).toString('hex')}`;
  const ends = partitions.map(({ startOffset, endOffset }) => ({ startOffset, endOffset }));
  await files.write(
    part,
    `${JSON.stringify({ format: FORMAT, source: source.name, columns, partitions: ends })}\n`,
  );
  await files.link(part, path);
  await files.remove(part);
  await files.flush(dirname(path));
}

function json(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
