/**
 * How rows get into a state's tail and from there into the tile tree.
 *
 * Most views take rows from the tail below the watermarks, in any order. Views with ordered partials keep every row of
 * the tail behind every row of the tree: see `state-update.ts`.
 */
import type { FieldName } from '../store/tile-store.ts';
import { blocksAt } from './block-editor.ts';
import { pathFields, ROOT_FIELD } from './grid.ts';
import { type Head, tailOffset, tailPartition, tailStorages } from './head.ts';
import { lowerBound, mergeRows, pickRows, type RowBlock, sliceRows } from './row-block.ts';
import {
  INGEST_FIELDS,
  type ProtocolRules,
  type StateSnapshot,
  type StateView,
  type UpdatePlan,
} from './state-protocol.ts';
import type { TileShape } from './tile-shape.ts';
import { TreeEditor } from './tree-editor.ts';

export interface Placing {
  readonly view: StateView;
  readonly shape: TileShape;
  readonly rules: ProtocolRules;
  readonly state: StateSnapshot;
  readonly head: Head;
  /** Rows to be added, sorted, as in a tail. */
  readonly rows: RowBlock;
}

export type Placed =
  | Extract<UpdatePlan, { kind: 'read' }>
  | {
      readonly kind: 'placed';
      readonly tail: RowBlock /** null: unchanged. */;
      readonly tree: TreeEditor | null;
    };

/** Adds new rows to the tail, or to the tree where that is their place. Changes the head but for its tail. */
export function placeRows(placing: Placing): Placed {
  return placing.view.ordered ? placeInOrder(placing) : placeAnywhere(placing);
}

/** Puts new rows into the tail, which is folded first where it would grow too long. */
function placeAnywhere({ view, shape, rules, state, head, rows }: Placing): Placed {
  const { tail } = head;
  const storages = tailStorages(view.storages);
  if (tail.length === 0 || tail.length + rows.length <= shape.tailRowsMax) {
    return { kind: 'placed', tail: mergeRows(tail, rows, storages), tree: null };
  }
  if (state.watermarks === null) return readToFold(view, state, tail.times[tail.length - 1]!);
  const folded = foldTail({ view, shape, rules, state, head, olderThanMs: Number.POSITIVE_INFINITY });
  if (folded.kind === 'read') return { ...folded, fields: [...INGEST_FIELDS, ...folded.fields] };
  if (folded.kind === 'nothing') return { kind: 'placed', tail: mergeRows(tail, rows, storages), tree: null };
  return { kind: 'placed', tail: mergeRows(folded.tail, rows, storages), tree: folded.tree };
}

/** What a tail keeps when it has grown too long: events that are a little out of order still find their place in it. */
const KEPT_SHARE = 1 / 4;

/** Puts new rows where every row of the tail stays behind every row of the tree. */
function placeInOrder({ view, shape, rules, state, head, rows }: Placing): Placed {
  const storages = tailStorages(view.storages);
  const { tail } = head;
  const tooLong = tail.length > 0 && tail.length + rows.length > shape.tailRowsMax;
  const leaving = tooLong ? tail.length - Math.floor(tail.length * KEPT_SHARE) : 0;
  const newest = leaving === 0 ? head.newestFolded : positionOf(tail, leaving - 1);
  const late = newest === null ? 0 : countUpTo(rows, newest);
  if (leaving === 0 && late === 0) {
    return { kind: 'placed', tail: mergeRows(tail, rows, storages), tree: null };
  }
  if (state.watermarks === null || !state.fields.has(ROOT_FIELD)) {
    return readToFold(view, state, leaving > 0 ? tail.times[leaving - 1]! : rows.times[0]!);
  }
  const into = mergeRows(sliceRows(tail, 0, leaving), sliceRows(rows, 0, late), storages);
  const tree = foldRows({ view, shape, rules, state, head, rows: into });
  if (tree === null) throw new Error('there are rows to fold');
  if (tree.missing.size > 0) {
    const fields = [...INGEST_FIELDS, ...state.fields.keys(), ...tree.missing];
    return { kind: 'read', fields, watermarks: true };
  }
  const rest = sliceRows(tail, leaving, tail.length);
  return { kind: 'placed', tail: mergeRows(rest, sliceRows(rows, late, rows.length), storages), tree };
}

function readToFold(view: StateView, state: StateSnapshot, timeMs: number): Placed {
  const blocks = view.wide.length === 0 ? [] : blocksAt(timeMs);
  const fields = [...INGEST_FIELDS, ...state.fields.keys(), ROOT_FIELD, ...pathFields(timeMs), ...blocks];
  return { kind: 'read', fields, watermarks: true };
}

function positionOf(rows: RowBlock, i: number): NonNullable<Head['newestFolded']> {
  return { timeMs: rows.times[i]!, id: { hi: rows.idHi[i]!, lo: rows.idLo[i]! } };
}

