/**
 * The bound of one state: past it rows are given up for tiles, the oldest first.
 *
 * A state is collapsed in *passes* over its tree, from the oldest node to the newest. The first replaces every leaf by
 * its tile, which is in its parent already. What a pass leaves behind are nodes full of tiles; when these have come to
 * a share of the bound, another pass merges the deepest of them as well, and so on: the error of old edges grows alike
 * everywhere, instead of without bound at the oldest end, and no further than it must. Where a pass stands is in the
 * root (`collapsedToMs`), so that each write goes on a little further.
 *
 * A pass goes up to the oldest time that a new edge can still lie at, less what the dedupe needs of rows. Only where
 * that does not do (a key that is dense within its as-of retention) it goes on towards now: new edges that fall into
 * a collapsed tile are then answered up to the tile's start, and say so.
 */
import type { FieldName } from '../store/tile-store.ts';
import { fieldSizeBytes } from './field-size.ts';
import { ROOT_FIELD, TIME_END_MS } from './grid.ts';
import type { StateView } from './state-protocol.ts';
import type { TreeEditor } from './tree-editor.ts';

/** Shares of the bound: where a writer begins to collapse, and how far it goes. */
export interface BoundShares {
  readonly from: number;
  readonly to: number;
}

/** Past this share a state is due for compaction at once. */
const DUE_SHARE = 7 / 8;
export const COMPACTION_SHARES: BoundShares = { from: DUE_SHARE, to: 13 / 16 };
/** Ingest leaves it to compaction, unless that lags behind so far that the state would run over. */
export const INGEST_SHARES: BoundShares = { from: 31 / 32, to: 15 / 16 };

/** From here on late events leave their ids behind: see `Head.crowded`. */
const CROWDED_SHARE = 1 / 2;
/** A smaller state may be filled by one chunk of a consumer. */
const ALWAYS_CROWDED_BYTES = 128 * 2 ** 10;

/** Nodes that were left behind are worth another pass when they take this share of the bound. */
const KEPT_SHARE = 1 / 4;
/** However large recent ids and tail are, the tree keeps this share. */
const TREE_SHARE_MIN = 1 / 2;

/** Nodes asked for in one read, and in all reads for one write: what a write costs is bounded. */
const ASK_MAX = 128;
const READ_MAX = 384;
/** Stretches between two limits gone through in one write: a pass over a whole tree has up to four. */
const STRETCHES_MAX = 12;

export interface Bounded {
  /** As `TreeEditor.changes`. */
  readonly changes: Map<FieldName, Uint8Array | null>;
  readonly coarsened: boolean;
  /** Whether the state is near its bound, and there is something left to give up. */
  readonly due: boolean;
  readonly crowded: boolean;
  /** Of the whole state after the edit. */
  readonly sizeBytes: number;
}

/** Whether a state can come to its bound so fast that late ids are kept from its first event on. */
export function isAlwaysCrowded(view: StateView): boolean {
  return view.maxStateBytes < ALWAYS_CROWDED_BYTES;
}

/**
 * The changes of a finished edit, with what has to be collapsed for the bound; null where more fields must be read.
 * @param otherBytes size of the state besides its tree: head and recent ids
 * @param fieldsRead number of fields that were read
 */
export function boundedChanges(args: {
  readonly view: StateView;
  readonly tree: TreeEditor;
  readonly otherBytes: number;
  readonly fieldsRead: number;
  /** Rows before this may have been dropped. */
  readonly lowMs: number;
  readonly nowMs: number;
  readonly shares: BoundShares;
}): Bounded | null {
  const { view, tree, otherBytes, nowMs, shares } = args;
  const limitBytes = Math.max(view.maxStateBytes * TREE_SHARE_MIN, view.maxStateBytes - otherBytes);
  let changes = tree.changes();
  let sizeBytes = sizeAfter(tree, changes);
  let coarsened = false;
  if (sizeBytes > shares.from * limitBytes && tree.collapsible) {
    const freedBytes = collapse({
      tree,
      limits: limitsOf(view, nowMs),
      lowMs: args.lowMs,
      freeBytes: sizeBytes - shares.to * limitBytes,
      keptBytesMax: KEPT_SHARE * limitBytes,
      // The edit itself has read some.
      mayAsk: args.fieldsRead - tree.loadedNodes < READ_MAX,
    });
    if (tree.missing.size > 0) return null;
    if (freedBytes > 0) {
      coarsened = true;
      changes = tree.changes();
      sizeBytes = sizeAfter(tree, changes);
    }
  }
  const { lowMs, collapsedToMs } = tree.root;
  return {
    changes,
    coarsened,
    due: sizeBytes > DUE_SHARE * limitBytes && tree.collapsible,
    crowded: isAlwaysCrowded(view) || sizeBytes > CROWDED_SHARE * limitBytes || collapsedToMs > lowMs,
    sizeBytes: otherBytes + sizeBytes,
  };
}

function sizeAfter(tree: TreeEditor, changes: ReadonlyMap<FieldName, Uint8Array | null>): number {
  return tree.root.fieldBytes + fieldSizeBytes(changes.get(ROOT_FIELD));
}

/** Up to where nodes may be collapsed, ascending: first what costs least. */
function limitsOf(view: StateView, nowMs: number): number[] {
  // New edges, offsets included, stay exact; and a row younger than two horizons may be all that tells a repeat.
  const edgesMs = nowMs - view.asOfRetentionMs - view.largestOffsetMs;
  const toldMs = nowMs - 2 * view.dedupeHorizonMs;
  const limits = [Math.min(edgesMs, toldMs), edgesMs, nowMs + 1, TIME_END_MS];
  return [...new Set(limits.map((limitMs) => Math.max(0, Math.min(limitMs, TIME_END_MS))))].sort(
    (a, b) => a - b,
  );
}

function collapse(args: {
  readonly tree: TreeEditor;
  readonly limits: readonly number[];
  readonly lowMs: number;
  readonly freeBytes: number;
  readonly keptBytesMax: number;
  readonly mayAsk: boolean;
}): number {
  const { tree, limits, lowMs, keptBytesMax, mayAsk } = args;
  const { root } = tree;
  let freedBytes = 0;
  for (let stretches = 0; stretches < STRETCHES_MAX && freedBytes < args.freeBytes; stretches++) {
    let beforeMs = limits.find((limitMs) => limitMs > root.collapsedToMs);
    // What was left behind is merged further before anything nearer to now is touched, if that helps.
    if (beforeMs === undefined || (beforeMs !== limits[0] && root.keptBytes > keptBytesMax)) {
      if (!tree.collapsible) break;
      root.mergeDepth = root.keptDepth > 0 ? root.keptDepth : 1;
      root.collapsedToMs = 0;
      root.keptBytes = 0;
      root.keptDepth = 0;
      beforeMs = limits.find((limitMs) => limitMs > 0)!;
    }
    const done = tree.collapse({
      fromMs: root.collapsedToMs,
      beforeMs,
      lowMs,
      mergeDepth: root.mergeDepth,
      freeBytes: args.freeBytes - freedBytes,
      askMax: ASK_MAX,
      mayAsk,
    });
    if (tree.missing.size > 0) break;
    freedBytes += done.freedBytes;
    root.collapsedToMs = done.toMs;
    root.keptBytes += done.keptBytes;
    root.keptDepth = Math.max(root.keptDepth, done.keptDepth);
    if (done.stopped) break;
  }
  return freedBytes;
}
