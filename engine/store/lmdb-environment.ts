/**
 * What the lmdb tile store and the lmdb event log share: opening an environment, the calls we use of a
 * database, and telling why a transaction failed.
 */
import { statfs } from 'node:fs/promises';
import { type Database, open, type RootDatabase, type Transaction } from 'lmdb';

/**
 * Keys and values are bytes. `getBinaryFast` returns a buffer that the next get overwrites; only its first
 * `length` bytes count, and its `byteLength` is larger: use `copyValue`.
 */
export type BytesDatabase = Omit<Database<Uint8Array, Uint8Array>, 'getBinaryFast'> & {
  getBinaryFast(key: Uint8Array, options?: { transaction: Transaction }): Uint8Array | undefined;
};

export type Environment = RootDatabase<Uint8Array, Uint8Array>;

/**
 * Address space reserved at open, not memory or disk. lmdb grows the map when it is used up, but keeps every
 * former map until it is closed; starting large avoids that.
 */
const MAP_BYTES = 16 * 1024 ** 3;

export function openEnvironment(args: {
  path: string;
  /** true: a commit is visible first and flushed right after, in the background. false: flushed, then visible. */
  overlappingSync: boolean;
  /** true: never flush. Only for data that may be lost as a whole when the machine stops. */
  noSync?: boolean;
}): Environment {
  return open<Uint8Array, Uint8Array>({
    path: args.path,
    noSubdir: false,
    mapSize: MAP_BYTES,
    maxDbs: 8,
    encoding: 'binary',
    keyEncoding: 'binary',
    cache: false,
    // With event-turn batching lmdb makes a promise of its own for each batch, which nobody can handle: a failed
    // commit would end the process as an unhandled rejection.
    eventTurnBatching: false,
    overlappingSync: args.overlappingSync,
    noSync: args.noSync ?? false,
  });
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

/** Whether a transaction in the environment at `path` failed for want of space. */
export async function isOutOfSpace(cause: unknown, path: string): Promise<boolean> {
  const code = (cause as { code?: unknown } | null)?.code;
  if (code === ENOSPC || code === EDQUOT || code === MDB_MAP_FULL) return true;
  if (code !== EIO) return false;
  // lmdb reports a write cut short, which is how a disk becomes full in the middle of one, as an I/O error.
  const { bavail, bsize } = await statfs(path);
  return bavail * bsize < NO_SPACE_BYTES;
}
