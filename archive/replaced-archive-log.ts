/** What shows that a partition's log is not the one its archive was filled from: going on would mix two histories. */
import { isSameRecord } from '../ingest/last-record.ts';
import type { LogReader } from '../ingest/log/event-log.ts';
import { PartitionStoppedError } from '../ingest/partition-stopped.ts';
import { recordFrom } from '../ingest/single-record.ts';
import type { CommitRecord } from './commit-record.ts';

/** Somebody has to decide which history goes on. Never retryable. */
export class ArchiveReplacedLogError extends PartitionStoppedError {
  override readonly name = 'ArchiveReplacedLogError';
}

/** @throws {ArchiveReplacedLogError} */
export async function checkArchivedLog(log: LogReader, commit: CommitRecord): Promise<void> {
  const { source, partition, toOffset, last } = commit;
  const refuse = (what: string): never => {
    throw new ArchiveReplacedLogError(
      `the log of source ${source}, partition ${partition}, ${what}. Restore it; or archive into another directory (--archive)`,
    );
  };
  if ((await log.identity(partition)) !== commit.logIdentity) {
    refuse('is not the one that the archive was filled from');
  }
  // Read after the commit: another owner may have moved both.
  const { startOffset, endOffset } = await log.ends(partition);
  if (toOffset > endOffset) {
    refuse(`ends at ${endOffset} but was archived up to ${toOffset}: it lost records or is another log`);
  }
  if (toOffset <= startOffset || last.appendedMs < 0) return;
  const found = await recordFrom(log, partition, toOffset - 1);
  if (found === null)
    throw new Error(`the record archived last, at offset ${toOffset - 1}, could not be read`);
  if (found === undefined || found.offset !== toOffset - 1 || isSameRecord(found, last)) return;
  refuse(
    `holds another record at offset ${toOffset - 1} than the one archived: it was deleted and made again`,
  );
}
