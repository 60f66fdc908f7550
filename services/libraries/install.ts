/** Bringing a library from Maven Central to `.services/lib/`, once. */
import { spawn, spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { prepareStorage } from '../kafka/prepare-storage.ts';
import { findProgram } from '../process/find-program.ts';
import { withInstallLock } from './install-lock.ts';
import { javaProblem } from './java.ts';
import { isInstalled, type LibraryName, libraryDir, pomOf } from './library.ts';
import { warmUp } from './warm-up.ts';

/** Lines for whoever waits. */
export type Report = (line: string) => void;

const toStandardError: Report = (line) => process.stderr.write(`${line}\n`);

/** Debian's packages behind each program. */
export const DEBIAN_PACKAGES = {
  java: 'openjdk-17-jre-headless',
  mvn: 'maven',
  'redis-server': 'redis-server',
} as const;

/** Null if the library is there or can be fetched, else why not. Cheap: nothing is downloaded. */
export function libraryProblem(name: LibraryName): string | null {
  const java = javaProblem();
  if (java !== null) return `${java} (Debian package ${DEBIAN_PACKAGES.java})`;
  if (isInstalled(name) || findProgram('mvn') !== null) return null;
  return `mvn, which fetches it, is not installed (Debian package ${DEBIAN_PACKAGES.mvn})`;
}

/**
 * Makes sure that the library is there: nothing happens if it is; processes that ask at once wait for one download.
 * Throws if a program is missing or the download fails.
 */
export async function ensureInstalled(name: LibraryName, report: Report = toStandardError): Promise<void> {
  const problem = libraryProblem(name);
  if (problem !== null) throw new Error(`${name}: ${problem}`);
  if (isInstalled(name)) return;
  const target = libraryDir(name);
  await withInstallLock(`${target}.lock`, async () => {
    if (!isInstalled(name)) await install(name, target, report);
  });
}

async function install(name: LibraryName, target: string, report: Report): Promise<void> {
  const startedMs = performance.now();
  report(`${name}: fetching from Maven Central, once …`);
  // Beside the target, and renamed when complete; the lock makes us the only one.
  const staging = `${target}.partial`;
  rmSync(staging, { recursive: true, force: true });
  mkdirSync(staging, { recursive: true });
  copyFileSync(pomOf(name), join(staging, 'pom.xml'));
  await fetchJars(name, staging, report);
  if (name === 'kafka') prepareStorage(staging);
  else unpackRegistry(staging);
  // The archive names the jars by their paths, so they have to be where they stay.
  removeOlder(target);
  renameSync(staging, target);
  report(`${name}: recording classes for quicker starts …`);
  await warmUp(name, report);
  report(`${name}: ready after ${((performance.now() - startedMs) / 1000).toFixed(1)} s`);
}

/** mvn reports each file; without that 142 MB look like a hang. */
async function fetchJars(name: LibraryName, staging: string, report: Report): Promise<void> {
  const args = [
    ...['-B', '-f', join(staging, 'pom.xml'), '-Dstyle.color=never'],
    ...['dependency:copy-dependencies', '-DincludeScope=runtime'],
    `-DoutputDirectory=${join(staging, 'jars')}`,
  ];
  const child = spawn('mvn', args, { stdio: ['ignore', 'pipe', 'pipe'] });
  let tail = '';
  const read = (chunk: Buffer): void => {
    tail = (tail + chunk.toString()).slice(-4_000);
    for (const [, file, size] of chunk
      .toString()
      .matchAll(/Downloaded from \S+ \S+\/(\S+\.(?:jar|gz)) \((\S+ .B)/g)) {
      report(`${name}:   ${file} (${size})`);
    }
  };
  child.stdout.on('data', read);
  child.stderr.on('data', read);
  const code = await new Promise((resolve, reject) => child.once('error', reject).once('close', resolve));
  if (code !== 0) throw new Error(`${name}: mvn could not fetch it; its output ends with:\n${tail}`);
}

function unpackRegistry(staging: string): void {
  const archive = readdirSync(join(staging, 'jars')).find((file) => file.endsWith('.tar.gz'));
  if (archive === undefined) throw new Error('registry: mvn copied no archive');
  const app = join(staging, 'app');
  mkdirSync(app);
  const { status, stderr } = spawnSync('tar', ['-xzf', join(staging, 'jars', archive), '-C', app], {
    encoding: 'utf8',
  });
  if (status !== 0) throw new Error(`registry: tar failed: ${stderr}`);
  rmSync(join(staging, 'jars'), { recursive: true });
}

/** Libraries of an older pom.xml. */
function removeOlder(target: string): void {
  const kind = `${target.slice(0, target.lastIndexOf('-'))}-`;
  for (const entry of readdirSync(dirname(target))) {
    const path = join(dirname(target), entry);
    if (path.startsWith(kind) && !path.startsWith(target)) rmSync(path, { recursive: true, force: true });
  }
}
