/** How far the archive of a source has come, for whoever reads it. */
import { ARCHIVE_FILES } from './archive-files.ts';
import { archivedPartitions } from './archive-layout.ts';
import type { CommitRecord } from './commit-record.ts';
import { PartitionCommits } from './partition-commits.ts';

/** Fewer are never kept. */
const KEPT = 64;

/**
 * The last commit of each partition, published: files that are listed afterwards hold all of it. By partition number; empty:
 * the folder is no archive, or has nothing of the source.
 * @throws where a commit cannot be read, or be published
 */
export async function archivePositions(
  root: string,
  source: string,
): Promise<ReadonlyMap<number, Pick<CommitRecord, 'toOffset' | 'logIdentity' | 'gaps'>>> {
  const positions = new Map<number, CommitRecord>();
  for (const name of await ARCHIVE_FILES.list(archivedPartitions(root, source))) {
    const partition = Number(name);
    if (!Number.isInteger(partition)) continue;
    const commits = new PartitionCommits({ files: ARCHIVE_FILES, root, source, partition, kept: KEPT });
    const last = await commits.last();
    if (last !== null) positions.set(partition, last);
  }
  return positions;
}
