/** The file operations of the commit protocol. What one of them has done is on disk when it returns. */
import { access, link, mkdir, open, readdir, readFile, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';

/** Every operation throws what the file system says, but for what its description names. */
export interface ArchiveFiles {
  /** Makes the directory, and those above it, as far as they are missing; below `root` others may be at it, too. */
  makeDirectory(path: string, root: string): Promise<void>;
  /** Names in a directory; none where there is no such directory. */
  list(path: string): Promise<string[]>;
  /** null: there is no such file. */
  read(path: string): Promise<string | null>;
  /** A new file. The directory's entry is the caller's to flush. */
  write(path: string, text: string): Promise<void>;
  /** Flushes a file, or a directory's entries. @returns size of the file, bytes */
  flush(path: string): Promise<number>;
  /** A second name for a file, never in place of one that is there. */
  link(from: string, to: string): Promise<'linked' | 'exists' | 'missing'>;
  /** Not flushed: many renames are one flush of their directory. @returns false where there is no file of that name */
  rename(from: string, to: string): Promise<boolean>;
  /** Whatever is there, with all that it holds. */
  remove(path: string): Promise<void>;
}

export const ARCHIVE_FILES: ArchiveFiles = {
  async makeDirectory(path, root) {
    const made = await mkdir(path, { recursive: true });
    if (made !== undefined) await flush(dirname(made));
    // Also where it was there: whoever made it may not have come to flush it.
    for (let at = path; at !== root; at = dirname(at)) await flush(dirname(at));
  },

  async list(path) {
    return (await unlessMissing(readdir(path))) ?? [];
  },

  async read(path) {
    return unlessMissing(readFile(path, 'utf8'));
  },

  async write(path, text) {
    const file = await open(path, 'wx');
    try {
      await file.writeFile(text);
      await file.sync();
    } finally {
      await file.close();
    }
  },

  flush,

  async link(from, to) {
    try {
      await link(from, to);
      return 'linked';
    } catch (error) {
      if (codeOf(error) === 'EEXIST') return 'exists';
      if (codeOf(error) === 'ENOENT' && (await isMissing(from))) return 'missing';
      throw error;
    }
  },

  async rename(from, to) {
    try {
      await rename(from, to);
      return true;
    } catch (error) {
      // It may be the directory of `to` that is not there.
      if (codeOf(error) === 'ENOENT' && (await isMissing(from))) return false;
      throw error;
    }
  },

  async remove(path) {
    await rm(path, { recursive: true, force: true });
  },
};

async function flush(path: string): Promise<number> {
  const file = await open(path, 'r');
  try {
    await file.sync();
    return (await file.stat()).size;
  } finally {
    await file.close();
  }
}

const codeOf = (error: unknown): string | undefined => (error as NodeJS.ErrnoException).code;

async function unlessMissing<T>(found: Promise<T>): Promise<T | null> {
  try {
    return await found;
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return null;
    throw error;
  }
}

const isMissing = async (path: string): Promise<boolean> =>
  (await unlessMissing(access(path).then(() => true))) === null;
