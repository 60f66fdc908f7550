/** `millrace up`: everything in one process; over lmdb, or over Kafka and Redis where they are given. */
import { availableParallelism } from 'node:os';
import { extname } from 'node:path';
import type { pino } from 'pino';
import { ArchiveColumnsError } from '../archive/archive-columns.ts';
import type { Role } from '../distributed/runtime.ts';
import { type Embedded, openEmbedded } from '../embedded/runtime.ts';
import { DefinitionsChangedError, type WriteThreadModule } from '../embedded/write-thread.ts';
import type { CompiledRepo } from '../engine/definitions/compiled.ts';
import { DirectoryLockedError } from '../engine/store/directory-lock.ts';
import { StoreFormatError, StoreFullError } from '../engine/store/store-errors.ts';
import { LogFullError } from '../ingest/log/log-errors.ts';
import { LogReplacedError, PartitionStoppedError } from '../ingest/partition-stopped.ts';
import { DecisionLogError } from '../serve/decision-log/decision-log.ts';
import { archiveLines, archiveOptions } from './archive-options.ts';
import { CliError } from './cli-error.ts';
import { decisionLogLines, decisionLogOption, decisionLogProblem } from './decision-log-settings.ts';
import { runEngine } from './run-engine.ts';
import { setScheduling } from './scheduling.ts';
import type { Config } from './settings.ts';

const ALL_ROLES: readonly Role[] = ['ingest', 'serve', 'compact'];

/** Share of the shutdown timeout in which the log is applied. */
const DRAIN_SHARE = 0.25;

/** Resolves with the exit code when a signal has stopped the process. */
export async function up(config: Config): Promise<number> {
  if (config.kafka !== null || config.redis !== null) {
    const { runRoles } = await import('./run-roles.ts');
    return runRoles(config, ALL_ROLES);
  }
  const decisionLog = decisionLogOption(config);
  setScheduling(config, ALL_ROLES);
  return runEngine(config, {
    open: (repo, logger) => open(config, repo, logger, decisionLog),
    simulates: true,
    about: [['data', config.dataDir], ...archiveLines(config), ...decisionLogLines(config)],
    explain: (error) => {
      if (!(error instanceof PartitionStoppedError)) return null;
      const flag = error instanceof LogReplacedError ? ' (--data-dir)' : '';
      return new CliError(error.message + flag, { cause: error });
    },
    stopped: `Stopped: everything accepted is on disk in ${config.dataDir}`,
    leaving: `Every acknowledged event is on disk in ${config.dataDir}; see whether the disk is full.`,
  });
}

/** Built, and run from source. */
const WRITE_THREAD = new URL(`./write-thread${extname(import.meta.url)}`, import.meta.url);

const writeThread = (features: string): WriteThreadModule => ({ url: WRITE_THREAD, data: features });

async function open(
  config: Config,
  repo: CompiledRepo,
  logger: pino.Logger,
  decisionLog: ReturnType<typeof decisionLogOption>,
): Promise<Embedded> {
  try {
    return await openEmbedded({
      repo,
      dataDir: config.dataDir,
      clock: config.clock,
      maxLogBytes: config.maxLogBytes,
      consumer: { onGap: config.onGap },
      limits: { inFlight: config.maxInFlight, connections: config.maxConnections },
      // Behind the requests, which have the first 60 %; the flush comes after it.
      drainTimeoutMs: DRAIN_SHARE * config.shutdownTimeout * 1_000,
      logger,
      ...decisionLog,
      ...archiveOptions(config),
      ...(availableParallelism() < 2 ? {} : { writeThread: writeThread(config.features) }),
    });
  } catch (error) {
    if (
      error instanceof DirectoryLockedError ||
      error instanceof StoreFormatError ||
      error instanceof LogFullError ||
      error instanceof StoreFullError
    ) {
      throw new CliError(`${error.message} (--data-dir)`, { cause: error });
    }
    if (error instanceof DecisionLogError) throw decisionLogProblem(error);
    if (error instanceof ArchiveColumnsError) throw new CliError(error.message, { cause: error });
    if (error instanceof DefinitionsChangedError) throw new CliError(error.message, { cause: error });
    const { code, message } = error as NodeJS.ErrnoException;
    if (
      code === 'ENOENT' ||
      /read-only file system/i.test(message) ||
      code === 'EACCES' ||
      code === 'EPERM' ||
      code === 'ENAMETOOLONG' ||
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
