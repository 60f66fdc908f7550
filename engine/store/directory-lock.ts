/**
 * One process per data directory.
 *
 * The lock is a listening socket whose name is made from the directory's device and inode number (so another
 * path to the same directory finds the same lock). On Linux it is in the abstract namespace, on Windows a named
 * pipe: the kernel lets one process have the name and takes it back when that process ends, however it ends, so
 * there is no stale lock to detect and no race in detecting it. Lock files were not chosen because Node has no
 * flock, and a file with a process id cannot be taken over without a race.
 *
 * Elsewhere (macOS) the socket is a file in the temporary directory; after a crash it is left behind and is
 * replaced when nobody answers on it, which is not race-free for two processes starting in the same millisecond.
 *
 * Limit: abstract names belong to a network namespace. Two containers that mount one volume and do not share a
 * network are not kept apart; orchestrators must give the volume to one of them (ReadWriteOncePod).
 */
import { readFile, stat, unlink } from 'node:fs/promises';
import { connect, createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { makeDirectory } from './durable-directory.ts';

/** Another process, or another part of this one, has the directory open. */
export class DirectoryLockedError extends Error {
  override readonly name = 'DirectoryLockedError';
  readonly directory: string;
  /** null: the holder did not say. */
  readonly pid: number | null;

  constructor(directory: string, pid: number | null) {
    const holder =
      pid === null ? 'another process' : pid === process.pid ? 'this process already' : `process ${pid}`;
    super(
      `${directory} is in use: ${holder} has it open. A data directory belongs to one process at a time; ` +
        'stop that process or choose another directory.',
    );
    this.directory = directory;
    this.pid = pid;
  }
}

export interface DirectoryLock {
  /** Idempotent. */
  release(): Promise<void>;
}

/** The holder answers at once unless its event loop is blocked; then it is named without its id. */
const ANSWER_WITHIN_MS = 500;

/**
 * All of Linux's `sun_path`. Some versions of Node fill a shorter abstract name up with NULs and others do not,
 * which makes two different names of it.
 */
const ABSTRACT_NAME_BYTES = 108;

/** Takes the directory, which is created if missing. Throws `DirectoryLockedError` where it is taken. */
export async function lockDirectory(directory: string): Promise<DirectoryLock> {
  makeDirectory(directory);
  const { dev, ino } = await stat(directory, { bigint: true });
  const name = socketName(`millrace-${dev}-${ino}`);
  let server = await listen(name);
  if (server === null) {
    const holder = await askHolder(name);
    if (holder !== 'nobody' || !isFile(name))
      throw new DirectoryLockedError(directory, holder === 'nobody' ? null : holder);
    await unlink(name).catch(() => {});
    server = await listen(name);
    if (server === null) throw new DirectoryLockedError(directory, null);
  }
  await assertHeld(name);
  const held = server;
  let released: Promise<void> | undefined;
  return {
    release() {
      released ??= new Promise((resolve) => held.close(() => resolve()));
      return released;
    },
  };
}

function socketName(name: string): string {
  if (process.platform === 'linux') return `\0${name}`.padEnd(ABSTRACT_NAME_BYTES, '-');
  if (process.platform === 'win32') return `\\\\.\\pipe\\${name}`;
  return join(tmpdir(), `${name}.lock`);
}

function isFile(name: string): boolean {
  return process.platform !== 'win32' && !name.startsWith('\0');
}

/** null: the name is taken. Connections are told our process id and closed. */
function listen(name: string): Promise<Server | null> {
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => {
      socket.on('error', () => {});
      socket.end(String(process.pid));
    });
    server.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EADDRINUSE') resolve(null);
      else reject(error);
    });
    // `exclusive`: cluster workers would otherwise share the primary's socket. `unref`: a lock is no reason to run.
    server.listen({ path: name, exclusive: true }, () => resolve(server.unref()));
  });
}

/**
 * Abstract names came to Node within its 20.x line; a version without them would bind another name than asked,
 * without an error. The kernel's list shows what was bound.
 */
async function assertHeld(name: string): Promise<void> {
  if (process.platform !== 'linux') return;
  const bound = await readFile('/proc/net/unix', 'latin1').catch(() => null);
  if (bound !== null && !bound.split('\n').some((line) => line.endsWith(` @${name.slice(1)}`))) {
    throw new Error(
      `Node ${process.version} cannot bind abstract socket names: use a newer Node 20 or later`,
    );
  }
}

/** The holder's process id; null if it does not say; 'nobody' if the connection is refused. */
function askHolder(name: string): Promise<number | null | 'nobody'> {
  return new Promise((resolve) => {
    let answer = '';
    const socket = connect({ path: name });
    const finish = (result: number | null | 'nobody'): void => {
      socket.destroy();
      resolve(result);
    };
    socket.setTimeout(ANSWER_WITHIN_MS, () => finish(null));
    socket.setEncoding('utf8');
    socket.on('data', (text: string) => {
      answer += text;
    });
    socket.on('end', () => finish(/^\d+$/.test(answer) ? Number(answer) : null));
    socket.on('error', (error: NodeJS.ErrnoException) =>
      finish(error.code === 'ECONNREFUSED' ? 'nobody' : null),
    );
  });
}
