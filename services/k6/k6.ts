/**
 * k6, which load tests are run with: from the environment, from PATH, built once from the Go module proxy, or in Docker.
 * A build lies in `.services/lib/` beside the libraries of the servers.
 */
import { spawn, spawnSync } from 'node:child_process';
import { accessSync, chmodSync, constants, mkdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { withInstallLock } from '../libraries/install-lock.ts';
import { DEFAULT_SERVICES_DIR } from '../libraries/library.ts';
import { findProgram } from '../process/find-program.ts';

export const K6_VERSION = '1.8.1';

/** From this version on, Go fetches by itself the version that a module asks for. */
export const GO_VERSION_MIN = [1, 21] as const;

const BUILD_DIR = join(DEFAULT_SERVICES_DIR, 'lib', `k6-${K6_VERSION}`);
const BUILT = join(BUILD_DIR, 'k6');
/** A build says nothing for minutes, which looks like a hang. */
const SAY_EVERY_MS = 15_000;

/** Lines for whoever waits. */
type Report = (line: string) => void;

/** How k6 is called: its own arguments follow. */
export interface K6 {
  readonly program: string;
  readonly args: readonly string[];
  /** Where it comes from, for people. */
  readonly origin: string;
}

/** One that can be run at once: `K6` of the environment, PATH, a build. @throws where `K6` names none */
export function findK6(): K6 | null {
  const named = process.env.K6;
  if (named !== undefined && named !== '') {
    if (!isProgram(named)) throw new Error(`K6 in the environment names no program: ${named}`);
    return { program: named, args: [], origin: `${named} (K6 in the environment)` };
  }
  const onPath = findProgram('k6');
  if (onPath !== null) return { program: onPath, args: [], origin: `${onPath} (PATH)` };
  return isProgram(BUILT)
    ? { program: BUILT, args: [], origin: `built from its sources, ${K6_VERSION}` }
    : null;
}

/** Null where Go could build it, else why not. */
export function goProblem(): string | null {
  const { error, stdout } = spawnSync('go', ['env', 'GOVERSION'], { encoding: 'utf8' });
  if (error !== undefined) return 'go is not installed';
  return isRecentGo(stdout.trim().replace(/^go/, '')) ? null : `go is older than ${GO_VERSION_MIN.join('.')}`;
}

/** @param version such as `1.26.8` */
export function isRecentGo(version: string): boolean {
  const [major = 0, minor = 0] = version.split('.').map(Number.parseFloat);
  const [majorMin, minorMin] = GO_VERSION_MIN;
  return major > majorMin || (major === majorMin && minor >= minorMin);
}

/** Null where there is a k6 at once, else why not, and what to do. */
export function k6Problem(): string | null {
  if (findK6() !== null) return null;
  const go = goProblem();
  return `k6 is not there${go === null ? ' yet' : ` and ${go}`}: ${howToGet(go)}`;
}

function howToGet(go: string | null): string {
  const build = 'node services/run.mjs prepare';
  return go === null
    ? `${build} builds it, in some minutes`
    : `install k6 ${K6_VERSION} (https://grafana.com/docs/k6/latest/set-up/install-k6/), or Go ` +
        `${GO_VERSION_MIN.join('.')} or later, with which ${build} builds it`;
}

/**
 * The k6 to use; builds it where there is none and Go is there, which takes some minutes, else takes Docker's.
 * @param args.mounted a directory that a k6 in Docker sees under the same path
 * @throws where none of that works, saying what to do
 */
export async function ensureK6(args: { readonly report: Report; readonly mounted?: string }): Promise<K6> {
  const found = findK6();
  if (found !== null) return found;
  const go = goProblem();
  if (go === null) {
    await buildK6(args.report);
    return findK6()!;
  }
  if (args.mounted !== undefined && dockerWorks()) return dockerK6(args.mounted);
  throw new Error(`k6 is not there, ${go}, and no Docker answers: ${howToGet(go)}`);
}

/** Idempotent; processes that ask at once wait for one build. @throws where it fails, with the end of Go's output */
export async function buildK6(report: Report): Promise<void> {
  await withInstallLock(`${BUILD_DIR}.lock`, async () => {
    if (isProgram(BUILT)) return;
    const startedMs = performance.now();
    const seconds = (): string => `${Math.round((performance.now() - startedMs) / 1000)} s`;
    report(`k6: building ${K6_VERSION} from the Go module proxy, once; some minutes …`);
    const staging = `${BUILD_DIR}.partial`;
    rmSync(staging, { recursive: true, force: true });
    mkdirSync(staging, { recursive: true });
    const saying = setInterval(() => report(`k6:   still building after ${seconds()}`), SAY_EVERY_MS);
    try {
      await goInstall(staging);
    } finally {
      clearInterval(saying);
    }
    chmodSync(join(staging, 'k6'), 0o755);
    rmSync(BUILD_DIR, { recursive: true, force: true });
    renameSync(staging, BUILD_DIR);
    report(`k6: ready after ${seconds()}`);
  });
}

async function goInstall(directory: string): Promise<void> {
  const child = spawn('go', ['install', `go.k6.io/k6@v${K6_VERSION}`], {
    // Debian's Go fetches no other version of itself unless it is told to; a checkout's go.mod is none of k6's.
    env: {
      ...process.env,
      GOBIN: directory,
      GOTOOLCHAIN: process.env.GOTOOLCHAIN ?? 'auto',
      GOFLAGS: '-mod=mod',
    },
    cwd: directory,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const end = (): void => void child.kill();
  process.once('exit', end);
  let tail = '';
  const read = (chunk: Buffer): void => {
    tail = (tail + chunk.toString()).slice(-4_000);
  };
  child.stdout.on('data', read);
  child.stderr.on('data', read);
  try {
    const code = await new Promise((resolve, reject) => child.once('error', reject).once('close', resolve));
    if (code !== 0) throw new Error(`k6: go could not build it; its output ends with:\n${tail}`);
  } finally {
    process.off('exit', end);
  }
}

function dockerWorks(): boolean {
  return spawnSync('docker', ['info'], { stdio: 'ignore', timeout: 10_000 }).status === 0;
}

function dockerK6(mounted: string): K6 {
  const user = process.getuid === undefined ? [] : ['--user', `${process.getuid()}:${process.getgid!()}`];
  const loadtest = join(DEFAULT_SERVICES_DIR, '../loadtest');
  return {
    program: 'docker',
    args: [
      ...['run', '--rm', '--init', '--network', 'host', ...user],
      ...['--volume', `${mounted}:${mounted}`, '--volume', `${loadtest}:${loadtest}:ro`],
      `grafana/k6:${K6_VERSION}`,
    ],
    origin: `Docker, grafana/k6:${K6_VERSION}`,
  };
}

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
