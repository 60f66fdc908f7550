/** Which files a path, a folder or a pattern means, and their one format. */
import { statSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { filesMatching } from './duckdb.ts';
import { InputError } from './input-error.ts';

export const TABLE_FORMATS = ['parquet', 'csv', 'ndjson', 'arrow'] as const;
export type TableFormat = (typeof TABLE_FORMATS)[number];

export interface TableFiles {
  /** As it was given, for messages. */
  readonly path: string;
  readonly format: TableFormat;
  /** In the order of their names: the order of arrival, where rows have none of their own. */
  readonly files: readonly string[];
}

const EXTENSIONS: readonly (readonly [pattern: RegExp, format: TableFormat])[] = [
  [/\.parquet$/i, 'parquet'],
  [/\.csv(\.gz|\.zst)?$/i, 'csv'],
  [/\.(ndjson|jsonl)(\.gz|\.zst)?$/i, 'ndjson'],
  [/\.(arrow|arrows|ipc|feather)$/i, 'arrow'],
];

/** The format that a file's name says; null: none that is known. */
export function formatOfName(name: string): TableFormat | null {
  return EXTENSIONS.find(([pattern]) => pattern.test(name))?.[1] ?? null;
}

const KNOWN = 'it must end in .parquet, .csv, .ndjson, .jsonl (these also .gz or .zst), .arrow or .feather';

/**
 * @param path a file, a folder with files of one format (at any depth), or a pattern with `*`, `**`, `?` and `[…]`
 * @throws InputError where there are none, or of more than one format
 */
export async function tableFiles(path: string): Promise<TableFiles> {
  const files = await filesOf(path);
  const formats = new Set(files.map(formatOfName));
  if (files.length === 0) throw new InputError(`${path}: there is no such file`);
  if (formats.has(null)) {
    const unknown = files.find((file) => formatOfName(file) === null)!;
    throw new InputError(`${unknown}: the format is not known by the name: ${KNOWN}`);
  }
  if (formats.size > 1)
    throw new InputError(`${path}: files of more than one format: ${[...formats].join(', ')}`);
  return { path, format: [...formats][0]!, files };
}

async function filesOf(path: string): Promise<string[]> {
  const stats = statSync(path, { throwIfNoEntry: false });
  if (stats?.isFile()) return [path];
  if (stats?.isDirectory()) {
    const names = await readdir(path, { recursive: true });
    // Beside data there may be other things: a manifest, a checksum, a folder named like a file.
    const files = names
      .filter((name) => formatOfName(name) !== null)
      .map((name) => join(path, name))
      .filter((name) => statSync(name).isFile())
      .sort();
    if (files.length === 0) throw new InputError(`${path}: the folder has no file with data: ${KNOWN}`);
    return files;
  }
  return /[*?[]/.test(path) ? filesMatching(path) : [];
}
