/** Where the engine keeps things: one tile store, and a log per name. */
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import type { ClockKind } from '../engine/clock.ts';
import { lockDirectory } from '../engine/store/directory-lock.ts';
import { LmdbTileStore } from '../engine/store/lmdb-tile-store.ts';
import { MemoryTileStore } from '../engine/store/memory-tile-store.ts';
import type { TileStore } from '../engine/store/tile-store.ts';
import type { EventLog } from '../ingest/log/event-log.ts';
import { LmdbLogs } from '../ingest/log/lmdb-logs.ts';
import { MemoryEventLog } from '../ingest/log/memory-event-log.ts';

export interface Storage {
  readonly store: TileStore;
  /** The log of this name, made with its partitions if it is new. */
  log(name: string, partitions: number): Promise<EventLog>;
  /** Returns when what this thread has written to the store, and all that was written before it, survives a power failure. */
  storeFlushed(): Promise<void>;
  /** Flushes and closes everything. Idempotent. */
  close(): Promise<void>;
}

export interface LmdbStorage extends Storage {
  readonly store: LmdbTileStore;
}

export interface LmdbStorageOptions {
  /** Created if missing. Holds `log/` and `store/`. */
  readonly dataDir: string;
  /** false: a power failure may lose data; for tests. @default true */
  readonly flush?: boolean;
  /** As in `LmdbTileStoreOptions`. */
  readonly clock?: ClockKind;
}

/**
 * @throws DirectoryLockedError where another process has the directory open; StoreFormatError where another version or
 *   another clock has filled it
 */
export async function openLmdbStorage({
  dataDir,
  flush = true,
  clock,
}: LmdbStorageOptions): Promise<LmdbStorage> {
  const lock = await lockDirectory(dataDir);
  let logs: LmdbLogs | undefined;
  try {
    const opened = await LmdbLogs.open(join(dataDir, 'log'), { flush });
    logs = opened;
    const store = await LmdbTileStore.open({
      path: join(dataDir, 'store'),
      ...(clock === undefined ? {} : { clock }),
    });
    let closing: Promise<void> | undefined;
    return {
      store,
      log: (name, partitions) => opened.log(name, partitions),
      storeFlushed: () => store.flush(),
      close() {
        closing ??= closeAll([() => store.close(), () => opened.close(), () => lock.release()]);
        return closing;
      },
    };
  } catch (error) {
    await logs?.close();
    await lock.release();
    throw error;
  }
}

/** Gone when the process ends. */
export function openMemoryStorage(): Storage {
  const random = (): string => randomBytes(8).toString('hex');
  const store = new MemoryTileStore({ random, historyLimit: 0 });
  const logs = new Map<string, EventLog>();
  return {
    store,
    async log(name, partitions) {
      const log = logs.get(name) ?? new MemoryEventLog({ source: name, partitions, random });
      logs.set(name, log);
      return log;
    },
    // Store and log are lost together.
    async storeFlushed() {},
    async close() {
      await closeAll([() => store.close(), ...[...logs.values()].map((log) => () => log.close())]);
    },
  };
}

/** In order; all of them even where one fails. @throws the first failure */
async function closeAll(closers: readonly (() => Promise<void>)[]): Promise<void> {
  const failures: unknown[] = [];
  for (const close of closers) await close().catch((error: unknown) => failures.push(error));
  if (failures.length > 0) throw failures[0];
}
