/**
 * Changes to the state of one (view, entity key), as pure functions from what was read to what is to be written
 * by one compare-and-set. Ingest, late events, compaction and erasure all go through here.
 *
 * Why an event counts exactly once, also when the store rolls back: see "Storage protocol" in ARCHITECTURE.md.
 * In short: a record is skipped iff its offset is below the floor of its partition or it is among the tail's
 * rows; rows leave the tail (and the floor rises) only up to a watermark that was read at the same instant as
 * the state; and a state's content is identified by its random token.
 *
 * Views with ordered partials (what lies between two events counts) keep one more rule: every row of the tail is behind
 * every row of the tree, so that a tile can be joined to the tail. A late row therefore goes straight into the tree, and
 * the oldest rows of the tail leave it first, watermark or not. What says that a record was applied, once its row has
 * left the tail above the watermark, are the head's *early* offsets; they go when the floor passes them.
 */
import { ByteReader, ByteWriter } from '../bytes.ts';
import type { EventId } from '../event-id.ts';
import type { FieldName } from '../store/tile-store.ts';
import { fieldSizeBytes } from './field-size.ts';
import { foldTail, placeRows } from './fold-tail.ts';
import { IDS_FIELD, ROOT_FIELD } from './grid.ts';
import { decodeHead, emptyHead, encodeHead, type Head, tailPartition, tailStorages } from './head.ts';
import { RecentIds } from './recent-ids.ts';
import {
  allocateRows,
  containsRow,
  type RowBlock,
  rowsWeightBytes,
  setValue,
  sortRows,
} from './row-block.ts';
import {
  type Bounded,
  type BoundShares,
  boundedChanges,
  COMPACTION_SHARES,
  INGEST_SHARES,
  isAlwaysCrowded,
} from './state-bound.ts';
import {
  INGEST_FIELDS,
  type IngestCounts,
  type ProtocolRules,
  type StateSnapshot,
  type StateView,
  type UpdatePlan,
} from './state-protocol.ts';
import { DEFAULT_TILE_SHAPE, type TileShape } from './tile-shape.ts';
import { TreeEditor } from './tree-editor.ts';

/** An accepted event as a row of one view. */
export interface IncomingRow {
  readonly partition: number;
  readonly offset: number;
  /** Processing time of the record's append, ms. */
  readonly appendedMs: number;
  readonly timeMs: number;
  readonly id: EventId;
  /** Identity for the dedupe; null: the event has none. */
  readonly dedupeId: EventId | null;
  /** In the order of the view's columns. */
  readonly values: readonly (number | bigint | string | null)[];
  /** Offset of the record that this one is a copy of; null or absent: of none. Its `id` is then that record's. */
  readonly originOffset?: number | null;
}

const writer = new ByteWriter(1024);

/** How far before now a row can still count: a coarse window reaches up to the resolution beyond its old edge. */
export function retentionMs(
  view: Pick<StateView, 'asOfRetentionMs' | 'longestWindowMs' | 'lifetimeOffsetMs' | 'resolutionMs'>,
): number {
  const edgesMs = view.asOfRetentionMs + Math.max(view.longestWindowMs, view.lifetimeOffsetMs);
  return edgesMs + (view.resolutionMs ?? 0);
}

/** Time before which no window the view may still be asked for reaches. */
export function retentionLowMs(view: StateView, nowMs: number): number {
  return Math.max(0, nowMs - retentionMs(view));
}

/** How long after a change a state is looked at by compaction. */
export interface CompactionPacing {
  /** A tail is folded this long after it was started, ms of processing time. Default 10 min. */
  readonly foldAfterMs: number;
}

export const DEFAULT_PACING: CompactionPacing = { foldAfterMs: 600_000 };

/**
 * Applies incoming rows. They are taken in the given order; those of one partition must ascend in offset.
 */
