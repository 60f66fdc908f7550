/** Processes of the engine: the built CLI with one role over the servers of the benchmark, or with all of them embedded. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { endProcess } from '../../services/process/end-process.ts';
import { launch, logTail } from '../../services/process/launch.ts';
import { isAlive, type ProcessIdentity } from '../../services/process/process-identity.ts';
import type { Scope } from './scope.ts';

export interface EngineSettings {
  /** For logs. */
  readonly directory: string;
  /** Where CPU and heap profiles of the processes go; null: none are taken. */
  readonly profile: string | null;
}

export type EngineArguments = RoleArguments | EmbeddedArguments;

interface EmbeddedArguments {
  readonly role: 'up';
  readonly features: string;
  readonly dataDir: string;
  /** @default false */
  readonly realtime?: boolean;
}

interface RoleArguments {
  readonly role: 'ingest' | 'serve' | 'compact';
  readonly features: string;
  readonly brokers: readonly string[];
  readonly redis: string;
  readonly clock?: 'wall' | 'event';
  /** Consumer group. @default millrace */
  readonly group?: string;
  /** Of the write benchmarks' source. */
  readonly topic?: string;
  /** Of `serve` and `ingest`. @default false */
  readonly realtime?: boolean;
}

/**
 * As the image runs it. What a read or a chunk makes then seldom lives through two collections of the young generation, so
 * that the old one, whose collections stop everything for 10 ms, hardly grows.
 */
export const NODE_FLAGS: readonly string[] = ['--max-semi-space-size=64'];

const START_TIMEOUT_MS = 60_000;
const GRACE_MS = 25_000;
const POLL_MS = 20;

const pathOf = (relative: string): string => fileURLToPath(new URL(relative, import.meta.url));

let started = 0;

export class EngineProcess {
  readonly #identity: ProcessIdentity;
  readonly #role: string;
  readonly #logFile: string;
  #url: string | null = null;

  /** Resolves when the process says that it is ready. @throws with the end of its log */
  static async start(settings: EngineSettings, args: EngineArguments, scope: Scope): Promise<EngineProcess> {
    const engine = await EngineProcess.launch(settings, args, scope);
    await engine.ready();
    return engine;
  }

  /** Resolves as soon as there is a process. */
  static async launch(settings: EngineSettings, args: EngineArguments, scope: Scope): Promise<EngineProcess> {
    const logFile = join(settings.directory, `${args.role}-${++started}.log`);
    const identity = await launch({
      program: 'env',
      args: commandLine(settings, args),
      cwd: pathOf('../..'),
      logFile,
      lifetime: 'with-parent',
    });
    scope.defer(() => endProcess(identity, { graceMs: GRACE_MS }));
    return new EngineProcess(identity, args.role, logFile);
  }

  private constructor(identity: ProcessIdentity, role: string, logFile: string) {
    this.#identity = identity;
    this.#role = role;
    this.#logFile = logFile;
  }

  /** @throws with the end of its log */
  async ready(): Promise<void> {
    const deadlineMs = performance.now() + START_TIMEOUT_MS;
    for (;;) {
      const log = readFileSync(this.#logFile, 'utf8');
      this.#url = /listens on (http:\S+)/.exec(log)?.[1] ?? null;
      if (this.#url !== null && /^Ready\./m.test(log)) return;
      if (!isAlive(this.#identity) || performance.now() > deadlineMs) {
        throw new Error(`millrace ${this.#role} did not start:\n${logTail(this.#logFile)}`);
      }
      await delay(POLL_MS);
    }
  }

  get url(): string {
    if (this.#url === null) throw new Error('the process is not ready');
    return this.#url;
  }

  get pid(): number {
    return this.#identity.pid;
  }

  /** The sum of a metric over its labels; 0 where it is absent. */
  async metric(name: string, labels = ''): Promise<number> {
    const response = await fetch(`${this.url}/metrics`);
    const text = await response.text();
    let sum = 0;
    for (const line of text.split('\n')) {
      if (
        line.startsWith(`${name}{`) ? line.includes(labels) : labels === '' && line.startsWith(`${name} `)
      ) {
        sum += Number(line.slice(line.lastIndexOf(' ')));
      }
    }
    return sum;
  }

  /** Ends it before its scope does. */
  async stop(): Promise<void> {
    await endProcess(this.#identity, { graceMs: GRACE_MS });
  }
}

/** Arguments of `env`: nothing that configures millrace is passed on. */
function commandLine({ profile }: EngineSettings, args: EngineArguments): string[] {
  const inherited = Object.keys(process.env).filter((name) => name.startsWith('MILLRACE_'));
  const topic = args.role === 'up' ? undefined : args.topic;
  return [
    ...inherited.flatMap((name) => ['-u', name]),
    ...(topic === undefined ? [] : [`BENCH_TOPIC=${topic}`]),
    process.execPath,
    ...NODE_FLAGS,
    ...(profile === null
      ? []
      : ['--cpu-prof', `--cpu-prof-dir=${profile}`, '--heap-prof', `--heap-prof-dir=${profile}`]),
    pathOf('../../bin/millrace.js'),
    args.role,
    ...['--features', args.features, '--port', '0'],
    ...(args.role === 'up' ? ['--data-dir', args.dataDir] : roleFlags(args)),
    ...(args.realtime === true ? ['--realtime'] : []),
  ];
}

function roleFlags({ role, brokers, redis, clock = 'wall', group = 'millrace' }: RoleArguments): string[] {
  return [
    ...['--clock', clock, '--kafka', brokers.join(','), '--redis', redis, '--create-topics'],
    ...(role === 'ingest' ? ['--group', group] : []),
  ];
}
