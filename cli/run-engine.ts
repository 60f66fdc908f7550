/**
 * Runs an engine, whatever it is made of, as a process:
 *
 * 1. Load the feature repo, open the engine, listen.
 * 2. Wait until it is ready, then say how to push and read, and start the simulator.
 * 3. On the first signal: no more simulated events, drain, close, all within `--shutdown-timeout`. On a second one:
 *    exit at once. Where the engine says that it cannot go on: close, exit with 1, so that whoever supervises the
 *    process starts it again.
 *
 * A signal before step 2 ends the process soon, with 0: nothing was accepted yet.
 */
import { relative } from 'node:path';
import type { FastifyInstance } from 'fastify';
import { pino } from 'pino';
import type { Clock } from '../engine/clock.ts';
import type { CompiledRepo } from '../engine/definitions/compiled.ts';
import type { EventPush } from '../ingest/event-push.ts';
import { CliError } from './cli-error.ts';
import { urlOf } from './config.ts';
import { drainConnections } from './drain-connections.ts';
import { letHeapGrow } from './heap-growth.ts';
import { hasSimulator, loadFeatureRepo, loadSimulator, type Simulate } from './load-features.ts';
import { packageVersion } from './package-root.ts';
import { runSimulator, type SimulatorRun } from './run-simulator.ts';
import { sampleRequests } from './sample-request.ts';
import type { Config } from './settings.ts';
import { aborted, shutdownOnSignals } from './shutdown.ts';

/** Clients have this share of the shutdown timeout to finish the requests they are sending. */
const DRAIN_SHARE = 0.6;
/** How long what is still being opened may take to be opened and closed, when nobody wants it any more. */
const ABANDON_AFTER_MS_MAX = 3_000;

/** What a process says of itself. */
export interface Announcer {
  print(text: string): void;
  ready(): void;
}

const ANNOUNCER: Announcer = {
  print: (text) => void process.stdout.write(`${text}\n`),
  ready: () => void process.stdout.write('\nReady. Ctrl-C stops.\n'),
};

/** What is run. */
export interface Engine {
  readonly app: FastifyInstance;
  /** null: the process does not serve. */
  readonly push: EventPush | null;
  readonly clock: Clock;
  /** Rejects when the process should end. */
  readonly failed?: Promise<never>;
  ready(): Promise<void>;
  /** What /readyz answers: it may serve although not all is well. */
  readiness?(): { readonly reasons: readonly string[] };
  close(): Promise<void>;
}

export interface EnginePlan {
  /**
   * @param signal it is to stop before it has opened
   * @throws CliError where what the user gave cannot be used
   */
  readonly open: (repo: CompiledRepo, logger: pino.Logger, signal: AbortSignal) => Promise<Engine>;
  /** Whether it has a simulator to switch on; a process of one role has none. */
  readonly simulates: boolean;
  /** Lines of `name  value` for the start. */
  readonly about: readonly (readonly [string, string])[];
  /** @returns how to say to the user what `ready` failed with; null: it is a defect */
  readonly explain: (error: unknown) => CliError | null;
  /** null: another process says so. */
  readonly stopped: string | null;
  /** What is safe when closing takes too long. */
  readonly leaving: string;
  /** @default standard output */
  readonly announcer?: Announcer;
}

/** Resolves with the exit code when a signal, or the engine, has stopped the process. */
export async function runEngine(config: Config, plan: EnginePlan): Promise<number> {
  const { print, ready } = plan.announcer ?? ANNOUNCER;
  const closeForMs = config.shutdownTimeout * 1_000;
  letHeapGrow();
  const repo = await loadFeatureRepo(config.features);
  const simulate = plan.simulates && config.simulate ? await loadSimulator(config.features) : null;
  const shutdown = shutdownOnSignals((signal) => {
    print(`\n${signal}: draining; once more exits at once.`);
  });
  // stderr, synchronously: the last lines before an exit are the ones that matter.
  const logger = pino({ level: config.logLevel }, pino.destination({ dest: 2, sync: true }));
  try {
    const opening = plan.open(repo, logger, shutdown.signal);
    const engine = await Promise.race([opening, aborted(shutdown.signal)]);
    if (engine === undefined) {
      await abandoned(opening, Math.min(ABANDON_AFTER_MS_MAX, closeForMs));
      if (plan.stopped !== null) print(plan.stopped);
      return 0;
    }
    let simulator: SimulatorRun | null = null;
    let failure: unknown = null;
    try {
      const port = await listen(engine, config);
      const url = urlOf(config.host, port);
      print(`Millrace ${packageVersion()} listens on ${url}`);
      const lines = [['features', describeFeatures(config, repo)], ...plan.about] as const;
      for (const [name, value] of lines) print(`  ${name!.padEnd(10)} ${value}`);
      warnIfOpen(config.host, print);
      await catchUp(engine, plan, shutdown.signal, print);
      if (!shutdown.signal.aborted) {
        for (const reason of engine.readiness?.().reasons ?? []) print(`  not ready  ${reason}`);
        if (engine.push !== null) {
          simulator = startSimulator(config, engine.push, simulate, logger);
          const rate = `${config.simulateRate} events/s; --no-simulate switches it off`;
          if (plan.simulates) print(`  simulator  ${simulator === null ? 'off' : rate}`);
          await printSamples(config, repo, url, engine.clock.nowMs(), print);
        }
        ready();
        const ended = [aborted(shutdown.signal)];
        if (engine.failed !== undefined) ended.push(engine.failed);
        await Promise.race(ended).catch((cause: unknown) => {
          throw cannotGoOn(cause);
        });
      }
    } catch (error) {
      failure = error;
      throw error;
    } finally {
      // The simulator's last push may wait for a server that does not answer, and closing waits for pushes anyway.
      const closed = Promise.all([simulator?.stop(), engine.close()]);
      const closing = drainConnections(engine.app.server, closed, DRAIN_SHARE * closeForMs);
      // The failure is reported behind this block, which may not be reached.
      await inTime(closing, { closeForMs, leaving: plan.leaving, failure });
    }
    if (plan.stopped !== null) print(plan.stopped);
    return 0;
  } finally {
    shutdown.dispose();
  }
}