export function planIngest(args: {
  view: StateView;
  shape: TileShape;
  rules: ProtocolRules;
  pacing: CompactionPacing;
  state: StateSnapshot;
  incoming: readonly IncomingRow[];
  nowMs: number;
}): UpdatePlan {
  const { view, shape, rules, pacing, state, incoming, nowMs } = args;
  const storages = tailStorages(view.storages);
  const head = state.head === null ? emptyHead(storages) : decodeHead(new ByteReader(state.head), storages);
  const idBytes = state.fields.get(IDS_FIELD) ?? null;
  const ids = idBytes === null ? RecentIds.empty() : RecentIds.decode(new ByteReader(idBytes));
  const counts: IngestCounts = { applied: 0, redelivered: 0, duplicate: 0, tooLate: 0 };
  const lowMs = view.keepsForever ? 0 : retentionLowMs(view, nowMs);
  const taken: IncomingRow[] = [];
  /** Rows taken, by time; made when first asked, which is for late events only. */
  let takenAt: Map<number, IncomingRow[]> | null = null;
  /** What must be read before anything is decided. */
  const wanted = new Set<FieldName>();
  let tree = null as TreeEditor | null;
  let idsChanged = false;
  /** How far the dedupe horizon will reach back once this batch is in. */
  let horizonFromMs = ids.newestMs - view.dedupeHorizonMs;

  /** Whether an event of that time has no place among the ids: it is told by its row. */
  const isForgotten = (timeMs: number): boolean => timeMs < Math.max(ids.fromMs, horizonFromMs);
  const takenBefore = (row: IncomingRow): boolean => {
    if (takenAt === null) {
      takenAt = new Map();
      for (const other of taken) rememberAt(takenAt, other);
    }
    return takenAt.get(row.timeMs)?.some((other) => sameEvent(other, row)) ?? false;
  };
  const seenBefore = (row: IncomingRow, dedupeId: EventId): boolean => {
    if (ids.has(dedupeId, row.timeMs, view.dedupeHorizonMs)) return true;
    // Ids that old are not kept; the event itself may still be there as a row. So may be what a copy is of, whose id was
    // its position and is not among these.
    if (!isForgotten(row.timeMs) && !isCopy(row)) return false;
    if (containsRow(head.tail, row.timeMs, row.id)) return true;
    if (takenBefore(row)) return true;
    if (state.head === null) return false;
    if (state.fields.has(ROOT_FIELD)) {
      tree ??= new TreeEditor(view, shape, state.fields);
      return tree.contains(row.timeMs, row.id);
    }
    wanted.add(ROOT_FIELD);
    return false;
  };

  for (const row of incoming) {
    if (rules.isApplied(head, row.partition, row.offset)) {
      counts.redelivered++;
    } else if (row.timeMs < lowMs) {
      counts.tooLate++;
    } else if (rules.dedupe && row.dedupeId !== null && seenBefore(row, row.dedupeId)) {
      counts.duplicate++;
    } else {
      taken.push(row);
      if (takenAt !== null) rememberAt(takenAt, row);
      if (row.dedupeId !== null && rules.dedupe) {
        // Half a horizon late: the next newer event may push the id out, and soon after the row may be merged. Not
        // late is what is only older than the ids of a dense key: its row is there for as long as it is asked for.
        const late = row.timeMs < Math.max(horizonFromMs, nowMs - view.dedupeHorizonMs / 2);
        if (!isForgotten(row.timeMs)) {
          ids.add(row.dedupeId, row.timeMs);
          horizonFromMs = Math.max(horizonFromMs, row.timeMs - view.dedupeHorizonMs);
          idsChanged = true;
        }
        const merging = mergesForGood(view) || head.crowded || isAlwaysCrowded(view);
        if (late && (merging || !view.hasEventIds)) {
          ids.addLate(row.dedupeId, row.timeMs, row.appendedMs);
          idsChanged = true;
        }
      }
    }
  }
  if (tree !== null) for (const field of tree.missing) wanted.add(field);
  if (wanted.size > 0) {
    return { kind: 'read', fields: [...INGEST_FIELDS, ...state.fields.keys(), ...wanted], watermarks: false };
  }
  counts.applied = taken.length;
  if (taken.length === 0) return { kind: 'unchanged', counts };
  if (rules.remembersEarly) skipOriginals(head, taken);

  const changes = new Map<FieldName, Uint8Array | null>();
  const placed = placeRows({ view, shape, rules, state, head, rows: incomingRows(taken, view, storages) });
  if (placed.kind === 'read') return placed;
  head.tail = placed.tail;
  if (idsChanged) {
    // From the oldest record at hand: a chunk may come again, and its repeats must then be told again.
    const appendedMs = incoming.reduce(
      (oldest, row) => Math.min(oldest, row.appendedMs),
      Number.POSITIVE_INFINITY,
    );
    const { recentIdsMax = DEFAULT_TILE_SHAPE.recentIdsMax } = shape;
    ids.prune(view.dedupeHorizonMs, appendedMs, view.hasEventIds ? recentIdsMax : Number.POSITIVE_INFINITY);
    writer.clear();
    ids.encode(writer);
    changes.set(IDS_FIELD, writer.finish());
  }
  let bounded: Bounded | null = null;
  if (placed.tree !== null) {
    bounded = bound(
      { view, state, head, idBytes: changes.get(IDS_FIELD) ?? idBytes, tree: placed.tree, nowMs },
      INGEST_SHARES,
    );
    if (bounded === null) {
      const fields = [...INGEST_FIELDS, ...state.fields.keys(), ...placed.tree.missing];
      return { kind: 'read', fields, watermarks: true };
    }
    for (const [field, bytes] of bounded.changes) changes.set(field, bytes);
    head.crowded = bounded.crowded;
  }
  const soonMs = bounded?.due ? nowMs : nowMs + pacing.foldAfterMs;
  const dueMs = nextDueOnIngest(head.dueMs, soonMs, nowMs);
  if (dueMs !== null) head.dueMs = dueMs;
  writer.clear();
  encodeHead(head, storages, writer);
  const coarsened = bounded?.coarsened ?? false;
  const sizeBytes = bounded?.sizeBytes ?? null;
  return { kind: 'write', head: writer.finish(), changes, dueMs, coarsened, sizeBytes, counts };
}

