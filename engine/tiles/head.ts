/**
 * The head of a state: what every write replaces.
 *
 *     head := u8 VERSION · varint dueMs + 1 (0: none) · varint n, n × (varint partition, varint floor)
 *             · rows (the tail; the view's columns, then partition and offset as two number columns)
 */
import { type ByteReader, type ByteWriter, CorruptBytesError } from '../bytes.ts';
import { type ColumnStorage, decodeRows, emptyRows, encodeRows, type RowBlock } from './row-block.ts';

export interface Head {
  /** The time in the due index that the last write set (a lease may have moved it since); null: none yet. */
  dueMs: number | null;
  /** partition → every record of it with offset < floor has been applied to this state. */
  floors: Map<number, number>;
  /** The newest rows, sorted. Their last two columns are log partition and offset: see `tailStorages`. */
  tail: RowBlock;
}

const VERSION = 1;

const storagesOfTails = new WeakMap<readonly ColumnStorage[], readonly ColumnStorage[]>();

/** The same array for the same array. */
export function tailStorages(storages: readonly ColumnStorage[]): readonly ColumnStorage[] {
  let tail = storagesOfTails.get(storages);
  if (tail === undefined) {
    tail = [...storages, 'number', 'number'];
    storagesOfTails.set(storages, tail);
  }
  return tail;
}

export function emptyHead(tail: readonly ColumnStorage[]): Head {
  return { dueMs: null, floors: new Map(), tail: emptyRows(tail) };
}

export function tailPartition(tail: RowBlock, i: number): number {
  return tail.columns[tail.columns.length - 2]![i] as number;
}

export function tailOffset(tail: RowBlock, i: number): number {
  return tail.columns[tail.columns.length - 1]![i] as number;
}

export function encodeHead(head: Head, tail: readonly ColumnStorage[], w: ByteWriter): void {
  w.u8(VERSION);
  w.varint(head.dueMs === null ? 0 : head.dueMs + 1);
  w.varint(head.floors.size);
  for (const [partition, floor] of head.floors) {
    w.varint(partition);
    w.varint(floor);
  }
  encodeRows(head.tail, tail, w);
}

export function decodeHead(r: ByteReader, tail: readonly ColumnStorage[]): Head {
  const version = r.u8();
  if (version !== VERSION)
    throw new CorruptBytesError(`head of version ${version}, this build reads ${VERSION}`);
  const due = r.varint();
  const floors = new Map<number, number>();
  const n = r.varint();
  for (let i = 0; i < n; i++) floors.set(r.varint(), r.varint());
  return { dueMs: due === 0 ? null : due - 1, floors, tail: decodeRows(r, tail) };
}
