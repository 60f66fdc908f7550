/**
 * Nodes of the tile tree and their bytes.
 *
 * A *leaf* holds rows. An *inner* node holds its children in time order; a child is
 *
 * - `inline`: few rows, kept here; no partial aggregate is needed, it is computed from the rows;
 * - `node`: more rows, in a field of its own; its partial aggregates (a tile) are kept here;
 * - `collapsed`: its rows are gone (coarsened to the view's resolution, or given up past the state's bound); only its
 *   tile is left.
 *
 * A child that is not listed has no rows, so an absent field is never ambiguous.
 *
 *     node  := u8 LEAF rows | u8 INNER varint n, n × child
 *     child := varint bucket − previous bucket · u8 kind · varint row count · varint length · length bytes
 *              (inline: rows; node, collapsed: the partials in the view's order)
 *     root  := u8 VERSION · varint lowMs · varint coarseBeforeMs · varint fieldBytes · varint collapsedToMs
 *              · varint keptBytes · u8 keptDepth · u8 mergeDepth · varint unorderedBeforeMs · varint prefix row count
 *              · varint length, prefix partials (length 0: none) · node
 */
import { ByteReader, type ByteWriter, CorruptBytesError } from '../bytes.ts';
import { type ColumnStorage, decodeRows, emptyRows, encodeRows, type RowBlock } from './row-block.ts';

export type Child =
  | { readonly kind: 'inline'; readonly bucket: number; rows: RowBlock }
  | { readonly kind: 'node'; readonly bucket: number; rowCount: number; tile: Uint8Array }
  | { readonly kind: 'collapsed'; readonly bucket: number; rowCount: number; tile: Uint8Array };

export type TileNode =
  | { readonly kind: 'leaf'; rows: RowBlock }
  | { readonly kind: 'inner'; children: Child[] };

export interface Root {
  /** Rows with time < lowMs are gone: dropped, or merged into the prefix where the view has lifetime windows. */
  lowMs: number;
  /** Nodes that end at or before this were coarsened to the view's resolution. */
  coarseBeforeMs: number;
  /** Size of the state's other fields but for its recent ids, as `fieldSizeBytes` counts it: kept up by every write. */
  fieldBytes: number;
  /** How far collapsing past the state's bound has come, from the oldest node on: see `state-bound.ts`. */
  collapsedToMs: number;
  /** Size of the nodes it has left behind on its way there. */
  keptBytes: number;
  /** Depth of the deepest of these; 0: there are none. */
  keptDepth: number;
  /** Nodes from this depth on are merged on the way where only tiles are left in them; 0: none are. */
  mergeDepth: number;
  /**
   * A collapsed tile before this took in late rows, which ordered partials could not put in their place: what they say
   * of such a stretch is not exact.
   */
  unorderedBeforeMs: number;
  /** Everything older than lowMs, for lifetime windows. */
  prefixRowCount: number;
  prefix: Uint8Array | null;
  node: TileNode;
}

const VERSION = 3;
const LEAF = 0;
const INNER = 1;
const CHILD_KINDS = ['inline', 'node', 'collapsed'] as const;
const INLINE = CHILD_KINDS.indexOf('inline');

export function emptyRoot(storages: readonly ColumnStorage[]): Root {
  return { ...emptyRootHeader(), node: { kind: 'leaf', rows: emptyRows(storages) } };
}

/** The root's own fields in a state that has none yet. */
export function emptyRootHeader(): Omit<Root, 'node'> {
  return {
    lowMs: 0,
    coarseBeforeMs: 0,
    fieldBytes: 0,
    collapsedToMs: 0,
    keptBytes: 0,
    keptDepth: 0,
    mergeDepth: 0,
    unorderedBeforeMs: 0,
    prefixRowCount: 0,
    prefix: null,
  };
}

export function encodeNode(
  node: TileNode,
  storages: readonly ColumnStorage[],
  w: ByteWriter,
  scratch: ByteWriter,
): void {
  if (node.kind === 'leaf') {
    w.u8(LEAF);
    encodeRows(node.rows, storages, w);
    return;
  }
  w.u8(INNER);
  w.varint(node.children.length);
  let previous = 0;
  for (const child of node.children) {
    w.varint(child.bucket - previous);
    previous = child.bucket;
    w.u8(CHILD_KINDS.indexOf(child.kind));
    if (child.kind === 'inline') {
      w.varint(child.rows.length);
      scratch.clear();
      encodeRows(child.rows, storages, scratch);
      w.blob(scratch.finish());
    } else {
      w.varint(child.rowCount);
      w.blob(child.tile);
    }
  }
}

