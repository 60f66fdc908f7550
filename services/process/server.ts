/** What the three kinds of servers have in common: ports, a directory, start, crash, restart and end. */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { endProcess } from './end-process.ts';
import { freePorts } from './free-port.ts';
import { type Lifetime, launch, logTail } from './launch.ts';
import { isAlive, type ProcessIdentity, signal } from './process-identity.ts';
import { waitUntil } from './wait-until.ts';

/** How to run one kind of server. */
export interface ServerRecipe {
  /** For messages, and the name of the log file. */
  readonly name: string;
  readonly portCount: number;
  /** Makes the directory ready (also one that was used before) and says what to run in it. */
  prepare(dir: string, ports: readonly number[]): { program: string; args: readonly string[] };
  /** Whether the server does its work, not only listens, and is the process asked for. May throw while it does not. */
  answers(ports: readonly number[], pid: number): Promise<boolean>;
  readonly startTimeoutMs: number;
  /** From SIGTERM to SIGKILL. */
  readonly graceMs: number;
}

export interface StartOptions {
  /** For data, configuration and log; it is kept. Default: a temporary directory that goes with the server. */
  readonly dir?: string | undefined;
  /** Default `with-parent`. */
  readonly lifetime?: Lifetime | undefined;
  /** Default: free ones. */
  readonly ports?: readonly number[] | undefined;
  /** Called for every process as soon as it exists, long before it answers. */
  readonly onLaunch?: ((identity: ProcessIdentity, ports: readonly number[]) => void) | undefined;
}

/** Somebody else can take a free port first. */
const START_TRIES_MAX = 4;
const PORT_TAKEN = /address already in use|failed to bind|port \d+ .*in use|BindException/i;

const SIGNALS_THAT_DO_NOT_END: readonly string[] = ['SIGSTOP', 'SIGCONT', 'SIGHUP', 'SIGUSR1', 'SIGUSR2'];
const EXIT_TIMEOUT_MS = 15_000;

/** A running server. `kill` and `restart` keep ports and data; `stop` is the end. */
export class Server {
  readonly #recipe: ServerRecipe;
  readonly #options: StartOptions;
  readonly #ownsDir: boolean;
  #identity: ProcessIdentity;
  #stopped = false;

  readonly dir: string;
  readonly ports: readonly number[];

  private constructor(
    recipe: ServerRecipe,
    dir: string,
    ports: readonly number[],
    identity: ProcessIdentity,
    options: StartOptions,
  ) {
    this.#recipe = recipe;
    this.dir = dir;
    this.ports = ports;
    this.#identity = identity;
    this.#options = options;
    this.#ownsDir = options.dir === undefined;
  }

  /** Starts a server and waits until it answers. Throws with the end of its log when it does not. */
  static async start(recipe: ServerRecipe, options: StartOptions = {}): Promise<Server> {
    const dir = options.dir ?? mkdtempSync(join(tmpdir(), `millrace-${recipe.name}-`));
    mkdirSync(dir, { recursive: true });
    for (let tries = 1; ; tries += 1) {
      const ports = options.ports ?? (await freePorts(recipe.portCount));
      try {
        const identity = await run(recipe, dir, ports, options);
        return new Server(recipe, dir, ports, identity, options);
      } catch (error) {
        const again =
          tries < START_TRIES_MAX &&
          options.ports === undefined &&
          PORT_TAKEN.test(logTail(logFileOf(recipe, dir)));
        rmSync(logFileOf(recipe, dir), { force: true });
        if (again) continue;
        if (options.dir === undefined) rmSync(dir, { recursive: true, force: true });
        throw error;
      }
    }
  }

  get identity(): ProcessIdentity {
    return this.#identity;
  }

  get pid(): number {
    return this.#identity.pid;
  }

  get logFile(): string {
    return logFileOf(this.#recipe, this.dir);
  }

  /** SIGTERM, then SIGKILL; returns when the process is gone. Removes a temporary directory. Can be repeated. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await endProcess(this.#identity, { graceMs: this.#recipe.graceMs });
    if (this.#ownsDir) rmSync(this.dir, { recursive: true, force: true });
  }

  /**
   * Sends a signal, by default SIGKILL (a crash), and returns when the process is gone; after one that ends nothing,
   * as SIGSTOP, at once. Ports and data stay for `restart`. Does nothing to a process that is gone.
   */
  async kill(name: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    if (!signal(this.#identity, name) || SIGNALS_THAT_DO_NOT_END.includes(name)) return;
    await waitUntil(() => !isAlive(this.#identity), {
      what: `end of ${this.#recipe.name} by ${name}`,
      timeoutMs: EXIT_TIMEOUT_MS,
    });
  }

  /** Ends the server in order if it runs, starts it on the same ports and data, and waits until it answers. */
  async restart(): Promise<void> {
    if (this.#stopped)
      throw new Error(`${this.#recipe.name} was stopped; restart() is for running and killed ones`);
    await endProcess(this.#identity, { graceMs: this.#recipe.graceMs });
    this.#identity = await run(this.#recipe, this.dir, this.ports, this.#options);
  }
}

function logFileOf(recipe: ServerRecipe, dir: string): string {
  return join(dir, `${recipe.name}.log`);
}

async function run(
  recipe: ServerRecipe,
  dir: string,
  ports: readonly number[],
  { lifetime = 'with-parent', onLaunch }: StartOptions,
): Promise<ProcessIdentity> {
  const { program, args } = recipe.prepare(dir, ports);
  const logFile = logFileOf(recipe, dir);
  const identity = await launch({ program, args, cwd: dir, logFile, lifetime });
  onLaunch?.(identity, ports);
  let ended = false;
  try {
    await waitUntil(
      async () => {
        // In this order: another server on the same port may answer for one that could not start.
        const answers = await recipe.answers(ports, identity.pid).catch(() => false);
        ended = !isAlive(identity);
        return ended || answers;
      },
      { what: `${recipe.name} on port ${ports[0]} answers`, timeoutMs: recipe.startTimeoutMs },
    );
    if (ended) throw new Error(`${recipe.name} ended at its start`);
  } catch (error) {
    const tail = logTail(logFile);
    await endProcess(identity, { graceMs: 0 });
    throw new Error(`${(error as Error).message}; its log ends with:\n${tail}`, { cause: error });
  }
  return identity;
}
