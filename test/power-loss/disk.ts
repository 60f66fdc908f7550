/** Files and directories as bytes: what a disk holds at one moment. Paths are relative to the directory looked at. */
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

export interface Disk {
  /** Without the directory looked at itself. Parents come before their children. */
  readonly directories: readonly string[];
  readonly files: ReadonlyMap<string, Buffer>;
}

export const EMPTY_DISK: Disk = { directories: [], files: new Map() };

export const parentOf = (path: string): string => {
  const parent = dirname(path);
  return parent === '.' ? '' : parent;
};

/**
 * lmdb's table of readers. It is written through a mapping and made anew by whoever opens the environment alone, so what
 * a power loss leaves of it does not matter.
 */
export const isLockFile = (path: string): boolean => path.endsWith('lock.mdb');

export function readDisk(root: string): Disk {
  const directories: string[] = [];
  const files = new Map<string, Buffer>();
  const visit = (directory: string): void => {
    for (const entry of readdirSync(join(root, directory), { withFileTypes: true })) {
      const path = join(directory, entry.name);
      if (entry.isDirectory()) {
        directories.push(path);
        visit(path);
      } else if (!isLockFile(path)) {
        files.set(path, readFileSync(join(root, path)));
      }
    }
  };
  visit('');
  return { directories, files };
}

/** Replaces what `root` holds. */
export function writeDisk(root: string, disk: Disk): void {
  rmSync(root, { recursive: true, force: true });
  mkdirSync(root, { recursive: true });
  for (const directory of disk.directories) mkdirSync(join(root, directory));
  for (const [path, bytes] of disk.files) writeFileSync(join(root, path), bytes);
}
