/** The real binary as a child process, in a directory of its own, ended with the test whatever happens. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { onTestFinished } from 'vitest';

export const checkout = fileURLToPath(new URL('../', import.meta.url));
export const fixture = (name: string): string => fileURLToPath(new URL(`fixtures/${name}`, import.meta.url));

export const millraceBinary = join(checkout, 'bin/millrace.js');

/** A directory that goes with the test. */
export function temporaryDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), 'millrace-test-'));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true, maxRetries: 5 }));
  return directory;
}

function killGroup(leader: number): void {
  try {
    process.kill(-leader, 'SIGKILL');
  } catch (error) {
    // Nobody of it is left.
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

export interface StartOptions {
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
  /** For a process with children of its own: they are ended with it. @default false */
  readonly ownGroup?: boolean;
}

export class MillraceProcess {
  readonly child: ChildProcess;
  readonly exited: Promise<Exit>;
  /** Everything written to stdout and stderr so far. */
  stdout = '';
  stderr = '';
  readonly #onOutput = new Set<() => void>();
  #ended = false;

  /** Of the environment nothing that configures millrace is passed on. */
  constructor(
    command: string,
    args: readonly string[],
    { cwd = checkout, env = {}, ownGroup = false }: StartOptions = {},
  ) {
    const inherited = Object.entries(process.env).filter(
      ([name]) => !/^(MILLRACE_|VITEST|NODE_ENV$)/.test(name),
    );
    this.child = spawn(command, args, {
      cwd,
      env: { ...Object.fromEntries(inherited), ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: ownGroup,
    });
    this.child.stdout!.setEncoding('utf8').on('data', (text: string) => {
      this.stdout += text;
      for (const check of this.#onOutput) check();
    });
    this.child.stderr!.setEncoding('utf8').on('data', (text: string) => {
      this.stderr += text;
    });
    this.exited = new Promise((resolve) => {
      // `close`: the output is complete, too.
      this.child.once('close', (code, signal) => {
        this.#ended = true;
        for (const check of this.#onOutput) check();
        resolve({ code, signal });
      });
    });
    onTestFinished(async () => {
      if (ownGroup) killGroup(this.child.pid!);
      else this.child.kill('SIGKILL');
      await this.exited;
    });
  }

  /** Resolves with the first match in stdout. @throws when the process ends without one */
  waitForOutput(pattern: RegExp): Promise<RegExpExecArray> {
    return new Promise((resolve, reject) => {
      const check = (): void => {
        const match = pattern.exec(this.stdout);
        if (match === null && !this.#ended) return;
        this.#onOutput.delete(check);
        if (match !== null) resolve(match);
        else reject(new Error(`ended before ${pattern} was printed\n${this.stdout}\n${this.stderr}`));
      };
      this.#onOutput.add(check);
      check();
    });
  }

  /** Sends the signal and resolves when the process has ended. */
  end(signal: NodeJS.Signals): Promise<Exit> {
    this.child.kill(signal);
    return this.exited;
  }
}

/** Runs the CLI to its end. */
export async function millrace(
  args: readonly string[],
  options: StartOptions = {},
): Promise<{ code: number | null; stdout: string; stderr: string }> {
  const run = new MillraceProcess(process.execPath, [millraceBinary, ...args], options);
  const { code } = await run.exited;
  return { code, stdout: run.stdout, stderr: run.stderr };
}

export interface Server {
  readonly process: MillraceProcess;
  readonly url: string;
}

/** `millrace up` on a free port, without waiting for it to be ready. */
export function startUp(args: readonly string[], options: StartOptions = {}): MillraceProcess {
  return start('up', args, options);
}

function start(command: string, args: readonly string[], options: StartOptions): MillraceProcess {
  return new MillraceProcess(process.execPath, [millraceBinary, command, '--port', '0', ...args], options);
}

/** `millrace up` on a free port, ready. */
export function up(args: readonly string[], options: StartOptions = {}): Promise<Server> {
  return startRole('up', args, options);
}

/** A command that serves, on a free port, ready. */
export async function startRole(
  command: 'up' | 'ingest' | 'serve' | 'compact',
  args: readonly string[],
  options: StartOptions = {},
): Promise<Server> {
  const process = start(command, args, options);
  const [, url] = await process.waitForOutput(/listens on (http:\S+)/);
  await process.waitForOutput(/^Ready\./m);
  return { process, url: url! };
}

export async function postJson(url: string, body: unknown): Promise<{ status: number; body: unknown }> {
  const response = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
  return { status: response.status, body: await response.json() };
}

export async function push(
  { url }: Server,
  source: string,
  events: readonly unknown[],
  query = '?wait=applied',
): Promise<unknown> {
  const { status, body } = await postJson(`${url}/v1/sources/${source}/events${query}`, { events });
  if (status !== 200) throw new Error(`HTTP ${status}: ${JSON.stringify(body)}`);
  return body;
}

/** Features of a service for one key of the fixture `counter`. */
export async function counters({ url }: Server, key: string): Promise<Record<string, number>> {
  const { status, body } = await postJson(`${url}/v1/services/counters/features`, { entities: { key } });
  if (status !== 200) throw new Error(`HTTP ${status}: ${JSON.stringify(body)}`);
  return (body as { features: Record<string, number> }).features;
}
