/**
 * `millrace up`: everything in one process.
 *
 * 1. Load the feature repo, take the data directory, listen.
 * 2. Catch up with the log, then say how to push and read, and start the simulator.
 * 3. On the first signal: no more simulated events, drain, flush, close. On a second one: exit at once.
 */
import { relative } from 'node:path';
import { pino } from 'pino';
import { type Embedded, openEmbedded } from '../embedded/runtime.ts';
import type { CompiledRepo } from '../engine/definitions/compiled.ts';
import { DirectoryLockedError } from '../engine/store/directory-lock.ts';
import { StoreFormatError } from '../engine/store/store-errors.ts';
import { LogReplacedError } from '../ingest/partition-consumer.ts';
import { CliError } from './cli-error.ts';
import { urlOf } from './config.ts';
import { drainConnections } from './drain-connections.ts';
import { hasSimulator, loadFeatureRepo, loadSimulator, type Simulate } from './load-features.ts';
import { packageVersion } from './package-root.ts';
import { runSimulator, type SimulatorRun } from './run-simulator.ts';
import { sampleRequests } from './sample-request.ts';
import type { Config } from './settings.ts';
import { aborted, shutdownOnSignals } from './shutdown.ts';

/** Clients have this long to finish the requests they are sending. */
const DRAIN_FOR_MS = 10_000;
/** Longer than draining requests (10 s) and applying the log (5 s) may take. */
const CLOSE_FOR_MS = 20_000;

const print = (text: string): void => {
  process.stdout.write(`${text}\n`);
};

/** Resolves with the exit code when a signal has stopped the process. */
export async function up(config: Config): Promise<number> {
  const repo = await loadFeatureRepo(config.features);
  const simulate = config.simulate ? await loadSimulator(config.features) : null;
  const shutdown = shutdownOnSignals((signal) => {
    print(`\n${signal}: draining; once more exits at once.`);
  });
  // stderr, synchronously: the last lines before an exit are the ones that matter.
  const logger = pino({ level: config.logLevel }, pino.destination({ dest: 2, sync: true }));
  try {
    const embedded = await open(config, repo, logger);
    let simulator: SimulatorRun | null = null;
    try {
      const port = await listen(embedded, config);
      const url = urlOf(config.host, port);
      print(`Millrace ${packageVersion()} listens on ${url}`);
      print(`  features   ${describeFeatures(config, repo)}`);
      print(`  data       ${config.dataDir}`);
      warnIfOpen(config.host);
      await catchUp(embedded, shutdown.signal);
      if (!shutdown.signal.aborted) {
        simulator = startSimulator(config, embedded, simulate, logger);
        print(
          `  simulator  ${simulator === null ? 'off' : `${config.simulateRate} events/s; --no-simulate switches it off`}`,
        );
        await printSamples(config, repo, url, embedded.clock.nowMs());
        print('\nReady. Ctrl-C stops.');
        await aborted(shutdown.signal);
      }
    } finally {
      await simulator?.stop();
      await inTime(drainConnections(embedded.app.server, embedded.close(), DRAIN_FOR_MS), config.dataDir);
    }
    print(`Stopped: everything accepted is on disk in ${config.dataDir}`);
    return 0;
  } finally {
    shutdown.dispose();
  }
}

/** Waits for the end of closing, which a store on a full disk may never reach; then the process ends all the same. */
async function inTime(closing: Promise<void>, dataDir: string): Promise<void> {
  const timer = setTimeout(() => {
    process.stderr.write(
      `Not closed after ${CLOSE_FOR_MS / 1000} s; leaving anyway. Every acknowledged event is on disk in ${dataDir}; ` +
        'see whether the disk is full.\n',
    );
    process.exit(1);
  }, CLOSE_FOR_MS);
  try {
    await closing;
  } finally {
    clearTimeout(timer);
  }
}

async function open(config: Config, repo: CompiledRepo, logger: pino.Logger): Promise<Embedded> {
  try {
    return await openEmbedded({
      repo,
      dataDir: config.dataDir,
      clock: config.clock,
      maxLogBytes: config.maxLogBytes,
      logger,
    });
  } catch (error) {
    if (error instanceof DirectoryLockedError || error instanceof StoreFormatError) {
      throw new CliError(`${error.message} (--data-dir)`, { cause: error });
    }
    const { code, message } = error as NodeJS.ErrnoException;
    if (
      code === 'ENOENT' ||
      /read-only file system/i.test(message) ||
      code === 'EACCES' ||
      code === 'EROFS' ||
      code === 'ENOTDIR' ||
      code === 'EEXIST' ||
      code === 'ENOSPC'
    ) {
      throw new CliError(`the data directory ${config.dataDir} cannot be used: ${message} (--data-dir)`, {
        cause: error,
      });
    }
    throw error;
  }
}

/** Returns the port. */
async function listen(embedded: Embedded, { host, port }: Config): Promise<number> {
  try {
    await embedded.app.listen({ host, port });
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
  const address = embedded.app.server.address();
  return typeof address === 'object' && address !== null ? address.port : port;
}

function warnIfOpen(host: string): void {
  if (/^(127\.|localhost$|::1$)/.test(host)) return;
  print(`  warning    ${host} can be reached from other machines, and there is no authentication yet`);
}

function describeFeatures(config: Config, repo: CompiledRepo): string {
  const path = relative(process.cwd(), config.features) || '.';
  const shown = path.startsWith('..') ? config.features : path;
  return `${shown} (services ${[...repo.services.keys()].join(', ') || 'none'})`;
}

const SAY_CATCHING_UP_AFTER_MS = 500;

/** Resolves when the log is applied to every view, or when the signal aborts. */
async function catchUp(embedded: Embedded, signal: AbortSignal): Promise<void> {
  const timer = setTimeout(() => print('  catching up with the log …'), SAY_CATCHING_UP_AFTER_MS);
  try {
    await Promise.race([embedded.ready(), aborted(signal)]);
  } catch (error) {
    if (error instanceof LogReplacedError)
      throw new CliError(`${error.message} (--data-dir)`, { cause: error });
    throw error;
  } finally {
    clearTimeout(timer);
  }
}

function startSimulator(
  config: Config,
  embedded: Embedded,
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
      const { rejected } = await embedded.push.push(source, events);
      if (rejected.length > 0) logger.warn({ source, rejected }, 'simulated events were rejected');
    },
    onError: (error) => logger.error({ err: error }, 'the simulator failed'),
  });
}

/** @param nowMs what the engine takes for now; with the event clock 0 before the first event */
async function printSamples(config: Config, repo: CompiledRepo, url: string, nowMs: number): Promise<void> {
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
