/**
 * The embedded log of a data directory as a history. The directory belongs to one process at a time, and so it does here:
 * it is locked while it is read, and left as it was.
 */
import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { HistoryLog, LogAccess, LogHistoryOptions } from '../archive/log-history.ts';

export interface EmbeddedHistoryOptions extends LogHistoryOptions {
  /** Of an engine that has been stopped. */
  readonly dataDir: string;
}

/**
 * For `trainingSet({ history })`: the events that the log in a data directory holds.
 *
 * @example
 * await trainingSet({ repo, service, spine, history: embeddedHistory({ dataDir: '.millrace' }) });
 */
export function embeddedHistory(options: EmbeddedHistoryOptions): HistoryLog {
  const dataDir = resolve(options.dataDir);
  return {
    identity: { log: dataDir },
    async writeTo(directory, sources) {
      // Loaded here: a feature repo needs none of it.
      const { LogHistory } = await import('../archive/log-history.ts');
      return new LogHistory({ open: () => openLogs(dataDir), options }).writeTo(directory, sources);
    },
  };
}

/** @throws {LogHistoryError} where there is no log, or it cannot be opened now */
async function openLogs(dataDir: string): Promise<LogAccess> {
  const [{ LogHistoryError }, { DirectoryLockedError, lockDirectory }, { LmdbLogs }, { jsonRecordDecoder }] =
    await Promise.all([
      import('../archive/log-history.ts'),
      import('../engine/store/directory-lock.ts'),
      import('../ingest/log/lmdb-logs.ts'),
      import('../ingest/decoding/json-record.ts'),
    ]);
  const path = join(dataDir, 'log');
  if (!existsSync(join(path, 'data.mdb'))) {
    throw new LogHistoryError(
      `there is no embedded log in ${dataDir}: name the data directory of an engine (--data-dir)`,
    );
  }
  const close: (() => Promise<void>)[] = [];
  const closeAll = async (): Promise<void> => {
    for (const part of close.splice(0).reverse()) await part();
  };
  try {
    // Also the directory that holds the log: an engine that is started now says who has it.
    const lock = await lockDirectory(dataDir);
    close.push(() => lock.release());
    const logs = await LmdbLogs.open(path);
    close.push(() => logs.close());
    const logOf = async (source: string) => {
      const log = await logs.existingLog(source);
      if (log !== null) return log;
      throw new LogHistoryError(
        `the embedded log in ${dataDir} has no source ${source}: no engine that has it was ever started there`,
      );
    };
    return {
      info: ({ name }) => logOf(name),
      open: async ({ name }) => ({
        log: await logOf(name),
        decoder: jsonRecordDecoder(),
        close: async () => {},
      }),
      close: closeAll,
    };
  } catch (error) {
    await closeAll();
    if (error instanceof DirectoryLockedError) {
      const { directory, pid } = error;
      throw new LogHistoryError(
        `${directory} is in use: ${pid === null ? 'another process' : `process ${pid}`} has it open, and its log can be read ` +
          'by one process only. Stop the engine while it is read; or start it with --archive DIR, and take that folder as history',
        { cause: error },
      );
    }
    throw new LogHistoryError(
      `the embedded log in ${dataDir} cannot be opened: ${(error as Error).message}`,
      {
        cause: error,
      },
    );
  }
}
