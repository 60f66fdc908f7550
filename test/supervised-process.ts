/** A role of the built CLI under a supervisor: started again when it is killed, or when it says that it has to be. */
import { expect } from 'vitest';
import { waitUntil } from '../services/process/wait-until.ts';
import { type Exit, MillraceProcess, millraceBinary } from './millrace-process.ts';

const START_TIMEOUT_MS = 60_000;

export class SupervisedProcess {
  readonly role: string;
  readonly name: string;
  readonly #args: readonly string[];
  readonly #env: Readonly<Record<string, string>>;
  #current!: MillraceProcess;
  #url: string | null = null;
  #wanted = true;
  /** Standard error of all its runs. */
  #stderr = '';
  /** How often it ended by itself, asking to be started again. */
  askedForRestart = 0;
  /** Ended otherwise, without being asked to. */
  readonly defects: string[] = [];

  constructor(role: string, name: string, args: readonly string[], env: Readonly<Record<string, string>>) {
    this.role = role;
    this.name = name;
    this.#args = args;
    this.#env = env;
    this.#start();
  }

  /** Where it listens; null until it has said so. */
  get url(): string | null {
    return this.#url;
  }

  get stderr(): string {
    return this.#stderr + this.#current.stderr;
  }

  get output(): string {
    return `${this.name}:\n${this.#current.stdout}\n${this.stderr}`;
  }

  async ready(): Promise<void> {
    await waitUntil(() => /^Ready\./m.test(this.#current.stdout), {
      what: `${this.name} is ready`,
      timeoutMs: START_TIMEOUT_MS,
    }).catch((error: unknown) => {
      throw new Error(`${(error as Error).message}\n${this.output}`);
    });
  }

  signal(name: 'SIGSTOP' | 'SIGCONT'): void {
    this.#current.child.kill(name);
  }

  /** SIGKILL, and started again at once. */
  async crash(): Promise<void> {
    this.#wanted = false;
    await this.#current.end('SIGKILL');
    this.#restart();
  }

  /** SIGTERM, and started again when it has ended. */
  async roll(): Promise<Exit> {
    this.#wanted = false;
    const exit = await this.#current.end('SIGTERM');
    this.#restart();
    return exit;
  }

  async stop(): Promise<Exit> {
    this.#wanted = false;
    return this.#current.end('SIGTERM');
  }

  async get(path: string): Promise<string> {
    const response = await fetch(`${this.#url}${path}`, { signal: AbortSignal.timeout(5_000) });
    return response.text();
  }

  /** Sum of a metric's values over all label sets that the pattern lets through. */
  async metric(name: string, labels = /(?:)/): Promise<number> {
    const lines = (await this.get('/metrics')).split('\n').filter((line) => line.startsWith(name));
    return lines
      .filter((line) => labels.test(line))
      .reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' '))), 0);
  }

  #restart(): void {
    this.#stderr += this.#current.stderr;
    this.#wanted = true;
    this.#start();
  }

  #start(): void {
    this.#url = null;
    const args = [millraceBinary, this.role, '--port', '0', ...this.#args];
    const process_ = new MillraceProcess(process.execPath, args, { env: this.#env });
    this.#current = process_;
    process_.waitForOutput(/listens on (http:\S+)/).then(
      ([, url]) => {
        if (this.#current === process_) this.#url = url!;
      },
      () => {},
    );
    void process_.exited.then((exit) => {
      if (this.#current !== process_ || !this.#wanted) return;
      if (exit.code === 1 && process_.stderr.includes('to be started again')) this.askedForRestart++;
      else this.defects.push(`${this.name} ended with ${JSON.stringify(exit)}\n${this.output}`);
      this.#restart();
    });
  }
}

/** No run of any of them ended unasked, or wrote of a defect. */
export function expectNoDefects(processes: readonly SupervisedProcess[]): void {
  for (const { defects, name, stderr } of processes) {
    expect(defects, name).toEqual([]);
    expect(stderr, name).not.toMatch(/unexpected failure|UnhandledPromise|"level":60|records were gone/);
  }
}
