/**
 * The head of a state: what every write replaces.
 *
 *     head := u8 VERSION · varint dueMs + 1 (0: none) · varint n, n × (varint partition, varint floor)
 *             · varint n, n × (varint partition, varint m, m × varint offset − previous offset) (early)
 *             · u8 flags (1: newest folded, 2: crowded) · if newest folded: varint time, u32 id hi, u32 id lo
 *             · rows (the tail; the view's columns, then partition and offset as two number columns)
 */
import { type ByteReader, type ByteWriter, CorruptBytesError } from '../bytes.ts';
import type { EventId } from '../event-id.ts';
import { type ColumnStorage, decodeRows, emptyRows, encodeRows, type RowBlock } from './row-block.ts';

export interface Head {
  /** The time in the due index that the last write set (a lease may have moved it since); null: none yet. */
  dueMs: number | null;
  /** partition → every record of it with offset < floor has been applied to this state. */
  floors: Map<number, number>;
  /**
   * partition → offsets of records at or above the floor that are to be skipped although no row of the tail says so:
   * their rows are in the tree already (of views with ordered partials: see `state-update.ts`), or a copy of them was
   * applied.
   */
  early: ReadonlyMap<number, ReadonlySet<number>>;
  /** The newest row, in the total order, that was ever put into the tree; kept for views with ordered partials. */
  newestFolded: { readonly timeMs: number; readonly id: EventId } | null;
  /**
   * Whether the tree has come near the state's bound, so that rows may be given up before long. An event that comes
   * late then leaves its id behind: its row may soon not tell a repeat any more.
   */
  crowded: boolean;
  /** The newest rows, sorted. Their last two columns are log partition and offset: see `tailStorages`. */
  tail: RowBlock;
}

const VERSION = 3;
const FOLDED = 1;
const CROWDED = 2;
const NO_EARLY: Head['early'] = new Map();

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
  return {
    dueMs: null,
    floors: new Map(),
    early: NO_EARLY,
    newestFolded: null,
    crowded: false,
    tail: emptyRows(tail),
  };
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
  w.varint(head.early.size);
  for (const [partition, offsets] of head.early) {
    w.varint(partition);
    w.varint(offsets.size);
    let previous = 0;
    for (const offset of [...offsets].sort((a, b) => a - b)) {
      w.varint(offset - previous);
      previous = offset;
    }
  }
  w.u8((head.newestFolded === null ? 0 : FOLDED) + (head.crowded ? CROWDED : 0));
  if (head.newestFolded !== null) {
    w.varint(head.newestFolded.timeMs);
    w.u32(head.newestFolded.id.hi);
    w.u32(head.newestFolded.id.lo);
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
  const early = decodeEarly(r);
  const flags = r.u8();
  if (flags > FOLDED + CROWDED) throw new CorruptBytesError(`unknown flags ${flags} in a head`);
  const newestFolded =
    (flags & FOLDED) === 0 ? null : { timeMs: r.varint(), id: { hi: r.u32(), lo: r.u32() } };
  return {
    dueMs: due === 0 ? null : due - 1,
    floors,
    early,
    newestFolded,
    crowded: (flags & CROWDED) !== 0,
    tail: decodeRows(r, tail),
  };
}

function decodeEarly(r: ByteReader): Head['early'] {
  const partitions = r.varint();
  if (partitions === 0) return NO_EARLY;
  const early = new Map<number, Set<number>>();
  for (let i = 0; i < partitions; i++) {
    const partition = r.varint();
    const n = r.varint();
    if (n > r.remaining) throw new CorruptBytesError(`${n} offsets in ${r.remaining} bytes`);
    const offsets = new Set<number>();
    let offset = 0;
    for (let k = 0; k < n; k++) {
      offset += r.varint();
      offsets.add(offset);
    }
    early.set(partition, offsets);
  }
  return early;
}
