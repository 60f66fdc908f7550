/** Where the bytes of a state go, by what they say. */
import { ByteReader, ByteWriter } from '../../engine/bytes.ts';
import type { CompiledView } from '../../engine/definitions/compiled.ts';
import type { FieldName } from '../../engine/store/tile-store.ts';
import { IDS_FIELD, ROOT_FIELD } from '../../engine/tiles/grid.ts';
import { decodeNode, decodeRootHeader, type TileNode } from '../../engine/tiles/node.ts';
import { encodeRows, type RowBlock } from '../../engine/tiles/row-block.ts';

export interface Breakdown {
  /** The head and its token. */
  head: number;
  /** Recent ids, for the dedupe. */
  ids: number;
  names: number;
  /** The root's own field, rows and tiles included: a part of the lines below. */
  root: number;
  /** The other nodes' fields, likewise. */
  nodes: number;
  /** Rows: event times, event ids, each column; and what introduces a block of rows. */
  times: number;
  rowIds: number;
  readonly columns: Map<string, number>;
  blocks: number;
  /** Partial aggregates kept in parents. */
  tiles: number;
  /** Wide ones, in blocks of their own. */
  wide: number;
  /** What is left of root and nodes: buckets, kinds, counts, lengths. */
  structure: number;
  /** Fields of other kinds. */
  other: number;
  fields: number;
  rowBlocks: number;
}

const TOKEN_BYTES = 8;
const NODE_FIELD = /^[a-g][0-9a-z]+$/;
const BLOCK_FIELD = /^w[0-9a-z]+$/;

export function emptyBreakdown(view: CompiledView): Breakdown {
  const columns = new Map(view.columns.map(({ name, need }) => [need === 'hash' ? `#${name}` : name, 0]));
  const zero = { head: 0, ids: 0, names: 0, root: 0, nodes: 0, times: 0, rowIds: 0, blocks: 0, tiles: 0 };
  return { ...zero, columns, wide: 0, structure: 0, other: 0, fields: 0, rowBlocks: 0 };
}

/** Adds a state. */
export function addState(
  into: Breakdown,
  view: CompiledView,
  head: Uint8Array,
  fields: ReadonlyMap<FieldName, Uint8Array>,
): void {
  into.head += head.length + TOKEN_BYTES;
  into.fields += 1 + fields.size;
  into.names += 1;
  for (const [name, bytes] of fields) {
    into.names += name.length;
    if (name === IDS_FIELD) into.ids += bytes.length;
    else if (name === ROOT_FIELD) addRoot(into, view, bytes);
    else if (NODE_FIELD.test(name)) addNodeField(into, view, bytes);
    else if (BLOCK_FIELD.test(name)) into.wide += bytes.length;
    else into.other += bytes.length;
  }
}

function addRoot(into: Breakdown, view: CompiledView, bytes: Uint8Array): void {
  const r = new ByteReader(bytes);
  const { prefix } = decodeRootHeader(r);
  into.root += bytes.length;
  into.tiles += prefix?.length ?? 0;
  into.structure += bytes.length - (prefix?.length ?? 0) - addNode(into, view, decodeNode(r, view.storages));
}

function addNodeField(into: Breakdown, view: CompiledView, bytes: Uint8Array): void {
  into.nodes += bytes.length;
  into.structure += bytes.length - addNode(into, view, decodeNode(new ByteReader(bytes), view.storages));
}

/** Returns the bytes of rows and tiles. */
function addNode(into: Breakdown, view: CompiledView, node: TileNode): number {
  if (node.kind === 'leaf') return addRows(into, view, node.rows);
  let bytes = 0;
  for (const child of node.children) {
    if (child.kind === 'inline') {
      bytes += addRows(into, view, child.rows);
    } else {
      into.tiles += child.tile.length;
      bytes += child.tile.length;
    }
  }
  return bytes;
}

function addRows(into: Breakdown, view: CompiledView, rows: RowBlock): number {
  const { storages } = view;
  const bytesOf = (block: RowBlock, columns: readonly number[]): number => {
    const w = new ByteWriter();
    const of = { ...block, columns: columns.map((c) => block.columns[c]!) };
    encodeRows(
      of,
      columns.map((c) => storages[c]!),
      w,
    );
    return w.length;
  };
  const all = bytesOf(
    rows,
    storages.map((_, c) => c),
  );
  const bare = bytesOf(rows, []);
  // How ids and numbers are encoded is a byte each.
  const idMode = rows.length === 0 ? 0 : 1;
  let introduced = varintBytes(rows.length) + idMode;
  [...into.columns.keys()].forEach((name, c) => {
    const own = rows.length > 0 && storages[c] === 'number' ? 1 : 0;
    into.columns.set(name, into.columns.get(name)! + bytesOf(rows, [c]) - bare - own);
    introduced += own;
  });
  let times = 0;
  for (let i = 0; i < rows.length; i++) {
    times += varintBytes(rows.times[i]! - (i === 0 ? 0 : rows.times[i - 1]!));
  }
  into.times += times;
  into.rowIds += bare - varintBytes(rows.length) - idMode - times;
  into.blocks += introduced;
  into.rowBlocks++;
  return all;
}

function varintBytes(value: number): number {
  let bytes = 1;
  for (let rest = value; rest >= 0x80; rest = Math.floor(rest / 0x80)) bytes++;
  return bytes;
}
