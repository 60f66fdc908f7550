import { accessSync, constants } from 'node:fs';
import { tmpdir } from 'node:os';

/** Memory where there is a file system in it: nothing here has to be on a disk, and much is written. */
export function temporaryRoot(): string {
  try {
    accessSync('/dev/shm', constants.W_OK);
    return '/dev/shm';
  } catch {
    return tmpdir();
  }
}
