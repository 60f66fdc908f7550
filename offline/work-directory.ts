/**
 * Where a training set is made: DuckDB's file with what is done so far, and staged and spilled data. Its `inputs.json` says what
 * it is made of; the same command goes on where another was stopped, with other inputs it begins anew.
 */
import { mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
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
}

/** For one run, which nobody goes on with. */
export async function temporaryWork(): Promise<WorkDirectory> {
  const dir = await mkdtemp(join(tmpdir(), 'millrace-offline-'));
  return { dir, file: undefined, resumed: false, remove: () => rm(dir, { recursive: true, force: true }) };
}

const INPUTS = 'inputs.json';

/**
 * @param inputs what it is made of, as JSON
 * @throws InputError where the folder is something else's
 */
export async function resumableWork(dir: string, inputs: unknown): Promise<WorkDirectory> {
  const known = await readFile(join(dir, INPUTS), 'utf8').catch(() => null);
  if (known === null && (await stat(dir).catch(() => null)) !== null) {
    throw new InputError(
      `${dir} is there and not a work folder of a training set: remove it, or name another (--work)`,
    );
  }
  const written = JSON.parse(JSON.stringify(inputs)) as unknown;
  const resumed = known !== null && isDeepStrictEqual(parsed(known), written);
  if (!resumed) {
    await rm(dir, { recursive: true, force: true });
    await mkdir(dir, { recursive: true });
    await writeFile(join(dir, INPUTS), JSON.stringify(written, null, 2));
  }
  return {
    dir,
    file: join(dir, 'work.duckdb'),
    resumed,
    remove: () => rm(dir, { recursive: true, force: true }),
  };
}

function parsed(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch {
    // Written by a process that was stopped meanwhile.
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