const isCopy = (row: IncomingRow): boolean => (row.originOffset ?? null) !== null;

/** A process that is behind, and can use the originals of what was just applied, must not apply them as well. */
function skipOriginals(head: Head, taken: readonly IncomingRow[]): void {
  const copies = taken.filter(
    ({ partition, originOffset }) =>
      typeof originOffset === 'number' && originOffset >= (head.floors.get(partition) ?? 0),
  );
  if (copies.length === 0) return;
  const early = new Map([...head.early].map(([partition, offsets]) => [partition, new Set(offsets)]));
  for (const { partition, originOffset } of copies) {
    const offsets = early.get(partition) ?? new Set();
    early.set(partition, offsets.add(originOffset!));
  }
  head.early = early;
}

/**
 * Longer than compaction keeps a state leased. One that has been due for so long may have its entry far ahead, where a
 * compactor put it that does not know the view.
 */
const OVERDUE_MS = 60_000;

/** The due time to write; null: the entry is where it should be. */
function nextDueOnIngest(dueMs: number | null, soonMs: number, nowMs: number): number | null {
  if (dueMs === null || dueMs > soonMs) return soonMs;
  // Where it was before: a compactor that is behind takes the oldest first, and a key written all the time has its turn.
  return dueMs < nowMs - OVERDUE_MS ? dueMs : null;
}

