// npm run test:fresh: what a newcomer does. Clones the last commit into a temporary directory, runs `npm start`
// there (which installs and builds), runs both printed lines, stops it through npm, starts again and finds the data.
// Takes a minute; needs git, a shell, curl and the package registry. Changes that are not committed are not seen.
import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { root } from './checkout-state.mjs';

const directory = mkdtempSync(join(tmpdir(), 'millrace-fresh-'));
const clone = join(directory, 'clone');
const env = Object.fromEntries(
  Object.entries(process.env).filter(([name]) => !/^(MILLRACE_|npm_|NODE_ENV$)/.test(name)),
);

/** Kept to be ended whatever happens: npm's process group. */
let running = null;

function check(condition, message) {
  if (!condition) throw new Error(message);
  console.log(`ok: ${message}`);
}

function start() {
  const child = spawn('npm', ['start', '--', '--port', '0', '--simulate-rate', '1'], {
    cwd: clone,
    env,
    detached: true,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  running = child;
  let output = '';
  const ready = new Promise((resolve, reject) => {
    child.stdout.setEncoding('utf8').on('data', (text) => {
      output += text;
      if (/^Ready\./m.test(output)) resolve(output);
    });
    child.once('close', () => reject(new Error(`npm start ended early:\n${output}`)));
  });
  const ended = new Promise((resolve) => {
    child.once('close', (code, signal) => resolve({ code, signal, output }));
  });
  return { child, ready, ended };
}

/** Runs a printed line in a shell. */
function run(line) {
  const { stdout, stderr, status } = spawnSync('sh', ['-c', line], { encoding: 'utf8' });
  if (status !== 0) throw new Error(`${line}\nfailed: ${stderr}`);
  return JSON.parse(stdout);
}

const curlLines = (output) => output.split('\n').filter((line) => line.startsWith('curl '));

async function freshClone() {
  const cloned = spawnSync('git', ['clone', '--quiet', '--no-hardlinks', root, clone], { stdio: 'inherit' });
  check(cloned.status === 0, 'git clone');

  const startedMs = Date.now();
  const first = start();
  const [push, read] = curlLines(await first.ready);
  check(
    read !== undefined,
    `npm start is ready after ${Math.round((Date.now() - startedMs) / 1000)} s and prints two lines`,
  );
  check(run(push).accepted === 1, 'the first pushes an event');
  const { CUSTOMER_ID_NB_TX_30DAY_WINDOW: before } = run(read).features;
  check(before >= 1, 'the second reads it back');
  first.child.kill('SIGTERM');
  const end = await first.ended;
  check(end.code === 0 && end.output.includes('Stopped:'), 'SIGTERM to npm drains and exits with 0');

  const againMs = Date.now();
  const second = start();
  const url = /listens on (\S+)/.exec(await second.ready)[1];
  check(true, `a second start is ready after ${((Date.now() - againMs) / 1000).toFixed(1)} s`);
  const { CUSTOMER_ID_NB_TX_30DAY_WINDOW: after } = run(read.replace(/http:\/\/[^/]+/, url)).features;
  check(after >= before, 'the data is there');
  second.child.kill('SIGTERM');
  check((await second.ended).code === 0, 'it stops');
  running = null;
}

function cleanUp() {
  try {
    if (running !== null) process.kill(-running.pid, 'SIGKILL');
  } catch {
    // It has ended.
  }
  rmSync(directory, { recursive: true, force: true, maxRetries: 5 });
}

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
  process.on(signal, () => {
    cleanUp();
    process.exit(1);
  });
}
try {
  await freshClone();
} catch (error) {
  console.error(`FAILED: ${error.message}`);
  process.exitCode = 1;
} finally {
  cleanUp();
}
