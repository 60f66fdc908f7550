/** What a commit of the archive says, as JSON: which offsets it covers, in which files, and where the archive goes on. */
import { z } from 'zod';
import type { LogGap } from '../engine/store/log-gap.ts';
import { DEAD_LETTER_REASONS, type DeadLetterReason } from '../ingest/dead-letter.ts';
import type { LastRecord } from '../ingest/last-record.ts';

export interface CommittedFile {
  /** `YYYY-MM-DD`, UTC. */
  readonly day: string;
  /** Within the day's directory. */
  readonly name: string;
  readonly rows: number;
  readonly bytes: number;
}

export interface CommitRecord {
  readonly source: string;
  readonly partition: number;
  /** Where the commit before it ends. */
  readonly fromOffset: number;
  /** Exclusive; > `fromOffset`. */
  readonly toOffset: number;
  /** Of the attempt that made it: names its staging directory. */
  readonly token: string;
  readonly logIdentity: string;
  /** The last record below `toOffset`, as far as it is known. */
  readonly last: LastRecord;
  /** Ascending by day. Empty where nothing in the range was accepted. */
  readonly files: readonly CommittedFile[];
  /** What the log had lost before it was archived, of all commits up to this one. */
  readonly gaps: readonly LogGap[];
  /** Records that are no events of the source, by reason, of all commits up to this one. Of two owners at once, not all. */
  readonly refused: RefusedRecords;
}

/** Records by why they are no events. Reasons that none has are left out. */
export type RefusedRecords = Readonly<Partial<Record<DeadLetterReason, number>>>;

const FORMAT = 1;
const REASONS = DEAD_LETTER_REASONS.map(({ reason }) => reason);
const offset = z.int().min(0);

const SCHEMA = z.object({
  format: z.literal(FORMAT),
  source: z.string(),
  partition: z.int().min(0),
  fromOffset: offset,
  toOffset: offset,
  token: z.string().regex(/^[0-9a-f]+$/),
  logIdentity: z.string(),
  last: z.object({ appendedMs: z.number(), checksum: z.int().nullable() }),
  files: z.array(
    z.object({
      day: z.string().regex(/^\d{4}-\d\d-\d\d$/),
      name: z.string().regex(/^[0-9-]+\.parquet$/),
      rows: z.int().min(1),
      bytes: z.int().min(1),
    }),
  ),
  gaps: z.array(
    z.object({ fromOffset: offset, toOffset: offset, afterMs: z.number().nullable(), untilMs: z.number() }),
  ),
  // Commits from before they were counted have none.
  refused: z.partialRecord(z.enum(REASONS), z.int().min(1)).default({}),
});

export function commitText(record: CommitRecord): string {
  return `${JSON.stringify({ format: FORMAT, ...record })}\n`;
}

/** @throws where it is no commit, or one of another format */
export function parseCommit(text: string, path: string): CommitRecord {
  try {
    const { format: _, ...record } = SCHEMA.parse(JSON.parse(text));
    return record;
  } catch (cause) {
    throw new Error(`${path} is not a commit of an archive that this version can read`, { cause });
  }
}
