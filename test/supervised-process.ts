/** A role of the built CLI under a supervisor: started again when it is killed, or when it says that it has to be. */
import { expect } from 'vitest';
import { waitUntil } from '../services/process/wait-until.ts';
import { type Exit, MillraceProcess, millraceBinary } from './millrace-process.ts';

const START_TIMEOUT_MS = 120_000;
const READY = /^Ready\./m;
/** Before a process that could not start is started again. */
const BACKOFF_MS = 500;

export interface SupervisedOptions {
  /** The feature repo. */
  readonly features: string;
  /** Further flags. */
  readonly flags: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  /** Whether it may end with 1 before it was ready, because a server was away; it is then started again. @default false */
  readonly startsMayFail?: boolean;
}

export class SupervisedProcess {
  readonly role: string;
  readonly name: string;
  readonly #options: SupervisedOptions;
  #features: string;
  #current!: MillraceProcess;
  #url: string | null = null;
  #wanted = true;
  #ending: Promise<unknown> = Promise.resolve();
  #endings = 0;
  /** Standard error of all its runs. */
  #stderr = '';
  /** How often it ended by itself, asking to be started again. */
  askedForRestart = 0;
  /** Ended otherwise, without being asked to. */
  readonly defects: string[] = [];
  /** How often it ended as a server that it needs was not there. */
  failedStarts = 0;

  constructor(role: string, name: string, options: SupervisedOptions) {
    this.role = role;
    this.name = name;
    this.#options = options;
    this.#features = options.features;
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

  /** Not while it is being ended. */
  get isReady(): boolean {
    return this.#endings === 0 && READY.test(this.#current.stdout);
  }

  async ready(): Promise<void> {
    await waitUntil(() => this.isReady || this.defects.length > 0, {
      what: `${this.name} is ready`,
      timeoutMs: START_TIMEOUT_MS,
    }).catch((error: unknown) => {
      throw new Error(`${(error as Error).message}\n${this.output}`);
    });
    if (this.defects.length > 0) throw new Error(this.defects[0]);
  }

  signal(name: 'SIGSTOP' | 'SIGCONT'): void {
    this.#current.child.kill(name);
  }

  /** SIGKILL, and started again at once. */
  async crash(): Promise<void> {
    await this.#end('SIGKILL', () => this.#restart());
  }

  /** SIGTERM, and started again when it has ended. */
  roll(): Promise<Exit> {
    return this.#end('SIGTERM', () => this.#restart());
  }

  /**
   * SIGTERM, and started again over another feature repo. One that was killed just before is waited for: it would be ended
   * before it takes signals.
   */
  upgrade(features: string): Promise<Exit> {
    this.#ending = this.#ending.then(() =>
      waitUntil(() => READY.test(this.#current.stdout) || this.defects.length > 0, {
        what: `${this.name} is ready to be upgraded`,
        timeoutMs: START_TIMEOUT_MS,
      }),
    );
    return this.#end('SIGTERM', () => {
      this.#features = features;
      this.#restart();
    });
  }

  stop(): Promise<Exit> {
    return this.#end('SIGTERM', () => {});
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

  /** One after the other, whoever asks: what is ended is what was started last. */
  #end(signal: 'SIGKILL' | 'SIGTERM', then: () => void): Promise<Exit> {
    this.#endings++;
    const ended = this.#ending.then(async () => {
      this.#wanted = false;
      const exit = await this.#current.end(signal);
      this.#endings--;
      then();
      return exit;
    });
    this.#ending = ended;
    return ended;
  }

  #restart(): void {
    this.#stderr += this.#current.stderr;
    this.#wanted = true;
    this.#start();
  }

  #start(): void {
    this.#url = null;
    const { flags, env, startsMayFail = false } = this.#options;
    const args = [millraceBinary, this.role, '--port', '0', '--features', this.#features, ...flags];
    const process_ = new MillraceProcess(process.execPath, args, { env });
    this.#current = process_;
    process_.waitForOutput(/listens on (http:\S+)/).then(
      ([, url]) => {
        if (this.#current === process_) this.#url = url!;
      },
      () => {},
    );
    void process_.exited.then((exit) => {
      if (this.#current !== process_ || !this.#wanted) return;
      const wasReady = READY.test(process_.stdout);
      if (startsMayFail && exit.code === 1 && !wasReady && /Redis|Kafka/.test(process_.stderr)) {
        this.failedStarts++;
        setTimeout(() => {
          if (this.#current === process_ && this.#wanted) this.#restart();
        }, BACKOFF_MS).unref();
        return;
      }
      if (exit.code !== 1 || !process_.stderr.includes('to be started again')) {
        // Not again: it would end again, at once.
        this.defects.push(`${this.name} ended with ${JSON.stringify(exit)}\n${this.output}`);
        return;
      }
      this.askedForRestart++;
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