function bound(
  args: {
    view: StateView;
    state: StateSnapshot;
    head: Head;
    idBytes: Uint8Array | null;
    tree: TreeEditor;
    nowMs: number;
  },
  shares: BoundShares,
): Bounded | null {
  const { view, state, head, idBytes, tree, nowMs } = args;
  const otherBytes = fieldSizeBytes(idBytes) + rowsWeightBytes(head.tail, tailStorages(view.storages));
  // With lifetime windows nothing is dropped: what the root has merged into its prefix, it knows.
  const lowMs = view.hasLifetime ? 0 : retentionLowMs(view, nowMs);
  return boundedChanges({ view, tree, otherBytes, fieldsRead: state.fields.size, lowMs, nowMs, shares });
}

/** Whether compaction ever gives up rows that a window still counts. */
export function mergesForGood(view: StateView): boolean {
  return view.hasLifetime || view.resolutionMs !== null;
}

/**
 * Rows younger than this are never merged for good. A repeat can be told from the row only, once newer events
 * have pushed its id out; it comes up to half a horizon after the first (a late event's id is remembered apart),
 * and a partition that carries it may be a horizon behind the others: see `compaction/completeness.ts`.
 */
function unmergedMs(view: StateView): number {
  return 2 * view.dedupeHorizonMs;
}

/** What compaction asks for at first; the watermarks of the head's partitions come in the second read. */
export const COMPACTION_FIELDS: readonly FieldName[] = [ROOT_FIELD, IDS_FIELD];

/** Partitions whose watermark a fold of this state needs. */
export function tailPartitions(view: StateView, head: Uint8Array): number[] {
  const { tail, early } = decodeHead(new ByteReader(head), tailStorages(view.storages));
  const partitions = new Set<number>(early.keys());
  for (let i = 0; i < tail.length; i++) partitions.add(tailPartition(tail, i));
  return [...partitions];
}

/**
 * Compaction of one state: folds tail rows that lateness has passed, expires what no window reaches, coarsens
 * to the view's resolution, and ends the state when nothing is left.
 *
 * The state's next due time is in the head written; null in `nextDueMs` when it ended.
 */
export function planCompaction(args: {
  view: StateView;
  shape: TileShape;
  rules: ProtocolRules;
  pacing: CompactionPacing;
  state: StateSnapshot;
  nowMs: number;
  /**
   * Whether every partition is applied up to a dedupe horizon ago: see `compaction/completeness.ts`. During a
   * replay no row is merged for good (prefix, coarsening): a duplicate that is still to come, perhaps from
   * another partition, can be told only from the row.
   */
  live: boolean;
}): Exclude<UpdatePlan, { kind: 'unchanged' }> {
  const { view, shape, rules, pacing, state, nowMs } = args;
  if (state.head === null) throw new Error('there is no state to compact');
  const storages = tailStorages(view.storages);
  const head = decodeHead(new ByteReader(state.head), storages);
  if (state.watermarks === null) {
    return { kind: 'read', fields: COMPACTION_FIELDS, watermarks: true };
  }
  const folded = foldTail({ view, shape, rules, state, head, olderThanMs: nowMs - view.latenessMs });
  if (folded.kind === 'read') return { ...folded, fields: [...COMPACTION_FIELDS, ...folded.fields] };
  const tree = folded.kind === 'folded' ? folded.tree : new TreeEditor(view, shape, state.fields);
  if (folded.kind === 'folded') head.tail = folded.tail;

  const lowMs = retentionLowMs(view, nowMs);
  const mergeBeforeMs = Math.max(0, nowMs - unmergedMs(view));
  if (!view.hasLifetime) tree.expire(lowMs);
  else if (args.live) tree.expire(Math.min(lowMs, mergeBeforeMs));
  if (args.live && view.resolutionMs !== null) {
    // The new edge of every window, offsets included, stays exact.
    const edgesMs = nowMs - view.asOfRetentionMs - view.largestOffsetMs;
    tree.coarsen(Math.max(0, Math.min(edgesMs, mergeBeforeMs)), view.resolutionMs);
  }
  if (tree.missing.size > 0) {
    const fields = [...COMPACTION_FIELDS, ...state.fields.keys(), ...tree.missing];
    return { kind: 'read', fields, watermarks: true };
  }
  const idBytes = state.fields.get(IDS_FIELD) ?? null;
  const bounded = bound({ view, state, head, idBytes, tree, nowMs }, COMPACTION_SHARES);
  if (bounded === null) {
    const fields = [...COMPACTION_FIELDS, ...state.fields.keys(), ...tree.missing];
    return { kind: 'read', fields, watermarks: true };
  }
  const { changes, coarsened } = bounded;
  const counts: IngestCounts = { applied: 0, redelivered: 0, duplicate: 0, tooLate: 0 };

  const newestIdMs = idBytes === null ? -1 : RecentIds.decode(new ByteReader(idBytes)).newestMs;
  if (tree.empty && head.tail.length === 0 && newestIdMs + view.dedupeHorizonMs < lowMs) {
    if (idBytes !== null) changes.set(IDS_FIELD, null);
    return { kind: 'write', head: null, changes, dueMs: null, coarsened, sizeBytes: 0, counts };
  }

  head.crowded = bounded.crowded;
  // Whoever compacts until nothing is due comes to an end: it is now only after there was something to give up.
  const again = bounded.due && coarsened;
  const nextDueMs = again ? nowMs : nextDue(view, pacing, head, tree, newestIdMs, nowMs);
  head.dueMs = nextDueMs;
  writer.clear();
  encodeHead(head, storages, writer);
  const { sizeBytes } = bounded;
  return { kind: 'write', head: writer.finish(), changes, dueMs: nextDueMs, coarsened, sizeBytes, counts };
}

