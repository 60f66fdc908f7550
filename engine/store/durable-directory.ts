/**
 * Directories whose names are on the disk: flushing a file does not flush the directory that holds its name. Most
 * file systems of Linux do so all the same for a new file; POSIX does not ask it of them, and not of directories above.
 */
import { closeSync, existsSync, fsyncSync, mkdirSync, openSync, statSync } from 'node:fs';
import { dirname, resolve } from 'node:path';

/**
 * Makes a directory and what is missing above it, and returns when its name is on the disk: also where a process that
 * was killed had made it and not flushed it.
 */
export function makeDirectory(path: string): void {
  const directory = resolve(path);
  const parent = dirname(directory);
  if (parent === directory) return;
  if (!existsSync(directory)) {
    // The parent's name is flushed before anything is in it, so above an existing directory there is nothing to flush
    // but the name of that directory itself.
    makeDirectory(parent);
    makeOne(directory);
  }
  flushDirectory(parent);
}

/** Not with `recursive`, which on Node 20 never comes back where a file system says that the parent is not there: /proc. */
function makeOne(directory: string): void {
  try {
    mkdirSync(directory);
  } catch (error) {
    // Another process may have made it meanwhile.
    const isThere = (error as NodeJS.ErrnoException).code === 'EEXIST' && statSync(directory).isDirectory();
    if (!isThere) throw error;
  }
}

/** A directory is not ours to flush where we may not read it, and cannot be flushed in every file system. */
const NOT_FLUSHED = new Set(['EACCES', 'EPERM', 'EINVAL', 'ENOTSUP']);

/** Flushes the names in a directory. */
export function flushDirectory(path: string): void {
  // Windows has no such call; NTFS keeps names in a journal of its own.
  if (process.platform === 'win32') return;
  try {
    flushFile(path);
  } catch (error) {
    if (!NOT_FLUSHED.has((error as NodeJS.ErrnoException).code ?? '')) throw error;
  }
}

export function flushFile(path: string): void {
  // Windows flushes only what is open for writing.
  const descriptor = openSync(path, process.platform === 'win32' ? 'r+' : 'r');
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}
