/**
 * Walks a stored tile tree and checks every invariant that `tree-editor.ts` names: for tests.
 *
 * What it does not catch: rows that are missing altogether. Compare `rows` with what was inserted.
 */
import { ByteReader } from '../bytes.ts';
import type { FieldName } from '../store/tile-store.ts';
import { fieldSizeBytes } from '../tiles/field-size.ts';
import {
  bucketOf,
  DEPTH_MAX,
  IDS_FIELD,
  NEWEST_FIELD,
  nodeField,
  ROOT_FIELD,
  spanMs,
} from '../tiles/grid.ts';
import { decodeNode, decodeRoot, decodeRootHeader, type TileNode } from '../tiles/node.ts';
import { PartialSet } from '../tiles/partial-set.ts';
import { compareRows, type RowBlock, rowsWeightBytes } from '../tiles/row-block.ts';
import { mustSpill, type TileShape } from '../tiles/tile-shape.ts';
import type { TileView } from '../tiles/tile-view.ts';
import { blockAbove, blockField, blockLevels } from '../tiles/wide-blocks.ts';

export interface TreeFacts {
  /** Blocks of rows held as rows, in time order. */
  readonly blocks: readonly RowBlock[];
  /** Rows held as rows. */
  readonly rowCount: number;
  /** Rows within collapsed tiles. */
  readonly collapsedRowCount: number;
  readonly prefixRowCount: number;
  /** Nodes with fields of their own. */
  readonly nodeCount: number;
  /** Depth of the deepest of them; 0 where there is only the root. */
  readonly depthMax: number;
  /** Everything below the root, merged: narrow partials. */
  readonly tile: Uint8Array;
  /** Blocks of wide partials. */
  readonly blockCount: number;
}

/**
 * @param fields every field of the state
 * @throws Error naming the first invariant that does not hold
 */
