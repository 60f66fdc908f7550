/**
 * A name that one process of the machine has at a time.
 *
 * The lock is a listening socket of that name. On Linux it is in the abstract namespace, on Windows a named pipe: the
 * kernel lets one process have the name and takes it back when that process ends, however it ends, so there is no
 * stale lock to detect and no race in detecting it. Lock files were not chosen because Node has no flock, and a file
 * with a process id cannot be taken over without a race.
 *
 * Elsewhere (macOS) the socket is a file in the temporary directory; after a crash it is left behind and is
 * replaced when nobody answers on it, which is not race-free for two processes starting in the same millisecond.
 *
 * Limit: abstract names belong to a network namespace, so that two containers which do not share a network both get
 * a name.
 */
import { readFile, unlink } from 'node:fs/promises';
import { connect, createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export interface NameLock {
  /** Idempotent. */
  release(): Promise<void>;
}

/** Who has the name. */
export interface NameHolder {
  /** null: it did not say. */
  readonly pid: number | null;
}

/** The holder answers at once unless its event loop is blocked; then it is named without its id. */
const ANSWER_WITHIN_MS = 500;

/**
 * All of Linux's `sun_path`. Some versions of Node fill a shorter abstract name up with NULs and others do not,
 * which makes two different names of it.
 */
const ABSTRACT_NAME_BYTES = 108;

/** Takes the name, of at most 100 letters, digits and `-`, or says who has it. */
export async function lockName(own: string): Promise<NameLock | NameHolder> {
  const name = socketName(own);
  let server = await listen(name);
  if (server === null) {
    const holder = await askHolder(name);
    if (holder !== 'nobody' || !isFile(name)) return { pid: holder === 'nobody' ? null : holder };
    await unlink(name).catch(() => {});
    server = await listen(name);
    if (server === null) return { pid: null };
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
