// Makes a checkout ready to run: installs where node_modules is missing or older than the lockfile, builds where
// dist is not of the present sources. Quiet when there is nothing to do. Node's own modules only.
import { spawnSync } from 'node:child_process';
import { cpSync, lstatSync, readdirSync, realpathSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import {
  BUILD_ASSETS,
  buildIsStale,
  installIsStale,
  root,
  sourcesHash,
  stampFile,
} from './checkout-state.mjs';

/** Why it failed; null: it did not. */
function failureOf(command, args, options = {}) {
  const result = spawnSync(command, args, { cwd: root, stdio: ['ignore', 2, 2], ...options });
  if (result.status === 0) return null;
  const why = result.error?.message ?? `exit ${result.status ?? result.signal}`;
  return `millrace: ${[command, ...args].join(' ')} failed: ${why}`;
}

function endIfFailed(failure) {
  if (failure === null) return;
  console.error(failure);
  process.exit(1);
}

export function install() {
  // `npm ci` would empty what the link leads to: another checkout's.
  if (lstatSync(join(root, 'node_modules'), { throwIfNoEntry: false })?.isSymbolicLink()) {
    console.error(
      'millrace: node_modules is a link to that of another checkout: run npm ci there, or remove the link',
    );
    process.exit(1);
  }
  // The npm that runs this script, if one does. TypeScript is a development dependency.
  const npm = process.env.npm_execpath;
  const args = ['ci', '--include=dev', '--no-fund', '--no-audit'];
  endIfFailed(
    npm?.endsWith('.js')
      ? failureOf(process.execPath, [npm, ...args])
      : failureOf('npm', args, { shell: process.platform === 'win32' }),
  );
}

function isAlive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code !== 'ESRCH';
  }
}

/** What builds left that were killed. */
function removeAbandoned() {
  for (const name of readdirSync(root)) {
    const pid = /^dist\.(?:next|old)-(\d+)$/.exec(name)?.[1];
    if (pid !== undefined && !isAlive(Number(pid)))
      rmSync(join(root, name), { recursive: true, force: true });
  }
}

/** Builds beside dist and swaps, so that nobody sees half a build and removed sources leave nothing behind. */
export function build() {
  const hash = sourcesHash();
  const next = join(root, `dist.next-${process.pid}`);
  const old = join(root, `dist.old-${process.pid}`);
  removeAbandoned();
  const tsc = join(root, 'node_modules/typescript/bin/tsc');
  const failure = failureOf(process.execPath, [tsc, '-p', 'tsconfig.build.json', '--outDir', next]);
  // What tsc has written is there also where it failed.
  if (failure !== null) rmSync(next, { recursive: true, force: true });
  endIfFailed(failure);
  try {
    for (const asset of BUILD_ASSETS) cpSync(join(root, asset), join(next, asset), { recursive: true });
    writeFileSync(stampFile(next), hash);
    try {
      renameSync(join(root, 'dist'), old);
    } catch (error) {
      if (error.code !== 'ENOENT') throw error;
    }
    renameSync(next, join(root, 'dist'));
  } finally {
    rmSync(next, { recursive: true, force: true });
    rmSync(old, { recursive: true, force: true });
  }
}

export function prepareCheckout() {
  const [major, minor] = process.versions.node.split('.').map(Number);
  if (major < 20 || (major === 20 && minor < 6)) {
    console.error(`millrace needs Node 20.6 or later; this is ${process.version}`);
    process.exit(1);
  }
  if (installIsStale()) {
    console.error('millrace: installing dependencies (npm ci) …');
    install();
  }
  if (buildIsStale()) {
    console.error('millrace: building …');
    build();
  }
}

const isMain =
  process.argv[1] !== undefined && import.meta.url === pathToFileURL(realpathSync(process.argv[1])).href;
if (isMain) prepareCheckout();
