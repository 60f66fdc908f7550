// Whether a checkout's node_modules and dist are those of its lockfile and sources. Node's own modules only:
// this runs before anything is installed.
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = fileURLToPath(new URL('../', import.meta.url));

/** What the build depends on. A directory of the build that is missing here would be run stale. */
const BUILD_INPUTS = [...JSON.parse(readFileSync(join(root, 'tsconfig.build.json'), 'utf8')).include];
const BUILD_SETTINGS = ['package.json', 'package-lock.json', 'tsconfig.json', 'tsconfig.build.json'];

/** Directories that the built sources read at run time: copied as they are. */
export const BUILD_ASSETS = ['engine/store/redis/scripts'];

/** Written last: a build without it was interrupted. */
const stampFile = (dist) => join(dist, '.built-from');

export function installIsStale() {
  try {
    // npm writes this file at the end of an installation.
    const installedMs = statSync(join(root, 'node_modules/.package-lock.json')).mtimeMs;
    return installedMs < statSync(join(root, 'package-lock.json')).mtimeMs;
  } catch {
    return true;
  }
}

function* sourceFiles(path) {
  const stat = statSync(join(root, path), { throwIfNoEntry: false });
  if (stat === undefined) return;
  if (!stat.isDirectory()) {
    yield path;
    return;
  }
  for (const name of readdirSync(join(root, path)).sort()) {
    const child = `${path}/${name}`;
    if (/(\.test|\.bench|\.test-d|\.data-test)\.ts$/.test(name)) continue;
    if (/\.(ts|lua)$/.test(name) || statSync(join(root, child)).isDirectory()) yield* sourceFiles(child);
  }
}

/** A hash over names and contents: file times say nothing after a checkout, a copy or a deleted file. */
export function sourcesHash() {
  const hash = createHash('sha256');
  for (const input of [...BUILD_SETTINGS, ...BUILD_INPUTS]) {
    for (const path of sourceFiles(input)) {
      const content = readFileSync(join(root, path));
      hash.update(`${path}\0${content.length}\0`).update(content);
    }
  }
  return hash.digest('hex');
}

export function buildIsStale() {
  try {
    return readFileSync(stampFile(join(root, 'dist')), 'utf8') !== sourcesHash();
  } catch {
    return true;
  }
}

export { stampFile };
