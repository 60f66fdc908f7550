/** A file as a stream of bytes, unpacked where it is gzip, and how far it has been read. */
import { createReadStream } from 'node:fs';
import { open } from 'node:fs/promises';
import type { Readable } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { CliError } from '../cli-error.ts';

export type FileFormat = 'csv' | 'ndjson';

export interface InputFile {
  readonly format: FileFormat;
  /** Size as stored, bytes. */
  readonly bytesTotal: number;
  /** Stored bytes read so far: progress, also of a packed file. */
  bytesRead(): number;
  readonly stream: Readable;
}

/** By the name: `.csv`, `.ndjson`, `.jsonl`, each also with `.gz`. */
export function formatOfName(path: string): FileFormat | null {
  const match = /\.(csv|ndjson|jsonl)(\.gz)?$/i.exec(path);
  return match === null ? null : match[1]!.toLowerCase() === 'csv' ? 'csv' : 'ndjson';
}

/** @throws CliError where the file cannot be read or its format is not known */
export async function openInputFile(path: string, format?: FileFormat): Promise<InputFile> {
  const known = format ?? formatOfName(path);
  if (known === null) {
    throw new CliError(`${path}: is this CSV or NDJSON? Say so with --format csv or --format ndjson`);
  }
  let bytesTotal: number;
  let packed: boolean;
  try {
    const file = await open(path);
    try {
      const stat = await file.stat();
      if (stat.isDirectory()) throw new Error('it is a directory');
      bytesTotal = stat.size;
      const { bytesRead, buffer } = await file.read(Buffer.alloc(2), 0, 2, 0);
      packed = bytesRead === 2 && buffer[0] === 0x1f && buffer[1] === 0x8b;
    } finally {
      await file.close();
    }
  } catch (error) {
    throw new CliError(`${path} cannot be read: ${(error as Error).message}`, { cause: error });
  }
  const stored = createReadStream(path, { highWaterMark: 256 * 1024 });
  const stream = packed ? stored.pipe(createGunzip()) : stored;
  if (stream !== stored) {
    stored.once('error', (error) => stream.destroy(error));
    stream.once('close', () => stored.destroy());
  }
  return { format: known, bytesTotal, bytesRead: () => stored.bytesRead, stream };
}
