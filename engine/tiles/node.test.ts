import { expect, test } from 'vitest';
import { ByteWriter } from '../bytes.ts';
import { type Child, emptyRoot, encodeRoot, rootStandsAlone, type TileNode } from './node.ts';
import { allocateRows } from './row-block.ts';

const rows = allocateRows(3, []);
rows.times.set([1, 2, 3]);

const rootWith = (node: TileNode, prefix: Uint8Array | null = null): Uint8Array => {
  const w = new ByteWriter();
  encodeRoot({ ...emptyRoot([]), lowMs: 2 ** 40, fieldBytes: 300, prefix, node }, [], w, new ByteWriter());
  return w.finish();
};
const inner = (...kinds: readonly Child['kind'][]): TileNode => ({
  kind: 'inner',
  children: kinds.map((kind, bucket) =>
    kind === 'inline' ? { kind, bucket, rows } : { kind, bucket, rowCount: 300, tile: new Uint8Array(200) },
  ),
});

test.each([
  ['a leaf', { kind: 'leaf', rows }, true],
  ['rows inline', inner('inline', 'inline', 'inline'), true],
  ['no child', inner(), true],
  ['a node', inner('inline', 'node', 'inline'), false],
  ['a node at last', inner('inline', 'inline', 'node'), false],
  ['a collapsed tile', inner('collapsed', 'inline'), false],
] as const)('a root with %s', (_, node, alone) => {
  expect(rootStandsAlone(rootWith(node))).toBe(alone);
  expect(rootStandsAlone(rootWith(node, new Uint8Array(500)))).toBe(alone);
});

test('no root stands alone; one that is damaged or of another version does not', () => {
  expect(rootStandsAlone(null)).toBe(true);
  expect(rootStandsAlone(new Uint8Array(0))).toBe(false);
  const whole = rootWith(inner('inline', 'node'));
  for (let end = 0; end < whole.length; end++) expect(rootStandsAlone(whole.subarray(0, end))).toBe(false);
  const other = whole.slice();
  other[0]!++;
  expect(rootStandsAlone(other)).toBe(false);
});
