/**
 * What the lmdb tile store and the lmdb event log share: opening an environment, the calls we use of a
 * database, and telling why a transaction failed.
 */
import { existsSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import { stat, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import {
  type Database,
  open,
  type RootDatabase,
  type RootDatabaseOptionsWithPath,
  type Transaction,
} from 'lmdb';
import { flushDirectory, flushFile } from './durable-directory.ts';

/**
 * Keys and values are bytes. `getBinaryFast` returns a buffer that the next get overwrites; only its first
 * `length` bytes count, and its `byteLength` is larger: use `copyValue`.
 */
export type BytesDatabase = Omit<Database<Uint8Array, Uint8Array>, 'getBinaryFast'> & {
  getBinaryFast(key: Uint8Array, options?: { transaction: Transaction }): Uint8Array | undefined;
};

/** lmdb-js has `resetReadTxn`, its types do not: the next read sees what is committed then. */
export type Environment = RootDatabase<Uint8Array, Uint8Array> & { resetReadTxn(): void };

/**
 * Address space reserved at open, not memory or disk. lmdb grows the map when it is used up, but keeps every
 * former map until it is closed; starting large avoids that.
 */
const MAP_BYTES = 16 * 1024 ** 3;

export interface EnvironmentOptions {
  /** The directory, which exists. */
  readonly path: string;
  /** true: a commit is visible first and flushed right after, in the background. false: flushed, then visible. */
  readonly overlappingSync: boolean;
  /** true: never flush. Only for data that may be lost as a whole when the machine stops. */
  readonly noSync?: boolean;
}

const DATA_FILE = 'data.mdb';
/** Directory in which a new environment is made. */
const NEW = 'new';

/**
 * Opens the environment in a directory, which is made if there is none.
 *
 * A new one is made beside its place, flushed, and moved there. lmdb writes the first pages of a file without a flush:
 * a power failure in the middle of them leaves a file that ends the process with a segmentation fault when it is opened,
 * and with `overlappingSync` one before the first flush makes it fall back to the transaction before the first, which
 * is number 2⁶⁴ − 1, and newer than all that follow.
 */
export async function openEnvironment(options: EnvironmentOptions): Promise<Environment> {
  const { path } = options;
  const dataFile = join(path, DATA_FILE);
  const made = join(path, NEW);
  rmSync(made, { recursive: true, force: true });
  if (!existsSync(dataFile)) {
    mkdirSync(made);
    const environment = openFiles({ ...options, path: made, noSync: false });
    await openDatabase(environment, 'meta').put(new Uint8Array([0]), new Uint8Array(0));
    await environment.flushed;
    await environment.close();
    flushFile(join(made, DATA_FILE));
    renameSync(join(made, DATA_FILE), dataFile);
    rmSync(made, { recursive: true });
  }
  // Also where a process that was killed had moved it: what is flushed in a file without a name is lost.
  flushDirectory(path);
  return openFiles(options);
}

/** In another thread than the one that has opened it, with the same options. lmdb-js opens it once for the process. */
export function shareEnvironment(options: EnvironmentOptions): Environment {
  return openFiles(options);
}

/** lmdb-js has the option, its types do not. */
type OpenOptions = RootDatabaseOptionsWithPath & { readonly safeRestore: boolean };

function openFiles({ path, overlappingSync, noSync = false }: EnvironmentOptions): Environment {
  const options: OpenOptions = {
    path,
    noSubdir: false,
    mapSize: MAP_BYTES,
    maxDbs: 8,
    encoding: 'binary',
    keyEncoding: 'binary',
    cache: false,
    // With event-turn batching lmdb makes a promise of its own for each batch, which nobody can handle: a failed
    // commit would end the process as an unhandled rejection.
    eventTurnBatching: false,
    overlappingSync,
    // Begins with what is flushed, not with what is visible. lmdb takes what it begins with as flushed, and would use
    // pages again that the last flushed transaction needs: two kills within a boot, and then a power loss, left a damaged store.
    safeRestore: overlappingSync,
    noSync,
  };
  return open<Uint8Array, Uint8Array>(options) as Environment;
}

export function openDatabase(environment: Environment, name: string): BytesDatabase {
  return environment.openDB<Uint8Array, Uint8Array>({
    name,
    encoding: 'binary',
    keyEncoding: 'binary',
    cache: false,
  }) as unknown as BytesDatabase;
}

/** The meaningful part of what `getBinaryFast` returned, as a view: valid until the next get. */
export function valueView(value: Uint8Array): Uint8Array {
  return new Uint8Array(value.buffer, value.byteOffset, value.length);
}

/** Bytes of all pages in use by these databases: what a full copy without free pages would take. */
export function usedBytes(databases: readonly BytesDatabase[]): number {
  let bytes = 0;
  for (const database of databases) {
    const stats = database.getStats() as {
      pageSize: number;
      treeBranchPageCount: number;
      treeLeafPageCount: number;
      overflowPages: number;
    };
    bytes += stats.pageSize * (stats.treeBranchPageCount + stats.treeLeafPageCount + stats.overflowPages);
  }
  return bytes;
}

/**
 * Why a transaction failed. lmdb rejects with a general error whose `commitError` is a *promise* that rejects
 * with the cause; unhandled, that second rejection would end the process.
 */
export async function causeOf(error: unknown): Promise<unknown> {
  const commitError = (error as { commitError?: Promise<unknown> } | null)?.commitError;
  if (commitError === undefined) return error;
  try {
    await commitError;
    return error;
  } catch (cause) {
    return cause;
  }
}

const EIO = 5;
const ENOSPC = 28;
const EDQUOT = 122;
const MDB_MAP_FULL = -30792;
const NO_SPACE_BYTES = 1024 * 1024;

/** What lmdb makes of a new directory takes less. */
const NEW_ENVIRONMENT_BYTES = 128 * 1024;

/**
 * Whether the environment at `path`, a directory that is there, can be opened without running out of space: lmdb maps
 * its lock file into memory, and where the disk has no room for a new one's first page, touching it ends the process
 * with SIGBUS.
 */
export async function hasRoomToOpen(path: string): Promise<boolean> {
  const lock = await stat(join(path, 'lock.mdb')).catch(() => null);
  if (lock !== null && lock.blocks > 0) return true;
  const { bavail, bsize } = await statfs(path);
  return bavail * bsize >= NEW_ENVIRONMENT_BYTES;
}

/** Whether a transaction in the environment at `path` failed for want of space. */
export async function isOutOfSpace(cause: unknown, path: string): Promise<boolean> {
  const code = (cause as { code?: unknown } | null)?.code;
  if (code === ENOSPC || code === EDQUOT || code === MDB_MAP_FULL) return true;
  if (code !== EIO) return false;
  // lmdb reports a write cut short, which is how a disk becomes full in the middle of one, as an I/O error.
  const { bavail, bsize } = await statfs(path);
  return bavail * bsize < NO_SPACE_BYTES;
}
