/** Starting one server process: its output goes to a file, and it outlives whoever starts it only if that is asked for. */
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { findProgram } from './find-program.ts';
import { identify, type ProcessIdentity } from './process-identity.ts';

/**
 * `with-parent`: the kernel kills the server when the thread that started it ends, however it ends. That is
 * PR_SET_PDEATHSIG by way of `setpriv`, which every Debian has; without `setpriv` (macOS) the server is killed at the
 * regular exit of the process only. `detached`: the server stays, in a session of its own.
 */
export type Lifetime = 'with-parent' | 'detached';

export interface LaunchCommand {
  readonly program: string;
  readonly args: readonly string[];
  readonly cwd: string;
  /** Standard output and error are appended. */
  readonly logFile: string;
  readonly lifetime: Lifetime;
}

const LOG_TAIL_LINES = 15;

const children = new Set<ChildProcess>();

process.on('exit', () => {
  for (const child of children) child.kill('SIGKILL');
});

/** Starts the program; throws if it cannot be run. That it answers is for the caller to wait for. */
export async function launch(command: LaunchCommand): Promise<ProcessIdentity> {
  const child = await spawnLogged(command);
  // Gone already: a start that no process has any more.
  return identify(child.pid!) ?? { pid: child.pid!, started: 'never seen running' };
}

/** The same, for a program whose end is waited for. */
export async function spawnLogged(command: LaunchCommand): Promise<ChildProcess> {
  const { program, args, cwd, logFile, lifetime } = command;
  const setpriv = lifetime === 'with-parent' ? findProgram('setpriv') : null;
  const argv =
    setpriv === null ? [program, ...args] : [setpriv, '--pdeathsig', 'KILL', '--', program, ...args];
  const log = openSync(logFile, 'a');
  try {
    const child = spawn(argv[0]!, argv.slice(1), {
      cwd,
      stdio: ['ignore', log, log],
      detached: lifetime === 'detached',
    });
    await new Promise((resolve, reject) => child.once('spawn', resolve).once('error', reject));
    // A test runner or a command must be able to end while the server runs.
    child.unref();
    if (lifetime === 'with-parent') {
      children.add(child);
      child.once('exit', () => children.delete(child));
    }
    return child;
  } finally {
    closeSync(log);
  }
}

/** The end of a log, for messages. */
export function logTail(logFile: string): string {
  try {
    return readFileSync(logFile, 'utf8').trimEnd().split('\n').slice(-LOG_TAIL_LINES).join('\n');
  } catch {
    return '';
  }
}