const cannotGoOn = (cause: unknown): CliError =>
  new CliError(`the process cannot go on and stops, to be started again: ${messageOf(cause)}`, { cause });

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

/** Closes what is being opened, unless that takes long: a server that does not answer has nothing of ours. */
async function abandoned(opening: Promise<Engine>, afterMs: number): Promise<void> {
  const timer = setTimeout(() => process.exit(0), afterMs);
  try {
    await (await opening).close();
  } catch {
    // It could not be opened, and does not have to be.
  } finally {
    clearTimeout(timer);
  }
}

/**
 * Waits for the end of closing, which a full disk or a dead server may keep away; then the process ends all the same.
 * `failure` is what the process ends for; null: it was asked to.
 */
async function inTime(
  closing: Promise<unknown>,
  { closeForMs, leaving, failure }: { closeForMs: number; leaving: string; failure: unknown },
): Promise<void> {
  const timer = setTimeout(() => {
    if (failure !== null) process.stderr.write(`millrace: ${messageOf(failure)}\n`);
    process.stderr.write(`Not closed after ${closeForMs / 1000} s; leaving anyway. ${leaving}\n`);
    process.exit(1);
  }, closeForMs);
  try {
    await closing;
  } finally {
    clearTimeout(timer);
  }
}

/** Returns the port. */
async function listen(engine: Engine, { host, port }: Config): Promise<number> {
  try {
    await engine.app.listen({ host, port });
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === 'EADDRINUSE') {
      throw new CliError(
        `port ${port} on ${host} is in use, by another program or another Millrace. Choose another with --port ` +
          '(0 takes any free one)',
        { cause: error },
      );
    }
    if (code === 'EACCES' || code === 'EADDRNOTAVAIL' || code === 'ENOTFOUND' || code === 'EAI_AGAIN') {
      throw new CliError(`cannot listen on ${host}, port ${port}: ${message} (--host, --port)`, {
        cause: error,
      });
    }
    throw error;
  }
  const address = engine.app.server.address();
  return typeof address === 'object' && address !== null ? address.port : port;
}

function warnIfOpen(host: string, print: Announcer['print']): void {
  if (/^(127\.|localhost$|::1$)/.test(host)) return;
  print(`  warning    ${host} can be reached from other machines, and there is no authentication yet`);
}

function describeFeatures(config: Config, repo: CompiledRepo): string {
  const path = relative(process.cwd(), config.features) || '.';
  const shown = path.startsWith('..') ? config.features : path;
  return `${shown} (services ${[...repo.services.keys()].join(', ') || 'none'})`;
}

const SAY_CATCHING_UP_AFTER_MS = 500;

/** Resolves when the engine is ready, or when the signal aborts. */
async function catchUp(
  engine: Engine,
  plan: EnginePlan,
  signal: AbortSignal,
  print: Announcer['print'],
): Promise<void> {
  const timer = setTimeout(() => print('  catching up with the log …'), SAY_CATCHING_UP_AFTER_MS);
  let failure: unknown;
  engine.failed?.catch((error: unknown) => {
    failure = error;
  });
  try {
    await Promise.race([engine.ready(), aborted(signal)]);
  } catch (error) {
    throw plan.explain(error) ?? (error === failure ? cannotGoOn(error) : error);
  } finally {
    clearTimeout(timer);
  }
}

function startSimulator(
  config: Config,
  push: EventPush,
  simulate: Simulate | null,
  logger: pino.Logger,
): SimulatorRun | null {
  if (simulate === null) return null;
  return runSimulator({
    simulate,
    seed: config.simulateSeed,
    ratePerSecond: config.simulateRate,
    nowMs: Date.now,
    push: async (source, events) => {
      const { rejected } = await push.push(source, events);
      if (rejected.length > 0) logger.warn({ source, rejected }, 'simulated events were rejected');
    },
    onError: (error) => logger.error({ err: error }, 'the simulator failed'),
  });
}

/** @param nowMs what the engine takes for now; with the event clock 0 before the first event */
async function printSamples(
  config: Config,
  repo: CompiledRepo,
  url: string,
  nowMs: number,
  print: Announcer['print'],
): Promise<void> {
  if (nowMs === 0) {
    // A sample of today would move the clock past the history that is about to be replayed.
    const source = [...repo.sources.keys()][0] ?? 'NAME';
    print(
      `\nReplay a file of events:\nmillrace replay FILE --source ${source} --features ${config.features} --url ${url}`,
    );
    return;
  }
  const samples = sampleRequests({ repo, url, nowMs, ...(await simulatedExample(config)) });
  if (samples === null) return;
  print(`\nPush an event:\n${samples.push}`);
  if (samples.read !== null) print(`\nRead features:\n${samples.read}`);
}

/** An event of the repo's simulator, to make the printed lines look real, also when it is not running. */
async function simulatedExample(config: Config): Promise<Pick<Parameters<typeof sampleRequests>[0], 'like'>> {
  if (!hasSimulator(config.features)) return {};
  try {
    const simulate = await loadSimulator(config.features);
    const options = { seed: config.simulateSeed, startMs: Date.now(), ratePerSecond: config.simulateRate };
    for (const event of simulate(options)) return { like: event };
  } catch (error) {
    // Made-up values do as well; with --simulate the failure has been reported before.
    if (!(error instanceof Error)) throw error;
  }
  return {};
}
