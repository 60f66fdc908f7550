/** One run of k6: started, told by HTTP when its load begins, waited for, and what it measured. */
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { totalmem } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Scope } from '../bench/roles/scope.ts';
import type { K6 } from '../services/k6/k6.ts';
import { logTail, spawnLogged } from '../services/process/launch.ts';
import type { Item, K6Plan } from './k6-plan.ts';
import type { Scenario } from './scenarios.ts';

const HOST = '127.0.0.1';
/** k6 ends with it where thresholds were not met. */
const THRESHOLDS_FAILED = 99;
/** Beyond the load: until k6 has started and has taken its memory, and until its last requests are given up. */
const SLACK_MS = 180_000;
const GRACE_MS = 3_000;
/** What it may fill before it collects garbage: before any request, for each, and of the machine's memory at most. */
const K6_START_BYTES = 768 * 2 ** 20;
/** Measured: 24 to 36 KiB, and 61 KiB for a batch. */
const K6_REQUEST_BYTES: Readonly<Record<Scenario['script'], number>> = {
  'read-features': 44 * 1024,
  'score-and-ingest': 44 * 1024,
  'read-batches': 72 * 1024,
  'push-events': 96 * 1024,
};
const K6_MEMORY_SHARE = 0.4;
/** It takes some 4 s for a GiB. */
const K6_BYTES_MAX = 12 * 2 ** 30;
/** Requests that k6 takes two thirds of a core for. */
const ONE_CORE_PER_SECOND = 2_500;

export interface TrendValues {
  readonly count: number;
  readonly med: number;
  readonly 'p(95)': number;
  readonly 'p(99)': number;
  readonly 'p(99.9)': number;
  readonly max: number;
}

interface Metric {
  readonly values: Readonly<Record<string, number>>;
  readonly thresholds?: Readonly<Record<string, { readonly ok: boolean }>>;
}

/** Of metrics that nothing was counted or measured of. */
const NOTHING: TrendValues = { count: 0, med: 0, 'p(95)': 0, 'p(99)': 0, 'p(99.9)': 0, max: 0 };

/** What k6 says at its end. Metrics are named as it names them, with a tag in braces where they have one. */
export class K6Result {
  readonly #metrics: Readonly<Record<string, Metric>>;

  constructor(summary: string) {
    this.#metrics = (JSON.parse(summary) as { metrics: Record<string, Metric> }).metrics;
  }

  /** 0 where nothing was counted. */
  count(metric: string): number {
    return this.#metrics[metric]?.values.count ?? 0;
  }

