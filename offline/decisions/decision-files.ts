/** The files of a decision log (`millrace up --decision-log DIR`) that are closed, and how many are not. */
import { statSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { InputError } from '../input-error.ts';
import { tableFiles } from '../table-files.ts';

export interface DecisionLogFiles {
  /** As it was given, for messages. */
  readonly path: string;
  readonly files: readonly string[];
  /** Files in the folder that are being written: nothing of them is read, as their last line may not be whole. */
  readonly open: number;
}

/**
 * @param path the folder, a file or a pattern
 * @throws InputError where there is no file that is closed, or one that is no NDJSON
 */
export async function decisionLogFiles(path: string): Promise<DecisionLogFiles> {
  const isFolder = statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;
  const names = isFolder ? await readdir(path, { recursive: true }) : [];
  const open = names.filter((name) => name.endsWith('.ndjson.open')).length;
  if (open > 0 && !names.some((name) => /\.ndjson(\.gz|\.zst)?$/.test(name))) {
    throw new InputError(
      `${path}: all files of the decision log are still being written (.open): one is closed at the end of its hour, and when its process stops`,
    );
  }
  const { files, format } = await tableFiles(path);
  if (format !== 'ndjson')
    throw new InputError(`${path}: a decision log is NDJSON, and these files are ${format}`);
  return { path, files, open };
}
