/**
 * Prometheus's own checker of configurations and rules: from PATH, or from Debian's package `prometheus`, fetched once into
 * `.services/lib/`. The package is unpacked, not installed: installed, it would start a Prometheus.
 */
import { spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { withInstallLock } from '../libraries/install-lock.ts';
import { DEFAULT_SERVICES_DIR } from '../libraries/library.ts';
import { findProgram } from '../process/find-program.ts';

const TARGET = join(DEFAULT_SERVICES_DIR, 'lib', 'promtool');
/** A mirror that does not answer must not hold up a test run for long. */
const FETCH_TIMEOUT_MS = 60_000;

export type PromtoolFound = { readonly path: string } | { readonly problem: string };

/** Where promtool is; fetched if need be. Never throws. Processes that ask at once wait for one download. */
export async function ensurePromtool(): Promise<PromtoolFound> {
  const path = findProgram('promtool') ?? (existsSync(TARGET) ? TARGET : null);
  if (path !== null) return { path };
  if (findProgram('apt-get') === null || findProgram('dpkg-deb') === null) {
    return { problem: 'promtool is not in PATH, and there is no apt-get to fetch it' };
  }
  try {
    await withInstallLock(`${TARGET}.lock`, async () => {
      if (!existsSync(TARGET)) fetchPackage();
    });
    return { path: TARGET };
  } catch (error) {
    return { problem: (error as Error).message };
  }
}

function fetchPackage(): void {
  const staging = `${TARGET}.partial`;
  rmSync(staging, { recursive: true, force: true });
  mkdirSync(staging, { recursive: true });
  try {
    run(staging, 'apt-get', '-q', 'download', 'prometheus');
    const archive = readdirSync(staging).find((file) => file.endsWith('.deb'));
    if (archive === undefined) throw new Error('apt-get download prometheus left no package');
    run(staging, 'dpkg-deb', '-x', archive, 'unpacked');
    const fetched = join(staging, 'promtool');
    copyFileSync(join(staging, 'unpacked', 'usr', 'bin', 'promtool'), fetched);
    const { status, error } = spawnSync(fetched, ['--version'], { stdio: 'ignore' });
    if (status !== 0)
      throw new Error(`the promtool that was fetched does not run (${error?.message ?? status})`);
    renameSync(fetched, TARGET);
  } finally {
    rmSync(staging, { recursive: true, force: true });
  }
}

function run(cwd: string, program: string, ...args: readonly string[]): void {
  const { status, stderr, error } = spawnSync(program, args, {
    cwd,
    encoding: 'utf8',
    timeout: FETCH_TIMEOUT_MS,
  });
  if (status === 0) return;
  const reason = error?.message ?? stderr.trim().split('\n').at(-1);
  throw new Error(`${program} ${args.join(' ')} failed: ${reason}`);
}
