/**
 * Where a training set is made: DuckDB's file with what is done so far, and staged and spilled data. Its `training-set.json`
 * says what it is made of; the same command goes on where another was stopped, with other inputs it begins anew.
 *
 * Only what is its own is ever removed: a folder that was named by mistake loses nothing.
 */
import { mkdir, mkdtemp, readdir, readFile, rename, rm, rmdir, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { InputError } from './input-error.ts';

export interface WorkDirectory {
  readonly dir: string;
  /** DuckDB's file; undefined: in memory. */
  readonly file: string | undefined;
  /** Whether something was done before. */
  readonly resumed: boolean;
  remove(): Promise<void>;
  /** Others of this process may have it. */
  release(): void;
}

/** For one run, which nobody goes on with. */
export async function temporaryWork(): Promise<WorkDirectory> {
  const dir = await mkdtemp(join(tmpdir(), 'millrace-offline-'));
  return {
    ...{ dir, file: undefined, resumed: false, release() {} },
    remove: () => rm(dir, { recursive: true, force: true }),
  };
}

const INPUTS = 'training-set.json';
const DATABASE = 'work.duckdb';
/** Folder of what does not fit memory. */
export const SPILLED = 'spilled';
const OWN = /^(training-set\.json(\.part)?|work\.duckdb(\.wal.*)?|history-.*\.parquet|history-log|spilled)$/;

/**
 * Folders in use by this process. DuckDB keeps other processes away by a lock on its file, which does not hold within a
 * process, and is lost where a process closes the file a second time.
 */
const inUse = new Set<string>();

/**
 * @param inputs what it is made of, as JSON
 * @param isFree whether no process is at work with DuckDB's file; false: it is not touched
 * @throws InputError where the folder is something else's or cannot be made, or another process is at work there
 */
export async function resumableWork(
  dir: string,
  inputs: unknown,
  isFree: (file: string) => Promise<boolean>,
): Promise<WorkDirectory> {
  if (inUse.has(dir)) throw workIsTaken(dir);
  inUse.add(dir);
  try {
    const resumed = await prepared(dir, inputs, isFree);
    return {
      ...{ dir, file: join(dir, DATABASE), resumed },
      remove: () => removeOwn(dir),
      release: () => inUse.delete(dir),
    };
  } catch (error) {
    inUse.delete(dir);
    throw error;
  }
}

/** @returns whether there is something to go on with */
async function prepared(
  dir: string,
  inputs: unknown,
  isFree: (file: string) => Promise<boolean>,
): Promise<boolean> {
  const names = await namesIn(dir);
  const known = names.includes(INPUTS) ? await readFile(join(dir, INPUTS), 'utf8') : null;
  if (names.some((name) => !OWN.test(name)) || (known === null && names.includes(DATABASE))) {
    throw new InputError(
      `${dir} is there and not a work folder of a training set: name another (--work), or remove it`,
    );
  }
  const file = join(dir, DATABASE);
  const written = JSON.parse(JSON.stringify(inputs)) as unknown;
  const resumed = known !== null && isDeepStrictEqual(parsed(known), written);
  if (!resumed) {
    if (names.includes(DATABASE) && !(await isFree(file))) throw workIsTaken(dir);
    await removeOwn(dir);
    try {
      await mkdir(dir, { recursive: true });
      // Whole or not at all.
      await writeFile(join(dir, `${INPUTS}.part`), JSON.stringify(written, null, 2));
      await rename(join(dir, `${INPUTS}.part`), join(dir, INPUTS));
    } catch (error) {
      throw new InputError(
        `the work folder ${dir} cannot be made (${(error as NodeJS.ErrnoException).code}): name another (--work)`,
        { cause: error },
      );
    }
  }
  return resumed;
}

export const workIsTaken = (dir: string, cause?: unknown): InputError =>
  new InputError(`${dir}: another process is at work there: wait for it, or name another folder (--work)`, {
    cause,
  });

async function namesIn(dir: string): Promise<string[]> {
  try {
    return await readdir(dir);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') return [];
    throw new InputError(`${dir} cannot be a work folder (${code}): name another (--work)`, { cause: error });
  }
}

/** The file that says what it is goes last, so that the rest is known for what it is until then. */
async function removeOwn(dir: string): Promise<void> {
  const names = (await namesIn(dir)).filter((name) => OWN.test(name) && name !== INPUTS);
  for (const name of [...names, INPUTS]) await rm(join(dir, name), { recursive: true, force: true });
  // Not empty: somebody has put something there.
  await rmdir(dir).catch(() => {});
}

function parsed(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch {
    return null;
  }
}

/** What tells a file from another version of it. */
export async function fileIdentity(
  file: string,
): Promise<{ file: string; bytes: number; modified_ms: number }> {
  const { size, mtimeMs } = await stat(file);
  return { file, bytes: size, modified_ms: mtimeMs };
}
