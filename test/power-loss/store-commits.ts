/**
 * lmdb's meta pages, as far as one has to know them to say which transaction of the store a disk holds.
 *
 * A data file begins with two meta pages, written in turns by transactions with even and odd ids. With `overlappingSync`
 * the one of a transaction is written before anything is flushed, and a third, in the second half of the first page, says
 * which transaction was flushed: after a power loss that is the one that counts.
 */
import type { Disk } from './disk.ts';
import type { WriteRecord } from './write-record.ts';

export const STORE_FILE = 'data/store/data.mdb';
/** Where it is made. */
const NEW_STORE_FILE = 'data/store/new/data.mdb';

const PAGE_BYTES = 4096;
const HEADER_BYTES = 24;
const METAS_AT = [HEADER_BYTES, PAGE_BYTES + HEADER_BYTES] as const;
const FLUSHED_META_AT = PAGE_BYTES / 2 + HEADER_BYTES;
const FLAGS_AT = 28;
const TRANSACTION_AT = 128;
/** A commit writes the meta page from here on. */
const WRITTEN_FROM = 16;
const WRITTEN_BYTES = 128;
/** In the meta page of a transaction that was not flushed when it was written. */
const UNFLUSHED_FLAG = 0x1000;

/** The id of the newest transaction in a data file that was opened, and so repaired; 0: none. */
export function newestTransaction(dataFile: Buffer): number {
  if (dataFile.length < 2 * PAGE_BYTES) return 0;
  return Math.max(...METAS_AT.map((at) => Number(dataFile.readBigUInt64LE(at + TRANSACTION_AT))));
}

export interface StoreCommits {
  /**
   * By transaction, the numbers of the records with which it was complete, and visible, ascending: a process that begins
   * with what was flushed gives the numbers of transactions that are lost to others.
   */
  readonly visible: ReadonlyMap<number, readonly number[]>;
  /** By number of a record that flushed the store, the transaction that is certain to be on the disk from then on. */
  readonly flushed: ReadonlyMap<number, number>;
}

export function storeCommits(records: readonly WriteRecord[]): StoreCommits {
  const visible = new Map<number, number[]>();
  const flushed = new Map<number, number>();
  const paths = new Map<number, string>();
  for (const [number, record] of records.entries()) {
    if (record.kind === 'file') paths.set(record.file, record.path);
    if (record.kind === 'write' && isMeta(record, METAS_AT)) {
      const path = paths.get(record.file);
      if (path === STORE_FILE || path === NEW_STORE_FILE) {
        const transaction = transactionOf(record);
        visible.set(transaction, [...(visible.get(transaction) ?? []), number]);
      }
    }
    if (record.kind === 'synced' && paths.get(record.file) === STORE_FILE) {
      const write = records[record.write];
      if (write?.kind === 'write' && isMeta(write, [FLUSHED_META_AT]))
        flushed.set(number, transactionOf(write));
    }
  }
  return { visible, flushed };
}

interface MetaWrite {
  readonly position: number;
  readonly bytes: Buffer;
}

function isMeta({ position, bytes }: MetaWrite, metasAt: readonly number[]): boolean {
  return bytes.length === WRITTEN_BYTES && metasAt.some((at) => position === at + WRITTEN_FROM);
}

function transactionOf({ bytes }: MetaWrite): number {
  return Number(bytes.readBigUInt64LE(TRANSACTION_AT - WRITTEN_FROM));
}

/**
 * The store's data file alone, with one transaction that it holds marked as flushed and as the newest, so that lmdb takes
 * that one: in the midst of a start that goes back to what was flushed, a newer one is there too.
 */
export function storeAt(transaction: number, disk: Disk): Disk {
  const dataFile = Buffer.from(disk.files.get(STORE_FILE) ?? disk.files.get(NEW_STORE_FILE)!);
  for (const at of METAS_AT) {
    if (Number(dataFile.readBigUInt64LE(at + TRANSACTION_AT)) > transaction)
      dataFile.writeBigUInt64LE(0n, at + TRANSACTION_AT);
    dataFile.writeUInt16LE(dataFile.readUInt16LE(at + FLAGS_AT) & ~UNFLUSHED_FLAG, at + FLAGS_AT);
  }
  return { directories: ['data', 'data/store'], files: new Map([[STORE_FILE, dataFile]]) };
}