export function decodeNode(r: ByteReader, storages: readonly ColumnStorage[]): TileNode {
  const kind = r.u8();
  if (kind === LEAF) return { kind: 'leaf', rows: decodeRows(r, storages) };
  if (kind !== INNER) throw new CorruptBytesError(`unknown node kind ${kind}`);
  const n = r.varint();
  if (n > r.remaining) throw new CorruptBytesError(`${n} children in ${r.remaining} bytes`);
  const children: Child[] = new Array(n);
  let bucket = 0;
  for (let i = 0; i < n; i++) {
    bucket += r.varint();
    const childKind = CHILD_KINDS[r.u8()];
    if (childKind === undefined) throw new CorruptBytesError('unknown child kind');
    const rowCount = r.varint();
    if (childKind === 'inline') {
      r.varint();
      children[i] = { kind: childKind, bucket, rows: decodeRows(r, storages) };
    } else {
      children[i] = { kind: childKind, bucket, rowCount, tile: r.blob().slice() };
    }
  }
  return { kind: 'inner', children };
}

export function encodeRoot(
  root: Root,
  storages: readonly ColumnStorage[],
  w: ByteWriter,
  scratch: ByteWriter,
): void {
  w.u8(VERSION);
  w.varint(root.lowMs);
  w.varint(root.coarseBeforeMs);
  w.varint(root.fieldBytes);
  w.varint(root.collapsedToMs);
  w.varint(root.keptBytes);
  w.u8(root.keptDepth);
  w.u8(root.mergeDepth);
  w.varint(root.unorderedBeforeMs);
  w.varint(root.prefixRowCount);
  if (root.prefix === null) w.varint(0);
  else w.blob(root.prefix);
  encodeNode(root.node, storages, w, scratch);
}

/** The root's own fields; the reader is left at the node. A prefix of no bytes is none. */
export function decodeRootHeader(r: ByteReader): Omit<Root, 'node'> {
  const version = r.u8();
  if (version !== VERSION)
    throw new CorruptBytesError(`root of version ${version}, this build reads ${VERSION}`);
  const lowMs = r.varint();
  const coarseBeforeMs = r.varint();
  const fieldBytes = r.varint();
  const collapsedToMs = r.varint();
  const keptBytes = r.varint();
  const keptDepth = r.u8();
  const mergeDepth = r.u8();
  const unorderedBeforeMs = r.varint();
  const prefixRowCount = r.varint();
  const prefix = r.blob();
  return {
    lowMs,
    coarseBeforeMs,
    fieldBytes,
    collapsedToMs,
    keptBytes,
    keptDepth,
    mergeDepth,
    unorderedBeforeMs,
    prefixRowCount,
    prefix: prefix.length === 0 ? null : prefix.slice(),
  };
}

/**
 * Whether no field of the tree is there but the root itself: every row of it is kept inline, so that there is no node and
 * no block of wide partials besides. Looks at no row.
 * @param root null: there is none
 */
export function rootStandsAlone(root: Uint8Array | null): boolean {
  if (root === null) return true;
  try {
    return standsAlone(new ByteReader(root));
  } catch (error) {
    // Whoever evaluates it refuses it, and no other state of the same read.
    if (error instanceof CorruptBytesError) return false;
    throw error;
  }
}

function standsAlone(r: ByteReader): boolean {
  // Of another version everything is read, and refused.
  if (r.u8() !== VERSION) return false;
  for (let i = 0; i < 5; i++) r.varint();
  r.skip(2);
  r.varint();
  r.varint();
  r.skip(r.varint());
  if (r.u8() === LEAF) return true;
  const n = r.varint();
  for (let i = 0; i < n; i++) {
    r.varint();
    if (r.u8() !== INLINE) return false;
    r.varint();
    r.skip(r.varint());
  }
  return true;
}

export function decodeRoot(r: ByteReader, storages: readonly ColumnStorage[]): Root {
  return { ...decodeRootHeader(r), node: decodeNode(r, storages) };
}

export function hasChild(node: TileNode, kind: Child['kind']): boolean {
  return node.kind === 'inner' && node.children.some((child) => child.kind === kind);
}
