/**
 * One process per data directory, by a lock whose name is made from the directory's device and inode number, so that
 * another path to the same directory finds the same lock.
 *
 * Limit: see name-lock.ts. Two containers that mount one volume and do not share a network are not kept apart;
 * orchestrators must give the volume to one of them (ReadWriteOncePod).
 */
import { stat } from 'node:fs/promises';
import { makeDirectory } from './durable-directory.ts';
import { lockName, type NameLock } from './name-lock.ts';

/** Another process, or another part of this one, has the directory open. */
export class DirectoryLockedError extends Error {
  override readonly name = 'DirectoryLockedError';
  readonly directory: string;
  /** null: the holder did not say. */
  readonly pid: number | null;

  constructor(directory: string, pid: number | null) {
    const holder =
      pid === null ? 'another process' : pid === process.pid ? 'this process already' : `process ${pid}`;
    super(
      `${directory} is in use: ${holder} has it open. A data directory belongs to one process at a time; ` +
        'stop that process or choose another directory.',
    );
    this.directory = directory;
    this.pid = pid;
  }
}

export type DirectoryLock = NameLock;

/** Takes the directory, which is created if missing. Throws `DirectoryLockedError` where it is taken. */
export async function lockDirectory(directory: string): Promise<DirectoryLock> {
  makeDirectory(directory);
  const { dev, ino } = await stat(directory, { bigint: true });
  const lock = await lockName(`millrace-${dev}-${ino}`);
  if (!('release' in lock)) throw new DirectoryLockedError(directory, lock.pid);
  return lock;
}
