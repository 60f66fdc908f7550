/**
 * The commits of one partition's archive: a chain of ranges of offsets, each in a file named by where it begins, made by
 * a link that never replaces. README.md has the protocol, and what is left behind by a crash at each of its steps.
 *
 * Any number of owners may be at work at once; all they share is the directory.
 */
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import type { ArchiveFiles } from './archive-files.ts';
import {
  attemptName,
  commitName,
  commitsDirectory,
  dayDirectory,
  fromOffsetOf,
  stagedFileName,
  stagingDirectory,
} from './archive-layout.ts';
import { type CommitRecord, commitText, parseCommit } from './commit-record.ts';

const RECORD_NAME = 'commit.json';

/** Who tries to commit what begins at an offset. */
export type Attempt = Pick<CommitRecord, 'fromOffset' | 'token'>;

export class PartitionCommits {
  readonly #files: ArchiveFiles;
  readonly #root: string;
  readonly #source: string;
  readonly #kept: number;
  readonly #commits: string;
  readonly #staging: string;

  constructor(args: {
    files: ArchiveFiles;
    /** Of the archive. */
    root: string;
    source: string;
    partition: number;
    /** Commits that are not removed, ≥ 1: the last one, and others for whoever looks into what happened. */
    kept: number;
  }) {
    this.#files = args.files;
    this.#kept = args.kept;
    this.#root = args.root;
    this.#source = args.source;
    this.#commits = commitsDirectory(args.root, args.source, args.partition);
    this.#staging = stagingDirectory(args.root, args.source, args.partition);
  }

  /** The last commit, published whoever made it; null: there is none. */
  async last(): Promise<CommitRecord | null> {
    for (;;) {
      const fromOffset = await this.#lastFrom();
      if (fromOffset === null) return null;
      const record = await this.#read(fromOffset);
      // Pruned since it was listed: there are later ones.
      if (record === null) continue;
      // Who linked it may not have come to flush it, and what is renamed must not outlast it.
      await this.#files.flush(this.#commits);
      await this.#publish(record);
      return record;
    }
  }

  /** A directory for the files of an attempt, see `stagedPath`. */
  async begin(fromOffset: number): Promise<Attempt> {
    const attempt = { fromOffset, token: randomBytes(8).toString('hex') };
    await this.#files.makeDirectory(this.#commits, this.#root);
    await this.#files.makeDirectory(this.#attemptPath(attempt), this.#root);
    return attempt;
  }

  /** Where the attempt's file of a day is to be written. */
  stagedPath(attempt: Attempt, day: string): string {
    return join(this.#attemptPath(attempt), stagedFileName(day));
  }

  /** Writes down what is to be committed, once all of its files are on disk. */
  async seal(record: CommitRecord): Promise<void> {
    await this.#files.write(this.#recordPath(record), commitText(record));
    await this.#files.flush(this.#attemptPath(record));
  }

  /**
   * Commits what was sealed. May be called again with the same record after it threw: nothing is known then of how far it came.
   * @returns false where it does not count, or others have gone on from it: the position is theirs to tell
   */
  async commit(record: CommitRecord): Promise<boolean> {
    const path = join(this.#commits, commitName(record.fromOffset));
    const outcome = await this.#files.link(this.#recordPath(record), path);
    if (outcome === 'missing') return false;
    if (outcome === 'exists' && (await this.#read(record.fromOffset))?.token !== record.token) {
      await this.abandon(record);
      return false;
    }
    await this.#files.flush(this.#commits);
    // Where others have gone on from it, they have published it. Where it comes too late, in the place of one that was
    // pruned, its rows are in files already.
    if ((await this.#lastFrom()) !== record.fromOffset) return false;
    await this.#publish(record);
    await this.#clean(record).catch(() => {
      // It is committed; what is left here the next commit removes.
    });
    return true;
  }

  /** Removes what an attempt has staged that is not, and cannot have been, committed. */
  abandon(attempt: Attempt): Promise<void> {
    return this.#files.remove(this.#attemptPath(attempt));
  }

  async #publish(record: CommitRecord): Promise<void> {
    const renamed = new Set<string>();
    for (const { day, name } of record.files) {
      const directory = dayDirectory(this.#root, this.#source, day);
      await this.#files.makeDirectory(directory, this.#root);
      // Where it is not there any more, another owner has renamed it: its flush may be still to come.
      await this.#files.rename(this.stagedPath(record, day), join(directory, name));
      renamed.add(directory);
    }
    for (const directory of renamed) await this.#files.flush(directory);
  }

  async #clean(last: CommitRecord): Promise<void> {
    for (const name of await this.#files.list(this.#staging)) {
      const fromOffset = fromOffsetOf(name);
      // What begins at its end may be about to be committed.
      if (fromOffset !== null && fromOffset < last.toOffset)
        await this.#files.remove(join(this.#staging, name));
    }
    const commits = await this.#listed();
    for (const fromOffset of commits.slice(0, -this.#kept)) {
      await this.#files.remove(join(this.#commits, commitName(fromOffset)));
    }
  }

  async #lastFrom(): Promise<number | null> {
    return (await this.#listed()).at(-1) ?? null;
  }

  /** Where commits begin, ascending. */
  async #listed(): Promise<number[]> {
    const found = (await this.#files.list(this.#commits)).map(fromOffsetOf);
    return found.filter((fromOffset) => fromOffset !== null).sort((a, b) => a - b);
  }

  async #read(fromOffset: number): Promise<CommitRecord | null> {
    const path = join(this.#commits, commitName(fromOffset));
    const text = await this.#files.read(path);
    return text === null ? null : parseCommit(text, path);
  }

  #attemptPath({ fromOffset, token }: Attempt): string {
    return join(this.#staging, attemptName(fromOffset, token));
  }

  #recordPath(attempt: Attempt): string {
    return join(this.#attemptPath(attempt), RECORD_NAME);
  }
}
