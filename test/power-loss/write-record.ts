/** What write-recorder.c has recorded, in order. */

export type FileNumber = number;

export type WriteRecord =
  | { readonly kind: 'file'; readonly file: FileNumber; readonly path: string }
  | { readonly kind: 'create' | 'mkdir' | 'remove'; readonly path: string }
  | { readonly kind: 'rename'; readonly from: string; readonly to: string }
  | { readonly kind: 'write'; readonly file: FileNumber; readonly position: number; readonly bytes: Buffer }
  | { readonly kind: 'truncate'; readonly file: FileNumber; readonly size: number }
  /** What was recorded of the file before the record `upTo` is on disk. */
  | { readonly kind: 'flush'; readonly file: FileNumber; readonly upTo: number }
  /** Names changed in the directory before the record `upTo` are on disk. */
  | { readonly kind: 'flush-directory'; readonly path: string; readonly upTo: number }
  /** The write with that number, made with O_DSYNC, is on disk. */
  | { readonly kind: 'synced'; readonly file: FileNumber; readonly write: number }
  | { readonly kind: 'output'; readonly text: string }
  | { readonly kind: 'mapped'; readonly file: FileNumber }
  | { readonly kind: 'unknown'; readonly call: string };

const HEADER_BYTES = 24;
const KINDS = [
  'file',
  'create',
  'mkdir',
  'rename',
  'remove',
  'write',
  'truncate',
  'flush',
  'flush-directory',
  'synced',
  'output',
  'mapped',
  'unknown',
] as const satisfies readonly WriteRecord['kind'][];

/**
 * The records of a journal, and how many bytes they take: the last one may be cut off, where the process was killed in the
 * middle of it.
 */
export function readRecords(journal: Buffer): { records: WriteRecord[]; bytes: number } {
  const records: WriteRecord[] = [];
  let at = 0;
  while (at + HEADER_BYTES <= journal.length) {
    const kind = KINDS[journal.readUInt32LE(at) - 1];
    const file = journal.readUInt32LE(at + 4);
    const position = Number(journal.readBigUInt64LE(at + 8));
    const length = Number(journal.readBigUInt64LE(at + 16));
    const end = at + HEADER_BYTES + length;
    if (kind === undefined) throw new Error(`no journal of the write recorder: byte ${at}`);
    if (end > journal.length) break;
    records.push(record(kind, { file, position, bytes: journal.subarray(at + HEADER_BYTES, end) }));
    at = end;
  }
  return { records, bytes: at };
}

function record(
  kind: (typeof KINDS)[number],
  { file, position, bytes }: { file: number; position: number; bytes: Buffer },
): WriteRecord {
  switch (kind) {
    case 'file':
      return { kind, file, path: bytes.toString() };
    case 'create':
    case 'mkdir':
    case 'remove':
      return { kind, path: bytes.toString() };
    case 'rename': {
      const [from, to] = bytes.toString().split('\0');
      return { kind, from: from!, to: to! };
    }
    case 'write':
      return { kind, file, position, bytes };
    case 'truncate':
      return { kind, file, size: position };
    case 'flush':
      return { kind, file, upTo: position };
    case 'flush-directory':
      return { kind, path: bytes.toString(), upTo: position };
    case 'synced':
      return { kind, file, write: position };
    case 'output':
      return { kind, text: bytes.toString() };
    case 'mapped':
      return { kind, file };
    case 'unknown':
      return { kind, call: bytes.toString() };
  }
}