export function checkTree(
  view: TileView,
  shape: TileShape,
  fields: ReadonlyMap<FieldName, Uint8Array>,
): TreeFacts {
  const blocks: RowBlock[] = [];
  const reachable = new Set<FieldName>([ROOT_FIELD, IDS_FIELD]);
  let rowCount = 0;
  let collapsedRowCount = 0;
  let nodeCount = 0;
  let depthMax = 0;
  let blockCount = 0;

  const takeRows = (rows: RowBlock, depth: number, bucket: number): void => {
    for (let i = 0; i < rows.length; i++) {
      if (i > 0 && compareRows(rows, i - 1, rows, i) >= 0) throw new Error('rows do not ascend');
      if (depth > 0 && bucketOf(depth, rows.times[i]!) !== bucket)
        throw new Error(`a row at ${rows.times[i]} lies outside node ${nodeField(depth, bucket)}`);
    }
    rowCount += rows.length;
    blocks.push(rows);
  };

  const fieldOf = (field: FieldName): Uint8Array => {
    const bytes = fields.get(field);
    if (bytes === undefined) throw new Error(`field ${field} is missing`);
    reachable.add(field);
    return bytes;
  };
  // A partial of bounded error may have merged the rows in other parts.
  const comparable = (partials: TileView['partials']): boolean =>
    !partials.some(({ boundedError }) => boundedError === true);
  /** Blocks over the children of one node, and the wide partials of each of these that are not inline. */
  const checkBlocks = (depth: number, wides: ReadonlyMap<number, PartialSet>): void => {
    if (view.wide.length === 0) return;
    const { first, last } = blockLevels(depth);
    for (let level = first; level <= last; level++) {
      for (const index of new Set([...wides.keys()].map((bucket) => blockAbove(first, bucket, level)))) {
        const bytes = fieldOf(blockField(level, index));
        blockCount++;
        const expected = new PartialSet(view.wide);
        for (const [bucket, wide] of wides) {
          if (blockAbove(first, bucket, level) === index) expected.absorb(wide.encode());
        }
        if (comparable(view.wide) && !equalBytes(expected.encode(), bytes))
          throw new Error(`block ${blockField(level, index)} is not that of its rows`);
      }
    }
  };

  const walk = (
    node: TileNode,
    depth: number,
    bucket: number,
    into: PartialSet,
    intoWide: PartialSet,
  ): number => {
    depthMax = Math.max(depthMax, depth);
    if (node.kind === 'leaf') {
      if (depth < DEPTH_MAX && rowsWeightBytes(node.rows, view.storages) > shape.leafBytesMax)
        throw new Error(`a leaf at depth ${depth} weighs ${rowsWeightBytes(node.rows, view.storages)} bytes`);
      if (depth > 0 && node.rows.length === 0) throw new Error('a leaf without rows has a field');
      takeRows(node.rows, depth, bucket);
      into.addRows(node.rows, 0, node.rows.length);
      intoWide.addRows(node.rows, 0, node.rows.length);
      return node.rows.length;
    }
    if (depth === DEPTH_MAX) throw new Error('an inner node at the lowest depth');
    if (depth > 0 && node.children.length === 0)
      throw new Error('an inner node without children has a field');
    let count = 0;
    let inlineBytes = 0;
    let heaviest = 0;
    let previous = -1;
    const wides = new Map<number, PartialSet>();
    for (const child of node.children) {
      if (child.bucket <= previous) throw new Error('children do not ascend');
      previous = child.bucket;
      if (depth > 0 && Math.floor((child.bucket * spanMs(depth + 1)) / spanMs(depth)) !== bucket)
        throw new Error(`child ${child.bucket} lies outside node ${nodeField(depth, bucket)}`);
      if (child.kind === 'inline') {
        if (child.rows.length === 0) throw new Error('an inline child without rows');
        const weight = rowsWeightBytes(child.rows, view.storages);
        inlineBytes += weight;
        heaviest = Math.max(heaviest, weight);
        takeRows(child.rows, depth + 1, child.bucket);
        into.addRows(child.rows, 0, child.rows.length);
        intoWide.addRows(child.rows, 0, child.rows.length);
        count += child.rows.length;
      } else {
        if (child.rowCount === 0) throw new Error(`a ${child.kind} child without rows`);
        if (child.kind === 'node') {
          const field = nodeField(depth + 1, child.bucket);
          nodeCount++;
          const below = new PartialSet(view.narrow);
          const wide = new PartialSet(view.wide);
          const reader = new ByteReader(fieldOf(field));
          const rowsBelow = walk(decodeNode(reader, view.storages), depth + 1, child.bucket, below, wide);
          wides.set(child.bucket, wide);
          if (!reader.done) throw new Error(`field ${field} has bytes left over`);
          if (rowsBelow !== child.rowCount)
            throw new Error(`field ${field} has ${rowsBelow} rows, its parent says ${child.rowCount}`);
          if (comparable(view.narrow) && !equalBytes(below.encode(), child.tile))
            throw new Error(`the tile of ${field} is not that of its rows`);
        } else {
          collapsedRowCount += child.rowCount;
          const wide = new PartialSet(view.wide);
          if (view.wide.length > 0) wide.absorb(fieldOf(nodeField(depth + 1, child.bucket)));
          wides.set(child.bucket, wide);
        }
        into.absorb(child.tile);
        count += child.rowCount;
      }
    }
    for (const wide of wides.values()) intoWide.absorb(wide.encode());
    checkBlocks(depth + 1, wides);
    if (mustSpill(shape, inlineBytes, heaviest))
      throw new Error(`inline rows at depth ${depth} weigh ${inlineBytes} bytes`);
    return count;
  };

  const all = new PartialSet(view.narrow);
  const rootBytes = fields.get(ROOT_FIELD);
  let prefixRowCount = 0;
  if (rootBytes !== undefined) {
    const root = decodeRoot(new ByteReader(rootBytes), view.storages);
    prefixRowCount = root.prefixRowCount;
    if ((root.prefix === null) !== (prefixRowCount === 0)) throw new Error('prefix and its row count differ');
    walk(root.node, 0, 0, all, new PartialSet(view.wide));
    for (const { times, length } of blocks) {
      if (length > 0 && times[0]! < root.lowMs) throw new Error('a row older than lowMs is still held');
    }
  }
  if (rootBytes !== undefined) {
    let fieldBytes = 0;
    for (const [field, bytes] of fields) {
      if (field !== ROOT_FIELD && field !== IDS_FIELD) fieldBytes += fieldSizeBytes(bytes);
    }
    const known = decodeRootHeader(new ByteReader(rootBytes)).fieldBytes;
    if (known !== fieldBytes) throw new Error(`fields of ${fieldBytes} bytes, the root says ${known}`);
  }
  for (const field of fields.keys()) {
    if (field !== NEWEST_FIELD && !reachable.has(field))
      throw new Error(`field ${field} is reachable from nowhere`);
  }
  return {
    blocks,
    rowCount,
    collapsedRowCount,
    prefixRowCount,
    nodeCount,
    depthMax,
    blockCount,
    tile: all.encode(),
  };
}

function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}