  /** All 0 where nothing was measured. */
  trend(metric: string): TrendValues {
    return { ...NOTHING, ...this.#metrics[metric]?.values };
  }

  /** What k6 says of a threshold. */
  isMet(metric: string, expression: string): boolean {
    return this.#metrics[metric]!.thresholds![expression]!.ok;
  }
}

export interface K6Memory {
  readonly bytes: number;
  /** Whether it is enough for all requests; else garbage is collected meanwhile. */
  readonly isEnough: boolean;
}

/** What k6 is given for so many requests. */
export function k6Memory(script: Scenario['script'], requests: number): K6Memory {
  const needed = K6_START_BYTES + K6_REQUEST_BYTES[script] * requests;
  const bytes = Math.floor(Math.min(K6_MEMORY_SHARE * totalmem(), K6_BYTES_MAX, needed));
  return { bytes, isEnough: bytes >= Math.floor(needed) };
}

/**
 * Resolves when k6 has ended.
 * @param args.onBegin the load begins; what it resolves with is awaited
 * @throws where k6 fails otherwise than by its thresholds, with the end of its log; what `onBegin` throws
 */
export async function runK6(
  args: {
    readonly k6: K6;
    readonly scenario: Scenario;
    readonly plan: Omit<K6Plan, 'items' | 'summary' | 'begin'>;
    readonly items: readonly Item[];
    /** For the plan, logs and results. */
    readonly directory: string;
    readonly seconds: number;
    /** The highest rate of the load. */
    readonly peakPerSecond: number;
    readonly onStart: (pid: number) => void;
    readonly onBegin: () => Promise<void>;
    /** Rejects where there is nothing left to put load on. */
    readonly failure: Promise<never>;
  },
  scope: Scope,
): Promise<K6Result> {
  const { k6, scenario, plan, items, directory, seconds, peakPerSecond, onStart, onBegin, failure } = args;
  const file = (name: string): string => join(directory, name);
  const begun = await listenForBegin(scope);
  writeFileSync(file('items.json'), JSON.stringify(items));
  writeFileSync(
    file('plan.json'),
    JSON.stringify(
      {
        ...plan,
        items: file('items.json'),
        summary: file('summary.json'),
        begin: begun.url,
      } satisfies K6Plan,
      null,
      2,
    ),
  );
  const logFile = file('k6.log');
  // `env` instead of the environment of a child: k6 in Docker takes its settings as flags.
  const environment = {
    K6_NO_USAGE_REPORT: 'true',
    K6_AUTO_EXTENSION_RESOLUTION: 'false',
    // Its own garbage collection takes both cores at a time, and answers wait meanwhile: none of it, for memory. At 1,000
    // requests/s it fills 2 GiB in 50 s. Its script takes all of it before the load.
    GOGC: 'off',
    GOMEMLIMIT: `${Math.floor(plan.memoryBytes / 2 ** 20)}MiB`,
    // Its threads look for work on every core: where one core is enough, that is a sixth of what it takes, and in real time nobody
    // else has the core meanwhile.
    ...(peakPerSecond <= ONE_CORE_PER_SECOND ? { GOMAXPROCS: '1' } : {}),
  };
  const flags = Object.entries(environment).map(([name, value]) => `${name}=${value}`);
  const docker = k6.program === 'docker';
  const [image, before] = docker ? [k6.args.slice(-1), k6.args.slice(0, -1)] : [[], k6.args];
  const script = fileURLToPath(new URL(`./scenarios/${scenario.script}.js`, import.meta.url));
  const child = await spawnLogged({
    program: docker ? k6.program : 'env',
    args: [
      ...(docker ? [] : [...flags, k6.program]),
      ...before,
      ...(docker ? flags.flatMap((flag) => ['--env', flag]) : []),
      ...image,
      ...['run', '--quiet', '--no-color', '--env', `PLAN=${file('plan.json')}`, script],
    ],
    cwd: directory,
    logFile,
    lifetime: 'with-parent',
  });
  const exited: Promise<number | string> = new Promise((resolve) =>
    child.once('exit', (code, signal) => resolve(code ?? signal ?? 'nothing')),
  );
  if (child.exitCode !== null) throw new Error(`k6 ended at once:\n${logTail(logFile)}`);
  scope.defer(async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill('SIGTERM');
    const killing = setTimeout(() => child.kill('SIGKILL'), GRACE_MS);
    await exited;
    clearTimeout(killing);
  });
  onStart(child.pid!);
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(
      () => reject(new Error(`k6 does not end:\n${logTail(logFile)}`)),
      1000 * seconds + SLACK_MS,
    );
  });
  let ended = false;
  const background = begun.heard.then(() => (ended ? undefined : onBegin()));
  // Where k6 has failed before, that is what is said.
  background.catch(() => {});
  try {
    // What goes wrong beside k6 ends the run.
    const code = await Promise.race([late, failure, exited, background.then(() => exited)]);
    ended = true;
    if (code !== 0 && code !== THRESHOLDS_FAILED) {
      throw new Error(`k6 ended with ${code}:\n${logTail(logFile)}`);
    }
    begun.forget();
    await background;
  } finally {
    clearTimeout(timer);
  }
  return new K6Result(readFileSync(file('summary.json'), 'utf8'));
}

/** k6 asks this address for nothing, when its load begins. */
async function listenForBegin(scope: Scope) {
  let hear = (): void => {};
  const heard = new Promise<void>((resolve) => {
    hear = resolve;
  });
  const server = createServer((_request, response) => {
    response.end();
    hear();
  });
  server.listen(0, HOST);
  await once(server, 'listening');
  scope.defer(async () => {
    server.close();
    server.closeAllConnections();
  });
  return { url: `http://${HOST}:${(server.address() as AddressInfo).port}/`, heard, forget: hear };
}