/** What is left is kept for ever, and the next event makes the state due by itself. */
const NOTHING_TO_DO_MS = 365 * 86_400_000;

/** Expiry runs in strides, so that a key with a steady trickle is not rewritten for every row that leaves. */
function nextDue(
  view: StateView,
  pacing: CompactionPacing,
  head: Head,
  tree: TreeEditor,
  newestIdMs: number,
  nowMs: number,
): number {
  // Never now: whoever compacts until nothing is due must come to an end.
  const soonestMs = nowMs + Math.max(1, pacing.foldAfterMs);
  if (head.tail.length > 0) return soonestMs;
  const keptMs = Math.max(retentionMs(view), view.hasLifetime ? unmergedMs(view) : 0);
  const strideMs = Math.max(pacing.foldAfterMs, keptMs / 16);
  if (tree.oldestMs() === null && view.keepsForever) return nowMs + NOTHING_TO_DO_MS;
  const oldestMs = tree.oldestMs() ?? newestIdMs + view.dedupeHorizonMs;
  let dueMs = oldestMs + keptMs + strideMs;
  if (view.resolutionMs !== null) dueMs = Math.min(dueMs, nowMs + Math.max(strideMs, view.resolutionMs));
  return Math.ceil(Math.max(dueMs, soonestMs));
}

function rememberAt(rows: Map<number, IncomingRow[]>, row: IncomingRow): void {
  const sameTime = rows.get(row.timeMs);
  if (sameTime === undefined) rows.set(row.timeMs, [row]);
  else sameTime.push(row);
}

function sameEvent(a: IncomingRow, b: IncomingRow): boolean {
  return a.timeMs === b.timeMs && a.id.hi === b.id.hi && a.id.lo === b.id.lo;
}

function incomingRows(
  rows: readonly IncomingRow[],
  view: StateView,
  storages: ReturnType<typeof tailStorages>,
): RowBlock {
  const block = allocateRows(rows.length, storages);
  const width = view.storages.length;
  rows.forEach((row, i) => {
    block.times[i] = row.timeMs;
    block.idHi[i] = row.id.hi;
    block.idLo[i] = row.id.lo;
    for (let c = 0; c < width; c++) setValue(block, c, i, row.values[c]!);
    block.columns[width]![i] = row.partition;
    block.columns[width + 1]![i] = row.offset;
  });
  return sortRows(block, storages);
}