/** How many of the sorted rows are not behind a position. */
function countUpTo(rows: RowBlock, { timeMs, id }: NonNullable<Head['newestFolded']>): number {
  let count = lowerBound(rows, timeMs);
  while (
    count < rows.length &&
    rows.times[count] === timeMs &&
    (rows.idHi[count]! - id.hi || rows.idLo[count]! - id.lo) <= 0
  ) {
    count++;
  }
  return count;
}

/**
 * Inserts rows that leave the tail, or never get there, into the tree, whatever the watermarks say: the records among
 * them that are not below one are remembered one by one. Raises floors to the watermarks, and forgets what is below.
 * The head is changed only if nothing is missing.
 */
function foldRows({ view, shape, rules, state, head, rows }: Placing): TreeEditor | null {
  if (rows.length === 0) return null;
  const tree = new TreeEditor(view, shape, state.fields);
  tree.insert(withoutPositions(rows, view));
  if (tree.missing.size > 0) return tree;
  const early = new Map([...head.early].map(([partition, offsets]) => [partition, new Set(offsets)]));
  for (let i = 0; i < rows.length && rules.remembersEarly; i++) {
    const partition = tailPartition(rows, i);
    const offsets = early.get(partition);
    if (offsets === undefined) early.set(partition, new Set([tailOffset(rows, i)]));
    else offsets.add(tailOffset(rows, i));
  }
  head.early = early;
  raiseFloors({ rules, state, head });
  const last = positionOf(rows, rows.length - 1);
  const { newestFolded } = head;
  if (newestFolded === null || countUpTo(rows, newestFolded) < rows.length) head.newestFolded = last;
  return tree;
}

/** Up to a watermark read at the same instant as the state every record was applied: its offset need not be kept. */
function raiseFloors({ rules, state, head }: Pick<Placing, 'rules' | 'state' | 'head'>): void {
  const kept = new Map<number, Set<number>>();
  for (const [partition, offsets] of head.early) {
    const bound = rules.foldBelow(state.watermarks!.get(partition) ?? null, head.tail, partition);
    const above = new Set([...offsets].filter((offset) => offset >= bound));
    if (above.size < offsets.size) {
      head.floors.set(partition, Math.max(head.floors.get(partition) ?? 0, bound));
    }
    if (above.size > 0) kept.set(partition, above);
  }
  head.early = kept;
}

/** Rows of a tail as rows of the tree. */
function withoutPositions(rows: RowBlock, view: StateView): RowBlock {
  return { ...rows, columns: rows.columns.slice(0, view.storages.length) };
}

export type Fold =
  | { readonly kind: 'read'; readonly fields: readonly FieldName[]; readonly watermarks: true }
  | { readonly kind: 'nothing' }
  | { readonly kind: 'folded'; readonly tree: TreeEditor; readonly tail: RowBlock };

/** Moves tail rows older than `olderThanMs` into the tree, as far as the view's rule allows; raises floors. */
export function foldTail(args: {
  view: StateView;
  shape: TileShape;
  rules: ProtocolRules;
  state: StateSnapshot;
  head: Head;
  olderThanMs: number;
}): Fold {
  const { view, state, head, olderThanMs } = args;
  if (!view.ordered) return foldBelowWatermarks(args);
  const { tail } = head;
  const leaving = lowerBound(tail, olderThanMs);
  const tree = foldRows({ ...args, rows: sliceRows(tail, 0, leaving) });
  if (tree === null) {
    raiseFloors(args);
    return { kind: 'nothing' };
  }
  if (tree.missing.size > 0) {
    return { kind: 'read', fields: [...state.fields.keys(), ...tree.missing], watermarks: true };
  }
  return { kind: 'folded', tree, tail: sliceRows(tail, leaving, tail.length) };
}

function foldBelowWatermarks(args: Parameters<typeof foldTail>[0]): Fold {
  const { view, shape, rules, state, head, olderThanMs } = args;
  const { tail } = head;
  const below = new Map<number, number>();
  const folded: number[] = [];
  const kept: number[] = [];
  for (let i = 0; i < tail.length; i++) {
    const partition = tailPartition(tail, i);
    let bound = below.get(partition);
    if (bound === undefined) {
      bound = rules.foldBelow(state.watermarks!.get(partition) ?? null, tail, partition);
      below.set(partition, bound);
    }
    (tailOffset(tail, i) < bound && tail.times[i]! < olderThanMs ? folded : kept).push(i);
  }
  if (folded.length === 0) {
    raiseFloors(args);
    return { kind: 'nothing' };
  }
  const storages = tailStorages(view.storages);
  const tree = new TreeEditor(view, shape, state.fields);
  tree.insert(withoutPositions(pickRows(tail, folded, storages), view));
  if (tree.missing.size > 0) {
    return { kind: 'read', fields: [...state.fields.keys(), ...tree.missing], watermarks: true };
  }
  for (const i of folded) {
    const partition = tailPartition(tail, i);
    head.floors.set(partition, Math.max(head.floors.get(partition) ?? 0, below.get(partition)!));
  }
  raiseFloors(args);
  return { kind: 'folded', tree, tail: pickRows(tail, kept, storages) };
}
