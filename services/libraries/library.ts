/** Servers that come from Maven Central, unpacked once per version into `.services/lib/`. */
import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export type LibraryName = 'kafka' | 'registry';

export const checkoutRoot = join(dirname(fileURLToPath(import.meta.url)), '../..');

/** What git ignores: libraries, data and state of the servers. */
export const DEFAULT_SERVICES_DIR = join(checkoutRoot, '.services');

const HASH_DIGITS = 12;

export function pomOf(name: LibraryName): string {
  return join(checkoutRoot, 'services', name, 'pom.xml');
}

/** Where the library of the present pom.xml is, or would be. */
export function libraryDir(name: LibraryName): string {
  const hash = createHash('sha256')
    .update(readFileSync(pomOf(name)))
    .digest('hex')
    .slice(0, HASH_DIGITS);
  return join(DEFAULT_SERVICES_DIR, 'lib', `${name}-${hash}`);
}

/** The directory appears under its name when everything is in it. */
export function isInstalled(name: LibraryName): boolean {
  return existsSync(libraryDir(name));
}

/** Where classes loaded by a first run are kept, so that later starts take half the time; made by `warmUp`. */
export function classArchive(name: LibraryName): string {
  return join(libraryDir(name), 'classes.jsa');
}
