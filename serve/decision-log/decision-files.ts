/**
 * The files of a decision log: `HOUR-PLACE-INSTANCE-N.ndjson.open` while one is written, then renamed to `….ndjson`, so that
 * whoever reads `*.ndjson` finds whole lines and files that do not change. A file ends with its hour (UTC), or before it would
 * be too large. It is flushed to the disk before it is renamed; what is in an open one is with the kernel, and outlives the
 * process, not the machine.
 *
 * Any number of processes write to a directory, each to files of its own. What one that was killed left open is recovered by
 * the next that starts, or that closes a file with its hour: cut behind its last whole line, and renamed.
 */
import { createHash, randomBytes } from 'node:crypto';
import { readlinkSync } from 'node:fs';
import { type FileHandle, open, readdir, readFile, rename, stat, truncate, unlink } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import type { Clock } from '../../engine/clock.ts';
import { makeDirectory } from '../../engine/store/durable-directory.ts';
import { lockName, type NameLock } from '../../engine/store/name-lock.ts';

const HOUR_MS = 3_600_000;
/** Longer than a process that lives keeps a file open without writing to it: it goes with its hour. */
const ABANDONED_MS = 2 * HOUR_MS;
const OPEN = '.open';
const OPEN_NAME = /^\d{4}-\d{2}-\d{2}T\d{2}-([0-9a-f]{8})-([0-9a-f]{16})-\d+\.ndjson\.open$/;

export interface DecisionFilesOptions {
  /** Created if missing. */
  readonly directory: string;
  /** A file that would exceed it is closed first. */
  readonly fileBytesMax: number;
  readonly clock: Clock;
  /** A file could not be closed, or one of another process not be recovered: nothing of it is lost by that. */
  readonly onProblem: (error: unknown) => void;
}

interface OpenFile {
  readonly path: string;
  readonly handle: FileHandle;
  readonly hour: number;
  bytes: number;
}

export class DecisionFiles {
  /** Of this process alone: 16 hex digits. */
  readonly instance = randomBytes(8).toString('hex');
  readonly #options: DecisionFilesOptions;
  #lock: NameLock | null = null;
  #current: OpenFile | null = null;
  #files = 0;
  /** Files being flushed and renamed, one after the other. */
  #finishing: Promise<void> = Promise.resolve();

  private constructor(options: DecisionFilesOptions) {
    this.#options = options;
  }

  /** Recovers what was left open, and begins a file, to see that it can. @throws what the file system throws */
  static async open(options: DecisionFilesOptions): Promise<DecisionFiles> {
    const files = new DecisionFiles(options);
    makeDirectory(options.directory);
    // Before there is a file: whoever finds one finds the lock as well.
    const lock = await lockName(lockNameOf(files.instance));
    if (!('release' in lock)) throw new Error('a random name is taken');
    files.#lock = lock;
    try {
      await files.#recover();
      files.#current = await files.#begin();
    } catch (error) {
      await files.close();
      throw error;
    }
    return files;
  }

  /** Appends whole lines, or nothing. Not to be called again before it has settled. @throws what the file system throws */
  async append(lines: Buffer): Promise<void> {
    const { fileBytesMax } = this.#options;
    await this.closeIfOver();
    const full = this.#current;
    if (full !== null && full.bytes > 0 && full.bytes + lines.length > fileBytesMax) await this.#end(full);
    this.#current ??= await this.#begin();
    const file = this.#current;
    try {
      await file.handle.appendFile(lines);
    } catch (error) {
      await this.#takeBack(file);
      throw error;
    }
    file.bytes += lines.length;
  }

  /** Closes the open file where its hour is over. Not to be called while `append` is under way. */
  async closeIfOver(): Promise<void> {
    if (!this.isOver) return;
    await this.#end(this.#current!);
    await this.#recover().catch(this.#options.onProblem);
  }

  /** Whether the open file is of an hour that is over. */
  get isOver(): boolean {
    return this.#current !== null && this.#current.hour !== this.#hour;
  }

  /** Resolves when all files are closed. Idempotent. */
  async close(): Promise<void> {
    if (this.#current !== null) await this.#end(this.#current);
    await this.#finishing;
    await this.#lock?.release();
  }

  get #hour(): number {
    return Math.floor(this.#options.clock.nowMs() / HOUR_MS);
  }

  async #begin(): Promise<OpenFile> {
    const hour = this.#hour;
    const name = new Date(hour * HOUR_MS).toISOString().slice(0, 13);
    const file = `${name}-${place()}-${this.instance}-${++this.#files}.ndjson`;
    const path = join(this.#options.directory, file);
    return { path, handle: await open(path + OPEN, 'ax'), hour, bytes: 0 };
  }

  /** Lets what follows go to another file, and flushes and renames this one; of these one at a time is under way. */
  async #end(file: OpenFile): Promise<void> {
    this.#current = null;
    await this.#finishing;
    this.#finishing = this.#finish(file).catch(this.#options.onProblem);
  }

  async #finish({ path, handle, bytes }: OpenFile): Promise<void> {
    try {
      if (bytes > 0) await handle.sync();
    } finally {
      await handle.close();
    }
    if (bytes === 0) await unlink(path + OPEN);
    else await this.#publish(path);
  }

  /** What a full disk has taken of some lines would stand in front of the next ones. */
  async #takeBack(file: OpenFile): Promise<void> {
    try {
      await file.handle.truncate(file.bytes);
    } catch {
      // Recovered when this process has ended.
      this.#current = null;
      await file.handle.close().catch(() => {});
    }
  }

  async #publish(path: string): Promise<void> {
    await rename(path + OPEN, path);
    await flushNames(this.#options.directory);
  }

  async #recover(): Promise<void> {
    const { directory, onProblem } = this.#options;
    for (const name of await readdir(directory)) {
      const [, at, instance] = OPEN_NAME.exec(name) ?? [];
      if (instance === undefined || instance === this.instance) continue;
      const path = join(directory, name.slice(0, -OPEN.length));
      try {
        if (at !== place()) {
          // Of a host, or a container, whose processes cannot be asked.
          if (Date.now() - (await stat(path + OPEN)).mtimeMs >= ABANDONED_MS) await this.#recoverFile(path);
          continue;
        }
        const lock = await lockName(lockNameOf(instance));
        if (!('release' in lock)) continue;
        await this.#recoverFile(path).finally(() => lock.release());
      } catch (error) {
        // Another process was first.
        if ((error as NodeJS.ErrnoException).code !== 'ENOENT') onProblem(error);
      }
    }
  }

  async #recoverFile(path: string): Promise<void> {
    const content = await readFile(path + OPEN);
    // A file that the machine went down with may have zeros where nothing was written.
    const zero = content.indexOf(0);
    const end = content.subarray(0, zero < 0 ? content.length : zero).lastIndexOf('\n') + 1;
    if (end === 0) {
      await unlink(path + OPEN);
      return;
    }
    await truncate(path + OPEN, end);
    await this.#publish(path);
  }
}

const lockNameOf = (instance: string): string => `millrace-decisions-${instance}`;

let ownPlace: string | undefined;

/** Where names can be locked against each other: the host, and on Linux the network namespace. 8 hex digits. */
function place(): string {
  ownPlace ??= createHash('sha256').update(`${hostname()} ${networkNamespace()}`).digest('hex').slice(0, 8);
  return ownPlace;
}

function networkNamespace(): string {
  try {
    return readlinkSync('/proc/self/ns/net');
  } catch {
    return '';
  }
}

async function flushNames(directory: string): Promise<void> {
  // Windows has no such call.
  if (process.platform === 'win32') return;
  const handle = await open(directory, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
